"""``var-studio compare``: a baseline beside the other runs of a session; needs no model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from var_studio.analysis.compare import Comparison, compare
from var_studio.analysis.matching import mismatch
from var_studio.analysis.scores import ScoredToken, Scores, score
from var_studio.cli.contents import without_effect
from var_studio.cli.export import find_run, position_of
from var_studio.cli.record import change_in_words, divergence
from var_studio.cli.terminal import number
from var_studio.errors import VarStudioError
from var_studio.figures.two_answers import check_match
from var_studio.recording.recording import Recording
from var_studio.recording.session import Session, open_session
from var_studio.recording.tokens import Alternative, Token


@dataclass(frozen=True, slots=True)
class Compared:
    """What one intervention made of the baseline; a run that is missing was not recorded."""

    free: Recording | None
    forced: Recording | None
    comparison: Comparison | None
    scores: Scores | None

    @property
    def run(self) -> Recording:
        found = self.free or self.forced
        assert found is not None
        return found


def show(
    path: Path, baseline: str | None, run: str | None, token: str | None, as_json: bool
) -> None:
    """Print the comparison. Raises VarStudioError."""
    with open_session(path) as session:
        first, compared = compared_in(session, baseline, run)
        if as_json:
            document = {
                "path": str(path),
                "baseline": {"name": first.name, "id": first.id, "text": first.text},
                "comparisons": [_document(each) for each in compared],
            }
            print(json.dumps(document, indent=2, allow_nan=False))
        elif token is not None:
            _print_candidates(first, compared, position_of(first, token), token)
        else:
            _print_all(first, compared)


def compared_in(
    session: Session, baseline: str | None, run: str | None
) -> tuple[Recording, list[Compared]]:
    """The baseline, and what it is compared with: `run`, else all that answer its question.

    The baseline, where none is named: the teacher of a forced run, else the first run without an
    intervention. Raises VarStudioError where there is nothing to compare.
    """
    chosen = None if run is None else find_run(session, run)
    first = _baseline(session, baseline, chosen)
    others = [other for other in session.runs if other.id != first.id]
    fitting = [other for other in others if not mismatch(first, other)]
    fitting = [other for other in fitting if other.teacher in (None, first.id)]
    if chosen is not None:
        check_match(first, chosen)
        if chosen.id not in {other.id for other in fitting}:
            raise VarStudioError(
                f"{chosen.name} cannot be compared with {first.name}: it was forced to the "
                "answer of another run.",
                "Choose another with --run or --baseline.",
            )
        alike = [other for other in fitting if other.interventions == chosen.interventions]
        fitting = [chosen, *(other for other in alike if other.id != chosen.id)]
        return first, list(_compared(first, fitting))[:1]
    if not fitting:
        raise VarStudioError(
            f"The session holds no other answer to the question of {first.name}.",
            "Record one with --pair.",
        )
    return first, list(_compared(first, fitting))


def _baseline(session: Session, name: str | None, chosen: Recording | None) -> Recording:
    if name is not None:
        return find_run(session, name)
    if chosen is not None and chosen.teacher is not None:
        for run in session.runs:
            if run.id == chosen.teacher:
                return run
    plain = (run for run in session.runs if not run.interventions and run.teacher is None)
    return next(plain, None) or find_run(session, None)


def _compared(first: Recording, others: Sequence[Recording]) -> Iterator[Compared]:
    """Free runs, each with the forced run of the same interventions; then forced runs alone."""
    forced = [run for run in others if run.teacher is not None]
    for run in others:
        if run.teacher is not None:
            continue
        own = next((f for f in forced if f.interventions == run.interventions), None)
        forced = [f for f in forced if f is not own]
        found = compare(first, run, own)
        yield Compared(run, own, found, found.scores)
    for run in forced:
        yield Compared(None, run, None, score(first.tokens, run.tokens))


# ------------------------------------------------------------------------------ for a reader


def _print_all(first: Recording, compared: Sequence[Compared]) -> None:
    print(f"{first.name}: {first.text}")
    for each in compared:
        print()
        if each.free is not None:
            print(f"{each.free.name}: {each.free.text}")
            print(divergence(first, each.free))
        if without_effect(each.run):
            print(without_effect(each.run))
        if each.scores is not None:
            _print_scores(first, each.run, each.scores)


def _print_scores(first: Recording, run: Recording, scores: Scores) -> None:
    print(change_in_words(first, run, scores))
    print("  token    before     after    change  text, and what is now likelier")
    for index, scored in enumerate(scores.tokens):
        likelier = "" if scored.still_first else f"  -> {_quoted(scored.top_after[0])}"
        print(
            f"  g{index:<5}{scored.logprob_before:10.4f}{scored.logprob_after:10.4f}"
            f"{scored.change:+10.4f}  {_quoted(scored.token)}{likelier}"
        )


def _print_candidates(
    first: Recording, compared: Sequence[Compared], position: int, word: str
) -> None:
    """The likeliest candidates at one token, before and after."""
    shown = False
    for each in compared:
        for scored in each.scores.tokens if each.scores is not None else ():
            if scored.token.position == position:
                shown = True
                print(f"{first.name}, then {each.run.name}: {_quoted(scored.token)}")
                _print_tops(scored)
    if not shown:
        raise VarStudioError(
            f"No teacher-forced run scores the token {word}.", "Record one with --pair."
        )


def _print_tops(scored: ScoredToken) -> None:
    for rank in range(max(len(scored.top_before), len(scored.top_after))):
        both = [top[rank : rank + 1] for top in (scored.top_before, scored.top_after)]
        cells = [f"{a.logprob:9.4f}  {_quoted(a)}" for top in both for a in top or ()]
        before = cells[0] if both[0] else ""
        after = cells[-1] if both[1] else ""
        print(f"  {rank + 1:3d}  {before:32}{after}".rstrip())


def _quoted(token: Token | Alternative) -> str:
    return json.dumps(token.text, ensure_ascii=False)


# ------------------------------------------------------------------------------ for a script


def _document(each: Compared) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": each.run.name,
        "interventions": [i.model_dump(mode="json") for i in each.run.interventions],
        "without_effect": without_effect(each.run),
    }
    found = each.comparison
    if each.free is not None and found is not None:
        document["free"] = {
            "id": each.free.id,
            "text": each.free.text,
            "first_divergence": found.first_divergence,
            "identical": found.identical,
            "undecided": found.undecided,
            "tokens": [
                {
                    "relation": column.relation,
                    "baseline": column.baseline and column.baseline.position,
                    "other": column.other and column.other.position,
                }
                for column in found.pairs
            ],
        }
    if each.forced is not None and each.scores is not None:
        document["forced"] = {
            "id": each.forced.id,
            "total_change": number(each.scores.total_change),
            "mean_change": number(each.scores.mean_change),
            "first_departure": each.scores.first_departure,
            "tokens": [_scored(scored) for scored in each.scores.tokens],
        }
    return document


def _scored(scored: ScoredToken) -> dict[str, Any]:
    return {
        "position": scored.token.position,
        "id": scored.token.id,
        "text": scored.token.text,
        "logprob_before": number(scored.logprob_before),
        "logprob_after": number(scored.logprob_after),
        "change": number(scored.change),
        "still_first": scored.still_first,
        "top_before": [_candidate(a) for a in scored.top_before],
        "top_after": [_candidate(a) for a in scored.top_after],
    }


def _candidate(candidate: Alternative) -> dict[str, Any]:
    return {
        "id": candidate.id,
        "text": candidate.text,
        "logprob": number(candidate.logprob),
    }
