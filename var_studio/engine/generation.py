"""One run: the model's own `generate`, watched from inside and written down as it goes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from var_studio.engine import discovery
from var_studio.engine.arguments import check_intervention, check_model, run_directory, run_name
from var_studio.engine.capture import Capture, Pass
from var_studio.engine.errors import RunCancelled
from var_studio.engine.events import (
    Event,
    Progress,
    PromptEncoded,
    RunFailed,
    RunFinished,
    RunStarted,
    Stage,
    TokenProduced,
)
from var_studio.engine.failures import explained, non_finite
from var_studio.engine.interventions import Redistributor
from var_studio.engine.provenance import fidelity_json, provenance
from var_studio.errors import VarStudioError
from var_studio.models.pieces import PieceDecoder
from var_studio.recording.failures import StorageError, storage_error
from var_studio.recording.recording import Recording
from var_studio.recording.settings import (
    Generation,
    RecordingOptions,
    Redistribution,
    settled,
)
from var_studio.recording.store import RunWriter
from var_studio.recording.tokens import Alternative, Token

if TYPE_CHECKING:
    import torch

    from var_studio.models.loaded import Encoded, LoadedModel

Reason = Literal["end", "length", "cancelled"]
OnEvent = Callable[[Event], None]


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
    run: _Run | None = None
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
            run = _Run(lmm, generation, intervention, options, emit, cancel)
            return run.carry_out(image, prompt, name, folder)
    except Exception as error:
        failure = explained(error, lmm)
        if failure is None:
            raise
        emit(RunFailed(failure, None if run is None else run.path))
        if failure is error:
            raise
        raise failure from error


class _Run:
    """The state of one run, from prompt to recording."""

    def __init__(
        self,
        lmm: LoadedModel,
        generation: Generation,
        intervention: Redistribution | None,
        options: RecordingOptions,
        emit: OnEvent,
        cancel: threading.Event | None,
    ) -> None:
        self.path: Path | None = None
        self._lmm = lmm
        self._generation = generation
        self._intervention = intervention
        self._options = options
        self._emit = emit
        self._cancel = cancel or threading.Event()
        self._produced = 0
        self._n_queries = 0
        self._ended = False

    def carry_out(self, image: Any, prompt: str, name: str, directory: Path | None) -> Recording:
        lmm = self._lmm
        self._emit(Progress("encoding", 0, 1))
        encoded = lmm.encode(image, prompt)
        self._emit(Progress("encoding", 1, 1))
        room = lmm.context_length - encoded.length
        self._max_new = min(self._generation.max_new_tokens, room)
        self._prompt_length = encoded.length
        facts = {"max_new_tokens": self._max_new}
        try:
            named = self._intervention is not None and self._intervention.sink_dims is not None
            if lmm.sink_dims is None and not named:
                found = discovery.measure(
                    lmm, encoded, cancel=self._cancel, on_layer=self._on_layer("discovering")
                )
                discovery.adopt(lmm, found)
                facts["discovery"] = found.to_json()  # type: ignore[assignment]
        except RunCancelled:
            pass  # the prefill below stops at once, and leaves a recording that says so
        dims = self._sink_dims()
        capture = self._capture(encoded, dims)
        half = self._half()
        facts = {
            **provenance(lmm, encoded, prompt, self._generation, self._intervention),
            **facts,
        }
        folder = _made(directory)
        writer = RunWriter.create(
            folder,
            name=name,
            n_layers=lmm.n_layers,
            n_heads=lmm.n_heads,
            hidden_size=lmm.hidden_size,
            length_max=encoded.length + self._max_new,
            sink_dims=dims,
            tau_default=lmm.tau_default,
            precision="float16" if half else "float32",
            generation=self._generation,
            intervention=self._intervention,
            provenance=facts,
            images=list(encoded.images),
        )
        self.path = folder
        self._writer = writer
        self._emit(RunStarted(folder, writer.document.name))
        with writer, self._kept_on_failure(capture):
            writer.put_prompt(encoded.tokens, encoded.layout)
            self._emit(PromptEncoded(encoded.tokens, encoded.layout))
            started = time.perf_counter()
            reason = self._generate(encoded, capture)
            seconds = time.perf_counter() - started
            speed = self._produced / seconds if seconds > 0 else 0.0
            writer.finish(reason, self._outcome(capture, seconds, speed))
        self._emit(RunFinished(folder, reason, seconds, speed))
        return Recording.open(folder)

    # ------------------------------------------------------------------- before the run

    def _sink_dims(self) -> tuple[int, ...]:
        if self._intervention is not None and self._intervention.sink_dims is not None:
            return self._intervention.sink_dims
        return self._lmm.sink_dims or ()

    def _half(self) -> bool:
        if self._options.precision != "auto":
            return self._options.precision == "float16"
        return self._lmm.dtype.itemsize < 4

    def _capture(self, encoded: Encoded, dims: tuple[int, ...]) -> Capture:
        import torch

        lmm, settings = self._lmm, self._intervention
        layout = encoded.layout
        first, last = int(layout.positions[0]), int(layout.positions[-1])
        whole = last - first + 1 == layout.count
        # One image is one run of positions: a slice is cheaper than an index.
        self._visual_keys = slice(first, last + 1) if whole else layout.positions
        redistributor = None
        if settings is not None:
            length = encoded.length + self._max_new
            visual = torch.from_numpy(layout.mask(length)).to(lmm.device)
            redistributor = Redistributor(
                settings,
                tau=lmm.tau_default if settings.tau is None else settings.tau,
                sink_dims=dims,
                n_layers=lmm.n_layers,
                visual=visual,
                prompt_length=encoded.length,
            )
        return Capture(
            lmm,
            sink_dims=dims,
            query_positions=[t.position for t in encoded.tokens if t.role == "prompt"],
            prompt_length=encoded.length,
            half=self._half(),
            redistributor=redistributor,
            cancel=self._cancel,
            on_layer=self._on_layer("prefill"),
        )

    def _on_layer(self, stage: Stage) -> Callable[[int], None]:
        total = self._lmm.n_layers
        return lambda layer: self._emit(Progress(stage, layer + 1, total))

    # ------------------------------------------------------------------------- the run

    def _generate(self, encoded: Encoded, capture: Capture) -> Reason:
        """Run `generate`, then feed the last token too, so that it has a row of its own."""
        import torch
        from transformers import StoppingCriteriaList

        lmm = self._lmm
        self._capture_in_use = capture
        self._decoder = PieceDecoder(lmm.processor.tokenizer)
        self._alone: dict[int, str] = {}
        criterion = _Watch(self._token_chosen)
        hook = lmm.hf_model.register_forward_hook(self._pass_ended)
        try:
            with torch.inference_mode(), capture.attached(), _seeded(lmm, self._generation):
                output = lmm.hf_model.generate(
                    **encoded.inputs,
                    **generate_arguments(lmm, self._generation, self._max_new),
                    stopping_criteria=StoppingCriteriaList([criterion]),
                    return_dict_in_generate=True,
                )
                if self._cancel.is_set():
                    return "cancelled"
                self._emit(Progress("closing", 0, 1))
                last = output.sequences[:, -1:]
                lmm.hf_model(
                    input_ids=last,
                    attention_mask=torch.ones_like(output.sequences),
                    past_key_values=output.past_key_values,
                    use_cache=True,
                )
        except RunCancelled:
            return "cancelled"
        finally:
            hook.remove()
        ends = _end_tokens(lmm)
        return "end" if int(last[0, 0]) in ends else "length"

    def _pass_ended(self, _: Any, __: Any, output: Any) -> None:
        """After each call of the model: write its keys and rows, keep its candidates."""
        import torch

        logprobs = torch.log_softmax(output.logits[0, -1].float(), dim=-1)
        best = logprobs.topk(min(self._options.top, len(logprobs)))
        record, host = self._capture_in_use.collect(best.values, best.indices)
        if not math.isfinite(host[0][0]):  # NaN sorts before every number
            raise non_finite(self._lmm)
        self._logprobs = logprobs
        self._best = list(zip(host[1].tolist(), host[0].tolist(), strict=True))
        self._write(record)

    def _write(self, record: Pass) -> None:
        self._writer.append_keys(
            record.start,
            record.signed_values,
            record.top_dims,
            record.top_values,
            record.value_norm,
        )
        for index, position in enumerate(record.positions):
            rows = record.rows[:, :, index, : position + 1]
            self._writer.append_query(position, rows)
            self._n_queries += 1
        if record.positions:
            self._last_rows = rows

    def _token_chosen(self, token_id: int) -> bool:
        """After each choice of a token: record and announce it. Returns whether to stop."""
        chosen = dict(self._best).get(token_id)
        logprob = float(self._logprobs[token_id]) if chosen is None else float(chosen)
        token = Token(
            position=self._prompt_length + self._produced,
            id=token_id,
            text=self._decoder.push(token_id),
            role="generated",
            special=self._decoder.is_special(token_id),
            logprob=logprob,
            top=tuple(Alternative(i, self._text_alone(i), p) for i, p in self._best),
        )
        self._writer.append_token(token)
        self._produced += 1
        seen: npt.NDArray[np.float32] = self._last_rows[:, :, self._visual_keys].astype(
            np.float32, copy=False
        )
        seen.flags.writeable = False
        self._emit(TokenProduced(token, self._n_queries - 1, seen))
        return self._cancel.is_set()

    def _text_alone(self, token_id: int) -> str:
        if token_id not in self._alone:
            self._alone[token_id] = self._decoder.alone(token_id)
        return self._alone[token_id]

    # -------------------------------------------------------------------- after the run

    def _outcome(self, capture: Capture, seconds: float, speed: float) -> dict[str, Any]:
        return {
            "fidelity": fidelity_json(capture.fidelity, self._lmm),
            "seconds": round(seconds, 4),
            "tokens_per_second": round(speed, 3),
        }

    @contextmanager
    def _kept_on_failure(self, capture: Capture) -> Iterator[None]:
        """Finish the recording with what there is when the run fails."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, StorageError):
                try:
                    reason = str(explained(error, self._lmm) or type(error).__name__)
                    self._writer.finish(f"failed: {reason}", self._outcome(capture, 0.0, 0.0))
                except VarStudioError:
                    pass  # the first error is the one to tell; the directory opens as it is
            raise


