"""Recording a question: what a caller gives is checked, then one run is carried out."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from var_studio.engine.arguments import check_intervention, check_model, run_directory, run_name
from var_studio.engine.events import OnEvent, RunFailed
from var_studio.engine.failures import explained
from var_studio.engine.run import Run
from var_studio.recording.recording import Recording
from var_studio.recording.settings import (
    Generation,
    RecordingOptions,
    Redistribution,
    settled,
)

if TYPE_CHECKING:
    from var_studio.models.loaded import LoadedModel


def record(
    lmm: LoadedModel,
    image: Any,
    prompt: str,
    *,
    generation: Generation | Mapping[str, Any] | None = None,
    intervention: Redistribution | Mapping[str, Any] | None = None,
    options: RecordingOptions | Mapping[str, Any] | None = None,
    name: str | None = None,
    directory: str | Path | None = None,
    on_event: OnEvent | None = None,
    cancel: threading.Event | None = None,
) -> Recording:
    """Ask a model about an image and record what its attention does.

        run = vs.record(lmm, "scene.png", "what color is the circle?")
        run.text, run.attention(query=0)

    `lmm`: what `load_model` returned.
    `image`: a path, encoded bytes, an open file, a PIL image or pixels, or a list of these.
    `prompt`: the question as plain text; the model's chat format is put around it.
    `generation`, `options`: how the answer is produced and what is kept of it; None: defaults.
    `intervention`: redistribution inside the model; None: the plain model, token for token.
    (All three may be dicts of the settings' fields.)
    `name`: what to call the run; None: "baseline", with an intervention "VAR".
    `directory`: where the recording grows; it must hold no run yet. None: a new directory in the
    user's cache (`recording.paths.runs_folder`).
    `on_event`: called in this thread with the events of `engine.events`.
    `cancel`: setting it stops the run within a token, in the prefill within a layer; the
    recording then has the reason "cancelled".

    The directory stays until somebody removes it: `run.discard()` does, once the run was saved
    with `save_session`, or when it is not wanted.

    Raises a VarStudioError: no loaded model, bad prompt, image or settings (nothing is written);
    out of memory, NaN logits, disk full (what was recorded so far is kept on disk).
    """
    emit = on_event or (lambda event: None)
    run: Run | None = None
    try:
        check_model(lmm)
        if intervention is not None:
            intervention = settled(Redistribution, intervention, "intervention")
        generation = settled(Generation, generation, "generation")
        options = settled(RecordingOptions, options, "options")
        name = run_name(name, intervention)
        folder = run_directory(directory)
        with lmm.in_use():
            check_intervention(intervention, lmm)
            run = Run(lmm, generation, intervention, options, emit, cancel)
            return run.carry_out(image, prompt, name, folder)
    except Exception as error:
        failure = explained(error, lmm)
        if failure is None:
            raise
        emit(RunFailed(failure, None if run is None else run.path))
        if failure is error:
            raise
        raise failure from error
