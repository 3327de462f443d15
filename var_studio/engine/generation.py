"""Recording a question: what a caller gives is checked, then one run is carried out."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from var_studio.analysis.recording import AnalysedRecording
from var_studio.engine.arguments import check_interventions, check_model, run_directory, run_name
from var_studio.engine.events import OnEvent, RunFailed
from var_studio.engine.failures import explained
from var_studio.engine.question import check_teacher, earlier_exchanges, images_in_question
from var_studio.engine.run import Run
from var_studio.recording.interventions import interventions_from
from var_studio.recording.recording import Recording
from var_studio.recording.settings import (
    Generation,
    Intervention,
    RecordingOptions,
    settled,
)
from var_studio.recording.tokens import Exchange

if TYPE_CHECKING:
    from var_studio.models.loaded import LoadedModel


def record(
    lmm: LoadedModel,
    image: Any,
    prompt: str,
    *,
    history: Sequence[Exchange] | Recording = (),
    generation: Generation | Mapping[str, Any] | None = None,
    intervention: Intervention | Mapping[str, Any] | Sequence[Any] | None = None,
    options: RecordingOptions | Mapping[str, Any] | None = None,
    name: str | None = None,
    directory: str | Path | None = None,
    on_event: OnEvent | None = None,
    cancel: threading.Event | None = None,
    teacher: Recording | None = None,
) -> AnalysedRecording:
    """Ask a model about an image and record what its attention does.

        run = vs.record(lmm, "scene.png", "what color is the circle?")
        run.text, run.attention(query=0)

    `lmm`: what `load_model` returned.
    `image`: a path, encoded bytes, an open file, a PIL image or pixels, or a list of these.
    `prompt`: the question as plain text; the model's chat format is put around it.
    `history`: what was asked about the image before, oldest first, or the recording that this
    question follows up; the image may then be None: that recording's.
    `generation`, `options`: how the answer is produced and what is kept of it; None: defaults.
    `intervention`: what is done to the model, e.g. a `Redistribution`, or a list of what goes
    together; None: the plain model, token for token.
    (All three may be dicts of the settings' fields, an intervention's with its `kind`.)
    `name`: what to call the run; None: "baseline", or after what is done to the model,
    and whether it is teacher-forced.
    `directory`: where the recording grows; it must hold no run yet. None: a new directory in the
    user's cache (`recording.paths.runs_folder`).
    `on_event`: called in this thread with the events of `engine.events`.
    `cancel`: setting it stops the run within a token, in the prefill within a layer; the
    recording then has the reason "cancelled".
    `teacher`: a recording of the same question. Its answer is fed token by token whatever the
    model would choose (teacher forcing); log-probabilities and candidates are the model's own,
    under the intervention. `generation` then defaults to the teacher's.

    The directory stays until somebody removes it: `run.discard()` does, once the run was saved
    with `save_session`, or when it is not wanted.

    Raises a VarStudioError: no loaded model, bad prompt, image or settings (nothing is written);
    out of memory, NaN logits, disk full (what was recorded so far is kept on disk).
    """
    emit = on_event or (lambda event: None)
    run: Run | None = None
    try:
        check_model(lmm)
        interventions = interventions_from(intervention)
        if teacher is not None:
            check_teacher(teacher)
            generation = teacher.generation if generation is None else generation
        generation = settled(Generation, generation, "generation")
        image, history = images_in_question(image, history), earlier_exchanges(history)
        options = settled(RecordingOptions, options, "options")
        name = run_name(name, interventions, forced=teacher is not None)
        folder = run_directory(directory)
        with lmm.in_use():
            check_interventions(interventions, lmm)
            run = Run(lmm, generation, interventions, options, emit, cancel, teacher)
            return run.carry_out(image, prompt, history, name, folder)
    except Exception as error:
        failure = explained(error, lmm, 0 if run is None else run.produced)
        if failure is None:
            raise
        emit(RunFailed(failure, None if run is None else run.path))
        if failure is error:
            raise
        raise failure from error