def generate_arguments(
    lmm: LoadedModel, generation: Generation, max_new_tokens: int
) -> dict[str, Any]:
    """Arguments of `generate` for our settings; the checkpoint's own sampling is left out."""
    arguments: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "do_sample": generation.sampled,
        "num_beams": 1,
        "use_cache": True,
    }
    if generation.sampled:
        arguments |= {"temperature": generation.temperature, "top_p": generation.top_p, "top_k": 0}
    else:
        arguments |= {"temperature": None, "top_p": None, "top_k": None}
    if lmm.hf_model.generation_config.pad_token_id is None:
        # `generate` takes the end token then, and says so on the console each time.
        ends = _end_tokens(lmm)
        arguments["pad_token_id"] = min(ends) if ends else 0
    return arguments


def _end_tokens(lmm: LoadedModel) -> frozenset[int]:
    ends = lmm.hf_model.generation_config.eos_token_id
    if ends is None:
        return frozenset()
    return frozenset(ends if isinstance(ends, list | tuple) else [ends])


class _Watch:
    """A stopping criterion that sees each chosen token; stops where told to."""

    def __init__(self, chosen: Callable[[int], bool]) -> None:
        self._chosen = chosen
        self._answer: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        import torch

        stop = self._chosen(int(input_ids[0, -1]))
        if self._answer is None or stop:
            self._answer = torch.full((1,), stop, dtype=torch.bool, device=input_ids.device)
        return self._answer


@contextmanager
def _seeded(lmm: LoadedModel, generation: Generation) -> Iterator[None]:
    """Sample from the settings' seed and leave the caller's random state as it was."""
    import torch

    devices = [lmm.device] if lmm.device.type == "cuda" else []
    with torch.random.fork_rng(devices, enabled=generation.sampled):
        if generation.sampled:
            torch.manual_seed(generation.seed)
        yield


def _made(directory: Path | None) -> Path:
    """The directory of a run, or a new one, on the disk."""
    from var_studio.recording.paths import new_run_directory

    if directory is None:
        return new_run_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(f"Making {directory}", error, "Nothing was recorded.") from error
    return directory
