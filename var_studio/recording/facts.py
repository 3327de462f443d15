"""What a run says of itself, without its tokens and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from var_studio.recording.document import LeftOut
from var_studio.recording.files import FolderFiles
from var_studio.recording.interventions import of_kind
from var_studio.recording.reader import RunReader
from var_studio.recording.settings import Generation, Interventions, Redistribution
from var_studio.recording.store import being_written


class RunFacts:
    """The description of a run, from its reader; the base of `Recording`."""

    _reader: RunReader

    @property
    def path(self) -> Path:
        """The run's directory, or the session file it is in."""
        return self._reader.files.place

    @property
    def in_directory(self) -> bool:
        """Whether the run lies in a directory of its own, not in a session file."""
        return isinstance(self._reader.files, FolderFiles)

    @property
    def id(self) -> str:
        return self._reader.document.id

    @property
    def name(self) -> str:
        return self._reader.document.name

    @property
    def n_layers(self) -> int:
        return self._reader.document.n_layers

    @property
    def n_heads(self) -> int:
        return self._reader.document.n_heads

    @property
    def hidden_size(self) -> int:
        """D: phi is at most its square root."""
        return self._reader.document.hidden_size

    @property
    def sink_dims(self) -> tuple[int, ...]:
        return self._reader.document.sink_dims

    @property
    def tau_default(self) -> float:
        return self._reader.document.tau_default

    @property
    def precision(self) -> str:
        """Data type in which attention is stored."""
        return self._reader.document.precision

    @property
    def generation(self) -> Generation:
        return self._reader.document.generation

    @property
    def interventions(self) -> Interventions:
        """What was done to the model during the run, in order; empty for a baseline."""
        return self._reader.document.interventions

    @property
    def redistribution(self) -> Redistribution | None:
        """The redistribution among `interventions`; None where there was none."""
        return of_kind(self.interventions, Redistribution)

    @property
    def provenance(self) -> dict[str, Any]:
        return dict(self._reader.document.provenance)

    @property
    def teacher(self) -> str | None:
        """Id of the run whose answer this one was made to give; None for a free-running one."""
        return self._reader.document.teacher

    @property
    def finished(self) -> bool:
        """Whether the run came to its end; False while it grows and after a crash."""
        return self._reader.document.finished

    @property
    def growing(self) -> bool:
        """Whether `refresh` may find more: a run that goes on, or that a crash cut off."""
        return self._reader.growing

    @property
    def live(self) -> bool:
        """Whether a program is writing this run now; asks the system."""
        return self.growing and being_written(self.path)

    @property
    def left_out(self) -> LeftOut:
        """What was recorded, but not saved with the session."""
        return self._reader.document.left_out

    @property
    def reason(self) -> str | None:
        """Why it ended: "end", "length" or "cancelled"; None where it did not."""
        return self._reader.document.reason
