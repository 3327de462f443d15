"""Answers to one question: a baseline's, one that leaves it at the sixth word, one forced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import synthetic
from tests.synthetic import make_run
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution
from var_studio.recording.tokens import Token

PART = 5
"""Index of the word at which the second answer leaves the baseline's."""
_SAID = ["the", "blue", "square", "is", "left", "of", "the", "red", "cup", ",", "near", "the"]
_SECOND = [*_SAID[:PART], "just", "to", *_SAID[PART:8], "mug", *_SAID[9:]]
_ID = {word: 3000 + n for n, word in enumerate(dict.fromkeys([*_SAID, *_SECOND, "</s>"]))}
_made = synthetic._tokens


def answered(
    folder: Path, patch: pytest.MonkeyPatch, **changes: Any
) -> tuple[Recording, Recording, Recording]:
    """Baseline, second answer, and the baseline's answer forced under the same intervention."""
    baseline = _run(folder / "a", patch, _SAID, 1, **changes)
    second = _run(folder / "b", patch, _SECOND, 2, intervention=Redistribution(), **changes)
    forced = _run(
        folder / "c", patch, _SAID, 3,
        name="forced", intervention=Redistribution(), teacher=baseline.id, **changes,
    )  # fmt: skip
    return baseline, second, forced


def _run(
    folder: Path, patch: pytest.MonkeyPatch, words: list[str], seed: int, **changes: Any
) -> Recording:
    def tokens(_: np.random.Generator, *rest: Any) -> list[Token]:
        return [_named(token) for token in _made(np.random.default_rng(seed), *rest)]

    with patch.context() as each:
        each.setattr(synthetic, "WORDS", words)
        each.setattr(synthetic, "_tokens", tokens)
        return make_run(folder, **{"precision": "float32"} | changes)


def _named(token: Token) -> Token:
    """The same word has the same id, in every answer and among the candidates."""
    if token.role != "generated":
        return token
    top = {_ID[a.text.strip()]: replace(a, id=_ID[a.text.strip()]) for a in reversed(token.top)}
    ordered = sorted(top.values(), key=lambda a: -a.logprob)
    return replace(token, id=_ID[token.text.strip()], top=tuple(ordered))
