"""What of a session goes into its file: everything, or a part that is said to be one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from var_studio.recording.failures import SettingsError
from var_studio.recording.refusals import BESIDE_OTHERS
from var_studio.recording.settings import Settings

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording

ANSWER: Final = "answer"
"""Among chosen tokens: every token of the answer."""
_WORD: Final = re.compile(r"g?-?\d{1,9}")


class Content(Settings):
    """What of the runs a session file keeps; the rest is left out, and the file says so.

    Always whole: tokens with their log-probabilities and candidates, layout, settings,
    provenance, and for every key its sink-dimension values, largest dimensions and norm(v W_O).

    - `maps`: of every row only the weights that maps of the image need: those on visual tokens,
      on BOS, and on text tokens that could be sinks (`map_keys`). The others are NaN.
    - `tokens`: only these tokens' rows, and the rows of the steps that produced them. A token is
      a position (117), "g3" (token 3 of the answer, "g-1" its last) or "answer" (all of it). A
      token that only some of the runs have is kept of these. None: all rows.
    - `images` False: no pictures. Their hash, type, name and size stay, and so does the layout.
    """

    maps: bool = Field(
        False, title="Maps only", description="Attention on the image and on sinks only."
    )
    tokens: tuple[str, ...] | None = Field(
        None,
        title="Chosen tokens",
        description="Rows of these tokens only: positions, g0, g-1, or answer. Empty: all.",
    )
    images: bool = Field(True, title="Pictures", description="Put the pictures into the file.")

    @field_validator("tokens", mode="before")
    @classmethod
    def _as_words(cls, given: Any, _: ValidationInfo) -> Any:
        if given is None:
            return None
        if isinstance(given, str | int) or not isinstance(given, Sequence | np.ndarray):
            given = (given,)
        words = tuple(str(word).strip() for word in given)
        wrong = [word for word in words if word != ANSWER and _WORD.fullmatch(word) is None]
        if wrong or not words:
            raise PydanticCustomError(
                BESIDE_OTHERS, "Give positions such as 117, g0 for the answer's first, or answer"
            )
        return words

    @property
    def full(self) -> bool:
        """Whether nothing is left out."""
        return not self.maps and self.tokens is None and self.images

    @property
    def in_words(self) -> str:
        """What is kept, in a few words."""
        parts = []
        if self.maps:
            parts.append("maps only")
        if self.tokens is not None:
            parts.append(f"rows of {', '.join(self.tokens)}")
        if not self.images:
            parts.append("without pictures")
        return ", ".join(parts) or "everything"


FULL: Final = Content()


def kept_rows(content: Content, run: Recording) -> list[int]:
    """Queries of a run (indices into `query_positions`) whose rows are kept, ascending."""
    if content.tokens is None:
        return list(range(len(run.query_positions)))
    kept = set()
    for position in _positions(content.tokens, run):
        for at in (position, position - 1):
            query = run.query_of(at)
            if query is not None:
                kept.add(query)
    return sorted(kept)


def check_tokens(content: Content, runs: Sequence[Recording]) -> None:
    """Raise SettingsError for a chosen token that no run has, or of which no run has a row."""
    if content.tokens is None or not runs:
        return
    for word in content.tokens:
        one = Content(tokens=(word,))
        if not any(kept_rows(one, run) for run in runs):
            raise SettingsError(
                f"No run has a row of token {word}.",
                "Choose a text token after the image: `var-studio info` lists them.",
            )


def map_keys(run: Recording) -> npt.NDArray[np.bool_]:
    """(T,) bool: keys whose weights `maps` keeps.

    The visual tokens with the separators between them; BOS, the first token; and every text token
    whose phi reaches half of the run's own tau in some layer, so that maps after a redistribution
    are exact for any tau down to that.
    """
    with np.errstate(invalid="ignore"):
        kept = np.array((run.phi() >= run.tau_default / 2).any(axis=0))
    kept[run.layout.positions] = True
    kept[:1] = True
    return kept


def _positions(words: Sequence[str], run: Recording) -> set[int]:
    """Positions that the words name in a run; those that it does not have are left out."""
    generated = run.generated_positions.tolist()
    found: set[int] = set()
    for word in words:
        if word == ANSWER:
            found.update(generated)
            continue
        number = int(word.removeprefix("g"))
        if not word.startswith("g"):
            found.add(number)
        elif -len(generated) <= number < len(generated):
            found.add(generated[number])
    return {position for position in found if 0 <= position < run.length}


def size_in_words(size: float) -> str:
    """A number of bytes as people read it: 830 B, 41.2 kB, 412 MB, 1.53 GB."""
    for unit, text in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= 0.9995 * unit:
            value = size / unit
            return f"{value:.{max(0, 2 - len(str(round(value))) + 1)}f} {text}"
    return f"{round(size)} B"
