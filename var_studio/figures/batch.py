"""Many figures at once: of several tokens, layers, heads and runs, each in a file that says so."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from var_studio.analysis.choice import NoRowError
from var_studio.analysis.words import words
from var_studio.errors import VarStudioError
from var_studio.figures.export import export_figure, files_of
from var_studio.figures.names import BY_KEY, key_of
from var_studio.figures.render import write_whole
from var_studio.recording.recording import Recording

INDEX = "index.csv"
"""The table of a batch, beside its figures."""

_MOST = 20_000
_LONGEST_WORD = 20
State = Literal["written", "no row", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """One figure of a batch: `choice` are arguments of `export_figure`, `paths` the files of each
    format. `refused`: why it cannot be drawn, where that is known before."""

    figure: str
    run: Recording
    run_name: str
    paths: tuple[Path, ...]
    token: int | None
    layer: int | None
    head: int | None
    choice: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job, and which files it left."""

    job: Job
    state: State
    files: tuple[Path, ...] = ()
    why: str = ""


def tokens_named(run: Recording, text: str) -> list[int]:
    """Positions from text like "all", "generated", "117", "g0", "12-20", "g0-g5", "cup", with
    commas between them, in the order of the sequence, each once.

    "all": all text tokens from the first with a row on. "generated": those of the answer. A word:
    the tokens of each such word of the answer, and each such token of the question; "=12" is the
    word 12. Whether a token has a row is not asked. Raises VarStudioError for what is not there.
    """
    found: set[int] = set()
    for part in (piece.strip() for piece in text.split(",")):
        if part:
            found.update(_named(run, part))
    if not found:
        raise VarStudioError("No token is named.", "Name all, generated, 12-20, g0 or a word.")
    return sorted(found)


def plan(
    figures: Sequence[str],
    runs: Sequence[tuple[str, Recording]],
    folder: Path,
    *,
    tokens: Callable[[Recording], Iterable[int | None]],
    layers: Callable[[Recording], Iterable[int | None]],
    heads: Callable[[Recording], Iterable[int | None]],
    formats: Sequence[str] = ("pdf",),
    choice: Callable[[str, Recording], Mapping[str, Any]] = lambda *_: {},
) -> list[Job]:
    """The figures to draw, in the order of their names; runs with what they go by.

    `tokens`, `layers`, `heads`: what is wanted of each run, None for what `choice.read` chooses.
    An axis that a figure does not have makes no more of it. `choice`: further arguments of
    `export_figure`, by figure and run. Where one of these raises VarStudioError, the figure of that
    run is planned as refused. Raises VarStudioError where nothing else is left, and for more than
    can be meant.
    """
    jobs: list[Job] = []
    taken: set[str] = set()
    refusals: list[VarStudioError] = []
    for figure in dict.fromkeys(figures):
        axes: Collection[str] = BY_KEY[key_of(figure)].of if key_of(figure) in BY_KEY else ()
        for name, run in runs:
            said = name if len(runs) > 1 else ""
            try:
                of_token = _axis("token" in axes, tokens(run))
                of_layer = _axis("layer" in axes, layers(run))
                of_head = _axis("head" in axes, heads(run))
                chosen = choice(figure, run)
            except VarStudioError as error:
                refusals.append(error)
                stem = _stem(figure, said, run, None, None, None, taken)
                paths = tuple(folder / f"{stem}.{suffix}" for suffix in formats)
                jobs.append(Job(figure, run, name, paths, None, None, None, refused=error.what))
                continue
            if len(jobs) + len(of_token) * len(of_layer) * len(of_head) > _MOST:
                raise VarStudioError(
                    f"That makes more than {_MOST:,} figures.", "Choose fewer tokens or heads."
                )
            for token in of_token:
                for layer in of_layer:
                    for head in of_head:
                        stem = _stem(figure, said, run, token, layer, head, taken)
                        paths = tuple(folder / f"{stem}.{suffix}" for suffix in formats)
                        jobs.append(Job(figure, run, name, paths, token, layer, head, chosen))
    if refusals and len(refusals) == len(jobs):
        raise refusals[0]
    return jobs


def planned_files(jobs: Iterable[Job], folder: Path, with_data: bool = False) -> list[Path]:
    """All files that a batch may write."""
    found = [folder / INDEX]
    for job in jobs:
        for number, path in enumerate(() if job.refused else job.paths):
            found += files_of(path, with_data and number == 0)
    return found


