"""``var-studio record``: the baseline, on request changed runs, one session file."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from var_studio.analysis.compare import compare
from var_studio.analysis.scores import Scores, score
from var_studio.cli.contents import without_effect
from var_studio.cli.question import Subject, subject
from var_studio.cli.stopping import stoppable
from var_studio.cli.terminal import Progress, complain, settings_of, stopped
from var_studio.errors import VarStudioError
from var_studio.recording.interventions import FORCED, of_kind, run_name_for
from var_studio.recording.locks import check_free
from var_studio.recording.paths import check_cache
from var_studio.recording.recording import Recording
from var_studio.recording.replacing import check_replaceable, file_to_write
from var_studio.recording.session import save_session
from var_studio.recording.settings import Generation, Interventions, Knockout

if TYPE_CHECKING:
    from var_studio.engine.events import Event
    from var_studio.models.loading import LoadProgress


NOTHING = "Stopped before anything was recorded."


@dataclass(frozen=True, slots=True)
class Task:
    """What to ask, and where to keep it."""

    prompt: str
    out: Path
    images: tuple[Path, ...] = ()
    follow_up: str | None = None
    model: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    quantization: Literal["8bit", "4bit"] | None = None
    trust_remote_code: bool = False
    overwrite: bool = False
    as_json: bool = False


def generation(**given: Any) -> Generation:
    """Settings of the decoding from options. Raises VarStudioError for a bad value."""
    return settings_of(Generation, given)


def record(
    task: Task, generation: Generation, changes: Sequence[Interventions], *, pair: bool = False
) -> None:
    """Record, save, print the answers and the file. Raises VarStudioError; Exit after Ctrl-C.

    `changes`: the interventions of each further run; none: the baseline alone. `pair`: score the
    baseline's answer under each of them too.
    """
    check_place(task.out, task.overwrite)
    if not task.prompt.strip():
        raise VarStudioError("--prompt is empty.", "Ask something about the picture.")
    # A bad picture is known before the model is loaded.
    asked = subject(task.model, task.images, task.follow_up)
    changes = [each for each in changes if each]
    if pair and not changes:
        raise VarStudioError("--pair needs an intervention.", "Leave out --no-var.")
    wanted: list[tuple[Interventions, bool]] = [((), False)]
    for each in changes:
        wanted += [(each, False), (each, True)] if pair else [(each, False)]
    check_cache()
    progress = Progress()
    runs: list[Recording] = []
    folders: list[Path] = []
    with stoppable(lambda: not folders, NOTHING) as cancel:
        try:
            record_runs(task, asked, generation, wanted, runs, folders, progress, cancel)
        except KeyboardInterrupt:
            progress.end()
            where = " and ".join(map(str, folders))
            complain(f"Stopped; the recording so far is in {where}." if where else NOTHING)
            raise stopped() from None
        except VarStudioError as error:
            progress.end()
            if cancel.is_set() and not runs:
                complain(NOTHING)
                raise stopped() from error
            if not runs:
                raise
            keep(runs, task.out)
            raise VarStudioError(
                f"{error.what} {_kept(runs, task.out)}", error.next_step
            ) from error
        except Exception:
            progress.end()
            if runs:
                # Whatever went wrong afterwards, a finished run is worth keeping.
                keep(runs, task.out)
                complain(_kept(runs, task.out))
            raise
        progress.end()
        keep(runs, task.out)
    if task.as_json:
        print(json.dumps(_document(task, runs, cancel.is_set()), indent=2))
    else:
        _print_answers(task, runs)
    if cancel.is_set():
        print_stopped(runs, task.out)
        raise stopped()


def _kept(runs: Sequence[Recording], out: Path) -> str:
    return f"{'The baseline' if len(runs) == 1 else 'What was recorded'} is kept in {out}."


def _print_answers(task: Task, runs: list[Recording]) -> None:
    free = [run for run in runs if run.teacher is None]
    for run in free:
        print(f"{run.name}: {run.text}")
        if without_effect(run):
            print(without_effect(run))
    for run in free[1:]:
        print((f"{run.name}: " if len(free) > 2 else "") + divergence(runs[0], run))
    for forced in (run for run in runs if run.teacher is not None):
        own = next(run for run in free if run.interventions == forced.interventions)
        print(change_in_words(runs[0], own, score(runs[0].tokens, forced.tokens)))
    print(task.out)


def _document(task: Task, runs: list[Recording], was_stopped: bool) -> dict[str, Any]:
    """What was recorded, for a script; `info --json` of the file tells the rest."""
    return {
        "path": str(task.out),
        "stopped": was_stopped,
        "runs": [
            {
                "name": run.name,
                "id": run.id,
                "text": run.text,
                "reason": run.reason,
                "generated": len(run.generated_positions),
                "teacher": run.teacher,
                "without_effect": without_effect(run),
            }
            for run in runs
        ],
    }


def record_runs(
    task: Task,
    asked: Subject,
    generation: Generation,
    wanted: list[tuple[Interventions, bool]],
    runs: list[Recording],
    folders: list[Path],
    progress: Progress,
    cancel: threading.Event,
) -> None:
    """Load the model and append the runs, as far as they get before `cancel` is set.

    `wanted`: what is done in each run, and whether it is forced to the first run's answer.
    `folders` gets the place of each run as soon as it begins.
    """
    progress.say("Loading the libraries")
    from var_studio.engine.generation import record as record_run
    from var_studio.engine.question import check_question
    from var_studio.models.loading import load_model

    lmm = load_model(
        asked.model,
        device=task.device,
        dtype=task.dtype,
        quantization=task.quantization,
        trust_remote_code=task.trust_remote_code,
        on_event=lambda event: tell_loading(progress, event),
        cancel=cancel,
    )
    for changes in dict.fromkeys(settings for settings, _ in wanted if settings):
        if cancel.is_set():
            return
        # What does not fit is known before the baseline has cost its time.
        check_question(
            lmm, asked.images, task.prompt, changes, history=asked.history, generation=generation
        )
    names = _names([settings for settings, forced in wanted if not forced])
    for settings, forced in wanted:
        name = names[settings] + (FORCED if forced else "")
        if cancel.is_set():
            return
        run = record_run(
            lmm,
            asked.images,
            task.prompt,
            history=asked.history,
            generation=generation,
            intervention=settings or None,
            name=name,
            on_event=teller(progress, name, folders),
            cancel=cancel,
            teacher=runs[0] if forced else None,
        )
        runs.append(run)


def _names(wanted: Sequence[Interventions]) -> dict[Interventions, str]:
    """What to call the runs: where two would go by one name, after what is knocked out."""
    found = {each: run_name_for(each) for each in wanted}
    for each, name in list(found.items()):
        knocked = of_kind(each, Knockout)
        if knocked is not None and [run_name_for(other) for other in wanted].count(name) > 1:
            found[each] = f"{name}, {knocked.tokens}"
    return found


def tell_loading(progress: Progress, event: LoadProgress) -> None:
    """Show how far loading is."""
    detail = f"{event.done} of {event.total}" if event.total else ""
    # A model on disk goes through the first stage too, with nothing to fetch.
    looking = event.stage == "download" and not event.total
    progress.say(f"Loading the model: {'files' if looking else event.stage}", detail)


def teller(progress: Progress, name: str, folders: list[Path]) -> Callable[[Event], None]:
    """What shows the events of one run, and notes its folder."""
    from var_studio.engine.events import Progress as StageProgress
    from var_studio.engine.events import RunStarted, TokenProduced

    count = 0
    text = ""

    def tell(event: Event) -> None:
        nonlocal count, text
        if isinstance(event, StageProgress):
            progress.say(f"Recording {name}", f"{event.stage} {event.done} of {event.total}")
        elif isinstance(event, TokenProduced):
            count, text = count + 1, text + event.token.text
            progress.say(f"Recording {name}", f"{count} tokens: {' '.join(text.split())}")
        elif isinstance(event, RunStarted):
            folders.append(event.path)

    return tell


def keep(runs: list[Recording], out: Path) -> None:
    """Save the runs and remove their own folders. Raises VarStudioError that names these."""
    progress = Progress()
    try:
        save_session(out, runs=runs, progress=progress.saving(out))
    except VarStudioError as error:
        places = ", ".join(str(run.path) for run in runs)
        raise VarStudioError(
            f"{error.what} What was recorded is kept in {places}.",
            f"{error.next_step} To save it elsewhere, open it: var-studio gui FOLDER",
        ) from error
    finally:
        progress.end()
    for run in runs:
        if run.in_directory:
            run.discard()


def check_place(out: Path, overwrite: bool) -> None:
    """Refuse a session file that cannot be written, before time is spent."""
    if os.path.isdir(out):
        raise VarStudioError(f"{out} is a folder.", "Give the session file a name.")
    if not os.path.isdir(out.parent):
        raise VarStudioError(f"There is no folder {out.parent}.", "Make it, or choose another.")
    if os.path.exists(out) and not overwrite:
        raise VarStudioError(f"{out} exists.", "Choose another name, or add --overwrite.")
    # What the saving would meet, where a link leads too.
    target = file_to_write(out)
    if out.suffix.lower() != ".vars" and not _may_be_session(target):
        raise VarStudioError(f"{out} is no session.", "Choose a name that ends in .vars.")
    check_free(out)
    check_writable(target.parent)
    check_replaceable(target)


def _may_be_session(out: Path) -> bool:
    """Whether no more than a session is lost there: a picture has other first bytes than a zip."""
    try:
        with out.open("rb") as file:
            start = file.read(2)
    except OSError:
        return True  # nothing is there, or saving will say why not
    return start in (b"PK", b"")


def check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made: asked by making one, since rights mislead."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise VarStudioError(
            f"Nothing can be written in {folder}: {error.strerror or error}.",
            "Choose another folder with --out.",
        ) from error


def change_in_words(baseline: Recording, run: Recording, scores: Scores) -> str:
    """How likely the baseline's answer is under an intervention, in one line."""
    return (
        f"The answer of {baseline.name} under {run.name}: log-probability "
        f"{scores.total_change:+.4f} in all, {scores.mean_change:+.4f} a token (nats)."
    )


