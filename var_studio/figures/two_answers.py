"""From two runs of one question to the figure of their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from var_studio.analysis.compare import Comparison, compare
from var_studio.analysis.matching import mismatch
from var_studio.analysis.scores import score
from var_studio.analysis.token_values import logprob_changes
from var_studio.analysis.words import Word, WordColumn, laid_out_words
from var_studio.errors import VarStudioError
from var_studio.figures.draw_words import WordPair, WordsPanel
from var_studio.figures.origin import images_of, model_of
from var_studio.figures.spec import Figure, Width
from var_studio.figures.words import count, interventions_line
from var_studio.recording.interventions import of_kind, run_name_for
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

ANSWERS = "answers"
"""The name of the figure of two answers; it is made of two runs, the others of a reading."""

GLOBAL = "global (two runs)"
_LONGEST_NAME, _BEGINNING = 22, 8


class MismatchError(VarStudioError):
    """Two runs that cannot be laid beside each other."""


def check_match(one: Recording, other: Recording) -> None:
    """Raise MismatchError unless the two runs asked the same of the same model."""
    if one.id == other.id:
        raise MismatchError(
            f"{one.name} cannot be compared with itself: it is the same run.", "Choose another."
        )
    why = mismatch(one, other)
    if why:
        raise MismatchError(
            f"{one.name} and {other.name} cannot be compared: {why}.",
            "Choose two runs of one model, picture and question.",
        )


def build_answers(
    first: Recording,
    second: Recording,
    forced: Recording | None = None,
    *,
    width: Width = "two-columns",
) -> Figure:
    """Two answers word under word, with what differs and where they part.

    A baseline stands first, whatever the order given. `forced`, a run that was made to say the
    first answer under the interventions of the second, gives every word of the first answer a
    change of its log-probability in the table. Raises MismatchError for runs that do not match.
    """
    check_match(first, second)
    if first.interventions and not second.interventions:
        first, second = second, first
    if forced is None and second.teacher == first.id:
        forced = second
    compared = compare(first, second)
    columns, parts = laid_out_words(first.tokens, second.tokens, compared)
    if not columns:
        raise VarStudioError("Neither answer has a word yet.", "Let the runs write some.")
    pairs = tuple(
        WordPair(
            None if column.first is None else column.first.text,
            None if column.second is None else column.second.text,
            column.relation in ("replaced", "only_baseline", "only_other") and parts is not None,
            index == parts,
        )
        for index, column in enumerate(columns)
    )
    table = _table(first, second, columns, parts, forced)
    return Figure(
        rows=((WordsPanel(_short(*run_names(first, second)), pairs),),),
        title=str(first.provenance.get("prompt") or "Two answers to one question"),
        notes=tuple(_notes(first, second, compared, columns, parts, forced)),
        metadata=_metadata(first, second, compared, forced),
        arrays=table,
        table=table,
    )


def run_names(first: Recording, second: Recording) -> tuple[str, str]:
    """What to call two runs: their names, or where these are alike what was done in them."""
    if first.name != second.name:
        return first.name, second.name
    one, other = run_name_for(first.interventions), run_name_for(second.interventions)
    return (one, other) if one != other else (f"{one} (1)", f"{other} (2)")


def difference_line(compared: Comparison, parts: int | None = None) -> str:
    """How two answers differ, in a sentence; `parts`: the column of the first word that does."""
    if compared.identical:
        return "Both answers are the same, token by token."
    if compared.undecided:
        return "One answer was cut short; as far as it goes, both are the same."
    if parts is None:
        return "Both answers have the same words, in other tokens."
    return f"The answers part at word {parts + 1} (bar)."


def _notes(
    first: Recording,
    second: Recording,
    compared: Comparison,
    columns: list[WordColumn],
    parts: int | None,
    forced: Recording | None,
) -> list[str]:
    said = difference_line(compared, parts)
    if parts is not None:
        differ = sum(column.relation != "same" for column in columns)
        said += f" Underlined: words that differ, at {count(differ, 'place')}; –: nothing there."
    lines = [f"Global (two runs). {said}"]
    for run, name in zip((first, second), run_names(first, second), strict=True):
        what = interventions_line(run.interventions) or "no intervention"
        how = " Teacher-forced." if run.teacher is not None else ""
        lines.append(f"{name}: {what}.{how}{_cut(run)}")
    if forced is not None:
        scores = score(first.tokens, forced.tokens)
        total, mean = (
            f"{value:{form}}".replace("-", "−")
            for value, form in ((scores.total_change, "+.3g"), (scores.mean_change, "+.2g"))
        )
        lines.append(
            "Teacher-forced: log p of the first answer changes by "
            f"{total} nats ({mean} a token) under the interventions of the second."
        )
    return lines


def _cut(run: Recording) -> str:
    if not run.finished or str(run.reason).startswith(("cancelled", "failed")):
        return " Stopped before its end."
    return " It ran out of new tokens." if run.reason == "length" else ""


def _short(one: str, other: str) -> tuple[str, str]:
    """Two names in few letters, so that they can be told apart."""

    def cut(name: str, at: int) -> str:
        # From `at` on, with a few letters of the beginning before it.
        if len(name) <= _LONGEST_NAME:
            return name
        if at < _LONGEST_NAME - 2:
            return name[: _LONGEST_NAME - 1] + "…"
        rest = name[at - 1 :]
        kept = _LONGEST_NAME - _BEGINNING - 1
        end = rest if len(rest) <= kept else rest[: kept - 1] + "…"
        return f"{name[:_BEGINNING]}…{end}"

    pairs = enumerate(zip(one, other, strict=False))
    apart = next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
    return cut(one, apart), cut(other, apart)


def _metadata(
    first: Recording, second: Recording, compared: Comparison, forced: Recording | None
) -> dict[str, Any]:
    done = of_kind(second.interventions, Redistribution)
    return {
        "figure": ANSWERS,
        "comparison": GLOBAL,
        **model_of(first),
        "before": run_json(first),
        "after": run_json(second),
        "teacher_forced": None if forced is None else run_json(forced),
        "images": images_of(first),
        "first_divergence": compared.first_divergence,
        "identical": compared.identical,
        "undecided": compared.undecided,
        # Of what else was done there are no settings of redistribution.
        **({} if done is None else {"redistribution": done.model_dump(mode="json")}),
    }


def run_json(run: Recording) -> dict[str, Any]:
    """Which run it is and what was done in it, as plain JSON."""
    return {
        "run": run.name,
        "run_id": run.id,
        "text": run.text,
        "finished": run.finished,
        "reason": run.reason,
        "teacher": run.teacher,
        "interventions": [each.model_dump(mode="json") for each in run.interventions],
    }


def _table(
    first: Recording,
    second: Recording,
    columns: list[WordColumn],
    parts: int | None,
    forced: Recording | None,
) -> dict[str, Any]:
    free = None if second is forced else second
    changes, _ = logprob_changes(first, free, forced)
    one, other = [c.first for c in columns], [c.second for c in columns]
    nan = float("nan")

    def numbers(side: list[Word | None], of: Callable[[Word], float | None]) -> Any:
        found = [None if word is None else of(word) for word in side]
        return np.array([nan if value is None else value for value in found])

    return {
        "comparison": np.array([GLOBAL] * len(columns)),
        "column": np.arange(1, len(columns) + 1),
        "relation": np.array([c.relation for c in columns]),
        "first_divergence": np.arange(len(columns)) == (-1 if parts is None else parts),
        "before": np.array(["" if w is None else w.text for w in one]),
        "after": np.array(["" if w is None else w.text for w in other]),
        "position_before": np.array([-1 if w is None else w.tokens[0].position for w in one]),
        "position_after": np.array([-1 if w is None else w.tokens[0].position for w in other]),
        "logprob_before": numbers(one, lambda word: word.logprob),
        "logprob_after": numbers(other, lambda word: word.logprob),
        "logprob_change": numbers(one, lambda word: word.sum_of(changes)),
    }
