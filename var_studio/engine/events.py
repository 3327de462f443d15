"""What happens while a run goes on. Plain data and NumPy only: safe to hand to another thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from var_studio.errors import VarStudioError
from var_studio.recording.layout import VisualLayout
from var_studio.recording.tokens import Token

Stage = Literal["encoding", "discovering", "prefill", "generating", "closing"]
Reason = Literal["end", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run has begun; its recording grows in the directory `path`."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A long stage goes on: `done` of `total` layers."""

    stage: Stage
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class PromptEncoded:
    """The prompt is tokenised and laid out; nothing has been computed yet."""

    tokens: tuple[Token, ...]
    layout: VisualLayout


@dataclass(frozen=True, slots=True)
class TokenProduced:
    """A token was generated, and is on disk: `Recording.open` of the run's path reads it.

    `query` is the index in `query_positions` of the row that produced it, for
    `Recording.attention(query)`.
    """

    token: Token
    query: int


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run ended; `path` holds the whole recording."""

    path: Path
    reason: Reason
    seconds: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class RunFailed:
    """The run stopped on an error; what was recorded so far is kept in `path`, if any."""

    error: VarStudioError
    path: Path | None = None


Event = RunStarted | Progress | PromptEncoded | TokenProduced | RunFinished | RunFailed
OnEvent = Callable[[Event], None]