def divergence(baseline: Recording, other: Recording) -> str:
    """Where two answers part, in one line; where one was stopped first, that."""
    compared = compare(baseline, other)
    first = compared.first_divergence
    if first is not None:
        return f"The answers part at generated token g{first}."
    if not compared.undecided:
        return "Both answers are the same."
    shorter, n_shorter = baseline, compared.n_baseline
    if compared.n_other < n_shorter or not compared.baseline_stopped:
        shorter, n_shorter = other, compared.n_other
    known = {"cancelled": "was stopped", "length": "reached the limit of new tokens"}
    how = known.get(shorter.reason or "", "was cut short")
    if compared.identical and baseline.reason == other.reason:
        who = "both answers were stopped" if how == "was stopped" else f"both {how}"
    else:
        who = f"{shorter.name} {how}"
    if n_shorter == 0:
        return f"There is nothing to compare: {who} before the first token."
    number = f"{n_shorter} token" if n_shorter == 1 else f"{n_shorter} tokens"
    return f"The answers do not part in their first {number}; then {who}."


def print_stopped(runs: list[Recording], out: Path) -> None:
    """Name what Ctrl-C left."""
    kept = " and ".join(f"{len(run.generated_positions)} tokens of {run.name}" for run in runs)
    complain(f"Stopped; {kept} kept in {out}.")
