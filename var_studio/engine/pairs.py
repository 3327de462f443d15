"""A question asked three times: as it is, with an intervention, and with it word for word."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from var_studio.analysis.compare import Comparison, compare
from var_studio.engine.arguments import (
    check_model,
    run_directory,
    run_name,
)
from var_studio.engine.events import OnEvent
from var_studio.engine.generation import record
from var_studio.engine.question import check_question
from var_studio.recording.failures import RecordingError, SettingsError
from var_studio.recording.interventions import FORCED, interventions_from
from var_studio.recording.recording import Recording
from var_studio.recording.settings import (
    Generation,
    Intervention,
    Interventions,
    RecordingOptions,
    settled,
)
from var_studio.recording.tokens import Exchange

if TYPE_CHECKING:
    from var_studio.models.loaded import LoadedModel


@dataclass(frozen=True, slots=True)
class Pair:
    """A baseline and what an intervention makes of it (the *global* before and after).

    `free`: the model under the intervention, free-running: its text may part from the baseline's.
    `forced`: the same, but fed the baseline's own tokens (teacher forcing). None: stopped before.
    """

    baseline: Recording
    free: Recording | None = None
    forced: Recording | None = None

    @property
    def runs(self) -> tuple[Recording, ...]:
        """The recordings that there are, e.g. for `save_session(path, *pair.runs)`."""
        return tuple(run for run in (self.baseline, self.free, self.forced) if run is not None)

    def compare(self) -> Comparison:
        """First divergence, change of log-probability per token, candidates before and after.

        Raises RecordingError for a pair that was stopped before its second run.
        """
        if self.free is None:
            raise RecordingError(
                "There is nothing to compare: the pair was stopped after its baseline.",
                "Record it again.",
            )
        return compare(self.baseline, self.free, self.forced)


def record_pair(
    lmm: LoadedModel,
    image: Any,
    prompt: str,
    *,
    intervention: Intervention | Mapping[str, Any] | Sequence[Any],
    baseline: Recording | None = None,
    history: Sequence[Exchange] | Recording = (),
    generation: Generation | Mapping[str, Any] | None = None,
    options: RecordingOptions | Mapping[str, Any] | None = None,
    name: str | None = None,
    directory: str | Path | None = None,
    on_event: OnEvent | None = None,
    cancel: threading.Event | None = None,
) -> Pair:
    """Record a baseline, a free-running and a teacher-forced run under an intervention.

        pair = vs.record_pair(lmm, "scene.png", "what color is the circle?",
                              intervention=vs.Redistribution(p=0.6))
        pair.compare().first_divergence, pair.compare().scores.total_change

    `baseline`: a run of the same question that is there already; None: recorded first.
    `name`: of the free-running run; the forced one is called the same, "teacher-forced".
    `directory`: gets a folder for each run. The rest as for `record`; images are encoded once.
    A run that fails raises what `record` raises; those before it stay on the disk.
    """
    check_model(lmm)
    interventions = interventions_from(intervention)
    if not interventions:
        raise SettingsError(
            "A pair needs an intervention.", "Write intervention=vs.Redistribution(...)."
        )
    name = run_name(name, interventions)
    parent = run_directory(directory)
    if generation is None and baseline is not None:
        generation = baseline.generation
    generation = settled(Generation, generation, "generation")
    check_question(lmm, image, prompt, interventions, history=history, generation=generation)
    cancel = cancel or threading.Event()

    def run(
        kind: str,
        called: str | None = None,
        interventions: Interventions = (),
        teacher: Recording | None = None,
    ) -> Recording:
        return record(
            lmm,
            image,
            prompt,
            history=history,
            generation=generation,
            intervention=interventions,
            options=options,
            name=called,
            directory=None if parent is None else parent / kind,
            on_event=on_event,
            cancel=cancel,
            teacher=teacher,
        )

    if baseline is None:
        baseline = run("baseline")
    if cancel.is_set():
        return Pair(baseline)
    free = run("free", name, interventions)
    if cancel.is_set() or not len(baseline.generated_positions):
        return Pair(baseline, free)
    forced = run("forced", name + FORCED, interventions, baseline)
    return Pair(baseline, free, forced)
