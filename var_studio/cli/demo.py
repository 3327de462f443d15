"""``var-studio demo``: the whole path on the embedded model, with no display and no network."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from var_studio import assets
from var_studio.analysis.choice import read
from var_studio.cli.record import (
    NOTHING,
    check_writable,
    divergence,
    keep,
    tell_loading,
    teller,
)
from var_studio.cli.stopping import stoppable
from var_studio.cli.terminal import Progress, complain, stopped
from var_studio.errors import VarStudioError
from var_studio.figures.export import export_figure, files_of
from var_studio.recording.paths import check_cache
from var_studio.recording.recording import Recording
from var_studio.recording.session import open_session
from var_studio.recording.settings import Generation, Redistribution

QUESTIONS = 4
"""As many as give an idea and finish in seconds."""

FIGURES = (("map", ("pdf", "png")), ("histogram", ("pdf",)), ("heads", ("pdf", "svg")))
"""What is drawn, in which formats; the data goes beside the PDF."""

CAVEAT = (
    "The demo model is a toy for scenes of coloured shapes and its sinks were induced in training: "
    "it shows how things work, and is no evidence that VAR helps."
)


@dataclass(frozen=True, slots=True)
class Question:
    """A sample picture, what to ask, and the true answer where one is known."""

    image: Path
    prompt: str
    answer: str | None


def demo(folder: Path) -> None:
    """Ask, record baseline and VAR, save a session, export figures; print where all is."""
    check_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VarStudioError(
            f"The folder {folder} cannot be made: {error.strerror}.", "Choose another with --out."
        ) from error
    session = folder / "demo.vars"
    check_folder(folder, session)
    progress = Progress()
    runs: list[Recording] = []
    folders: list[Path] = []
    with stoppable(lambda: not folders, NOTHING) as cancel:
        try:
            _ask(sample_questions(), runs, folders, progress, cancel)
        except VarStudioError:
            if not cancel.is_set():
                raise
        finally:
            progress.end()
            if runs:
                keep(runs, session)
                print(f"Session: {session}")
    if cancel.is_set():
        complain(f"Stopped; what was recorded is kept in {session}." if runs else NOTHING)
        raise stopped()
    with open_session(session) as opened:
        for path in _figures(opened.runs[0], folder, progress):
            print(f"Figure:  {path}")
    print(CAVEAT)
    print(f"Open it: var-studio gui {session}")


def check_folder(folder: Path, session: Path) -> None:
    """Refuse a folder that cannot be written, or holds files of these names that are no demo's."""
    check_writable(folder)
    figures = [folder / f"{figure}.{suffix}" for figure, suffixes in FIGURES for suffix in suffixes]
    written = [path for figure in figures for path in files_of(figure, figure.suffix == ".pdf")]
    there = [path.name for path in written if path.exists()]
    # An earlier demo leaves its session beside its figures: those are replaced.
    if there and not session.exists():
        raise VarStudioError(
            f"{folder} holds {', '.join(there)}, which no demo wrote.",
            "Choose another folder with --out.",
        )


def sample_questions(count: int = QUESTIONS) -> list[Question]:
    """The first question of several sample pictures that are like the training scenes."""
    folder = assets.resource("samples")
    try:
        listed = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
        found = [
            Question(
                folder / sample["file"],
                sample["questions"][index % len(sample["questions"])],
                answers[index % len(answers)] if (answers := sample.get("answers")) else None,
            )
            for index, sample in enumerate(listed)
            if sample["kind"] == "training-like"
        ]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise VarStudioError(
            f"{folder / 'samples.json'} cannot be read.", "Reinstall the package."
        ) from error
    return found[:count]


def _ask(
    questions: list[Question],
    runs: list[Recording],
    folders: list[Path],
    progress: Progress,
    cancel: threading.Event,
) -> None:
    progress.say("Loading the libraries")
    from var_studio.engine.generation import record
    from var_studio.models.loading import load_model

    lmm = load_model("demo", on_event=lambda event: tell_loading(progress, event), cancel=cancel)
    for question in questions:
        pair: list[Recording] = []
        for settings in (None, Redistribution()):
            if cancel.is_set():
                return
            kind = "baseline" if settings is None else "VAR"
            name = f"{question.image.stem} {kind}"
            run = record(
                lmm,
                str(question.image),
                question.prompt,
                generation=Generation(max_new_tokens=48),
                intervention=settings,
                name=name,
                on_event=teller(progress, name, folders),
                cancel=cancel,
            )
            runs.append(run)
            pair.append(run)
        progress.end()
        _print_answers(question, pair)


def _print_answers(question: Question, pair: list[Recording]) -> None:
    print(f"{question.image.name}: {question.prompt}")
    for name, run in zip(("baseline", "VAR"), pair, strict=True):
        print(f"  {name:9} {run.text.strip()}")
    if question.answer is not None:
        print(f"  {'true':9} {question.answer}")
    print(f"  {divergence(*pair)}")


def _figures(run: Recording, folder: Path, progress: Progress) -> list[Path]:
    """Maps of the head that gives most, the phi histogram of its layer, the atlas of heads."""
    reading = read(run)
    # The head whose sinks give most shows best what redistribution does.
    moved = np.where(reading.changed, reading.sink_mass, -1)
    layer, head = (int(index) for index in np.unravel_index(moved.argmax(), moved.shape))
    written: list[Path] = []
    for figure, suffixes in FIGURES:
        for suffix in suffixes:
            progress.say(f"Drawing {figure}.{suffix}")
            written += export_figure(
                run,
                figure,
                folder / f"{figure}.{suffix}",
                layer=layer,
                head=head,
                with_data=suffix == "pdf",
            )
    progress.end()
    return written