def export_batch(
    jobs: Sequence[Job],
    folder: Path,
    *,
    dpi: int = 300,
    with_data: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
    outcomes: list[Outcome] | None = None,
) -> list[Outcome]:
    """Draw them one after the other, and write `INDEX` at the end, also of one that was stopped.

    A figure that cannot be drawn, as of a token without a row, is told in its outcome, and the
    others are drawn. Files that exist are replaced; `planned_files` tells which
    these are. `progress(done, total, name)`: what it raises stops the batch. `outcomes`: a list
    that gets each outcome at once, so that it is known after a stop too. Raises VarStudioError for
    a folder that cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VarStudioError(
            f"The folder {folder} cannot be made: {error.strerror or error}.",
            "Choose another place.",
        ) from error
    outcomes = [] if outcomes is None else outcomes
    try:
        for done, job in enumerate(jobs):
            if progress is not None:
                progress(done, len(jobs), job.paths[0].stem)
            outcomes.append(_drawn(job, dpi, with_data))
    finally:
        write_whole(folder / INDEX, _index(outcomes, folder).encode("utf-8"))
    return outcomes


def _drawn(job: Job, dpi: int, with_data: bool) -> Outcome:
    if job.refused:
        return Outcome(job, "failed", (), job.refused)
    chosen = {"token": job.token, "layer": job.layer, "head": job.head}
    choice = {**{name: value for name, value in chosen.items() if value is not None}, **job.choice}
    written: list[Path] = []
    try:
        for number, path in enumerate(job.paths):
            beside = with_data and number == 0
            written += export_figure(job.run, job.figure, path, dpi=dpi, with_data=beside, **choice)
    except NoRowError as error:
        return Outcome(job, "no row", tuple(written), error.what)
    except VarStudioError as error:
        return Outcome(job, "failed", tuple(written), error.what)
    return Outcome(job, "written", tuple(written))


def as_record(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """A line of the index, as plain JSON."""
    job = outcome.job
    token = None if job.token is None else job.run.tokens[job.token]
    answer = job.run.generated_positions.tolist()
    return {
        "file": os.path.relpath(job.paths[0], folder) if outcome.files else "",
        "figure": job.figure,
        "run": job.run_name,
        "run_id": job.run.id,
        "position": job.token,
        "generated": answer.index(job.token) if job.token in answer else None,
        "text": None if token is None else token.text,
        "layer": job.layer,
        "head": job.head,
        "state": outcome.state,
        "why": outcome.why,
    }


def _index(outcomes: Iterable[Outcome], folder: Path) -> str:
    buffer = io.StringIO()
    lines = [as_record(outcome, folder) for outcome in outcomes]
    columns = list(lines[0]) if lines else ["file"]
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def _axis(has: bool, values: Iterable[int | None]) -> list[int | None]:
    """The values of an axis; one that the figure does not have is left as it was chosen, or, with
    several values, to the figure."""
    found = list(dict.fromkeys(values)) or [None]
    return found if has or len(found) == 1 else [None]


def _stem(
    figure: str,
    run_name: str,
    run: Recording,
    token: int | None,
    layer: int | None,
    head: int | None,
    taken: set[str],
) -> str:
    """A name that sorts by run, token, layer and head, and that no other figure has."""
    parts = [figure]
    if run_name:
        parts.append(_slug(run_name))
    if token is not None:
        _check(run, token)
        width = max(len(str(len(run.tokens) - 1)), 3)
        parts.append(f"t{token:0{width}d}")
        word = _slug(run.tokens[token].text)[:_LONGEST_WORD]
        parts += [word] if word else []
    parts += [f"L{layer:02d}"] if layer is not None else []
    parts += [f"H{head:02d}"] if head is not None else []
    stem = told = "-".join(parts)
    number = 1
    # On a disk that does not tell capitals apart too.
    while told.casefold() in taken:
        number += 1
        told = f"{stem}-{number}"
    taken.add(told.casefold())
    return told


def _slug(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_")


def _named(run: Recording, part: str) -> list[int]:
    if part == "all":
        rows = run.query_positions
        first = int(rows[0]) if len(rows) else 0
        return [t.position for t in run.tokens[first:] if t.role != "visual"]
    if part == "generated":
        return [int(position) for position in run.generated_positions]
    ends = re.fullmatch(r"(g?\d+)(?:-(g?\d+))?", part)
    if ends is not None:
        first, last = _position(run, ends[1]), _position(run, ends[2] or ends[1])
        if last < first:
            raise VarStudioError(f"The range {part} ends before it begins.", "Turn it round.")
        return list(range(first, last + 1))
    return _of_word(run, part.removeprefix("="))


def _position(run: Recording, text: str) -> int:
    number = int(text.removeprefix("g"))
    if not text.startswith("g"):
        _check(run, number)
        return number
    answer = run.generated_positions
    if number >= len(answer):
        last = f"They go from g0 to g{len(answer) - 1}." if len(answer) else "It has none."
        raise VarStudioError(f"There is no generated token {text}.", last)
    return int(answer[number])


def _check(run: Recording, position: int) -> None:
    if not 0 <= position < len(run.tokens):
        raise VarStudioError(
            f"There is no token {position}.", f"It goes from 0 to {len(run.tokens) - 1}."
        )


def _of_word(run: Recording, word: str) -> list[int]:
    wanted = word.casefold()
    found = [
        token.position
        for each in words(run.tokens)
        if _bare(each.text) == wanted or each.text.casefold() == wanted
        for token in each.tokens
    ]
    found += [
        token.position
        for token in run.tokens
        if token.role == "prompt" and token.text.strip().casefold() == wanted
    ]
    if not found:
        raise VarStudioError(
            f"The run {run.name} has no word {word!r}.",
            "`var-studio info` lists its tokens; all, generated, 12-20 and g0-g5 name some too.",
        )
    return found


def _bare(text: str) -> str:
    """A word without the signs around it."""
    return re.sub(r"^\W+|\W+$", "", text).casefold()
