"""One run: the model's own `generate`, watched from inside and written down as it goes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from var_studio.analysis.recording import AnalysedRecording
from var_studio.engine import discovery
from var_studio.engine.arguments import check_named_tokens
from var_studio.engine.capture import Capture, Pass
from var_studio.engine.contrast import Contrasting
from var_studio.engine.decoding import Forced, Watch, end_tokens, generate_arguments, seeded
from var_studio.engine.errors import RunCancelled
from var_studio.engine.events import (
    OnEvent,
    Progress,
    PromptEncoded,
    Reason,
    RunFinished,
    RunStarted,
    Stage,
    TokenProduced,
)
from var_studio.engine.failures import explained, non_finite
from var_studio.engine.interventions import build
from var_studio.engine.provenance import fidelity_json, provenance
from var_studio.engine.question import answer_of
from var_studio.errors import VarStudioError
from var_studio.models.pieces import PieceDecoder
from var_studio.recording.failures import StorageError, storage_error
from var_studio.recording.interventions import of_kind, on_attention
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Contrast, Generation, Interventions, RecordingOptions
from var_studio.recording.store import RunWriter
from var_studio.recording.tokens import Alternative, Exchange, Token

if TYPE_CHECKING:
    from var_studio.models.loaded import Encoded, LoadedModel


class Run:
    """The state of one run, from prompt to recording."""

    def __init__(
        self,
        lmm: LoadedModel,
        generation: Generation,
        interventions: Interventions,
        options: RecordingOptions,
        emit: OnEvent,
        cancel: threading.Event | None,
        teacher: Recording | None = None,
    ) -> None:
        self.path: Path | None = None
        self._lmm = lmm
        self._generation = generation
        self._interventions = interventions
        self._options = options
        self._emit = emit
        self._cancel = cancel or threading.Event()
        self._teacher = teacher
        self._answer: list[int] = []
        self._contrasting: Contrasting | None = None
        self.produced = 0
        self._n_queries = 0
        self._ended = False

    def carry_out(
        self,
        image: Any,
        prompt: str,
        history: Sequence[Exchange],
        name: str,
        directory: Path | None,
    ) -> AnalysedRecording:
        lmm = self._lmm
        self._emit(Progress("encoding", 0, 1))
        encoded = lmm.encode(image, prompt, history)
        self._emit(Progress("encoding", 1, 1))
        wanted = longest = self._generation.max_new_tokens
        if self._teacher is not None:
            self._answer = answer_of(self._teacher, encoded)
            wanted = len(self._answer)
            longest = max(longest, wanted)
        check_named_tokens(self._interventions, lmm, encoded, longest)
        self._max_new = min(wanted, lmm.context_length - encoded.input_length)
        self._prompt_length = encoded.length
        self._turn = len(history)
        facts: dict[str, Any] = {"max_new_tokens": self._max_new}
        try:
            if lmm.sink_dims is None and self._named_dims() is None:
                found = discovery.measure(
                    lmm, encoded, cancel=self._cancel, on_layer=self._on_layer("discovering")
                )
                discovery.adopt(lmm, found)
                facts["discovery"] = found.to_json()
        except RunCancelled:
            pass  # the prefill below stops at once, and leaves a recording that says so
        dims = self._sink_dims()
        capture = self._capture(encoded, dims)
        half = self._half()
        teacher = None if self._teacher is None else self._teacher.id
        facts = {
            **provenance(lmm, encoded, prompt, self._generation, self._interventions),
            "turn": len(history),
            "teacher": teacher,
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
            interventions=self._interventions,
            teacher=teacher,
            history=history,
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
            speed = self.produced / seconds if seconds > 0 else 0.0
            writer.finish(reason, self._outcome(capture, seconds, speed))
        self._emit(RunFinished(folder, reason, seconds, speed))
        return AnalysedRecording.open(folder)

    # ------------------------------------------------------------------- before the run

    def _named_dims(self) -> tuple[int, ...] | None:
        """The sink dimensions that the interventions name, all of them the same."""
        return next((each.sink_dims for each in on_attention(self._interventions)), None)

    def _sink_dims(self) -> tuple[int, ...]:
        named = self._named_dims()
        return (self._lmm.sink_dims or ()) if named is None else named

    def _half(self) -> bool:
        return self._options.row_bytes(self._lmm.dtype.itemsize) == 2

    def _capture(self, encoded: Encoded, dims: tuple[int, ...]) -> Capture:
        import torch

        lmm, layout = self._lmm, encoded.layout
        acts = None
        if on_attention(self._interventions):
            length = encoded.length + self._max_new
            acts = build(
                self._interventions,
                tau_default=lmm.tau_default,
                sink_dims=dims,
                n_layers=lmm.n_layers,
                visual=torch.from_numpy(layout.mask(length)).to(lmm.device),
                visual_positions=layout.positions.tolist(),
                prompt_length=encoded.length,
            )
        return Capture(
            lmm,
            sink_dims=dims,
            query_positions=[t.position for t in encoded.tokens if t.role == "prompt"],
            prompt_length=encoded.length,
            half=self._half(),
            acts=acts,
            cancel=self._cancel,
            on_layer=self._on_layer("prefill"),
            cross=encoded.cross,
        )

    def _on_layer(self, stage: Stage) -> Callable[[int], None]:
        total = self._lmm.n_layers
        return lambda layer: self._emit(Progress(stage, layer + 1, total))

    # ------------------------------------------------------------------------- the run

    def _generate(self, encoded: Encoded, capture: Capture) -> Reason:
        """Run `generate`, then feed the last token too, so that it has a row of its own."""
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        lmm = self._lmm
        self._capture_in_use = capture
        self._decoder = PieceDecoder(lmm.processor.tokenizer)
        self._alone: dict[int, str] = {}
        criterion = Watch(self._token_chosen)
        generation, processors = self._generation, LogitsProcessorList()
        if self._teacher is not None:
            generation = generation.model_copy(update={"temperature": 0.0})
            processors.append(Forced(self._answer, encoded.input_length))
        contrast = of_kind(self._interventions, Contrast)
        if contrast is not None:
            self._contrasting = Contrasting(lmm, contrast, encoded.inputs, capture)
        hook = lmm.hf_model.register_forward_hook(self._pass_ended, with_kwargs=True)
        try:
            with (
                torch.inference_mode(),
                capture.attached(),
                seeded(lmm, generation),
                lmm.encoded_images.remembered(lmm.hf_model, encoded.inputs),
            ):
                output = lmm.hf_model.generate(
                    **lmm.encoded_images.inputs(lmm.hf_model, encoded.inputs),
                    **generate_arguments(lmm, generation, self._max_new),
                    logits_processor=processors,
                    stopping_criteria=StoppingCriteriaList([criterion]),
                    return_dict_in_generate=True,
                )
                if self._cancel.is_set():
                    return "cancelled"
                self._emit(Progress("closing", 0, 1))
                self._contrasting = None
                last = output.sequences[:, -1:]
                # With a mask as long as the sequence, Qwen-VL would count its positions off that.
                lmm.hf_model(
                    input_ids=last,
                    past_key_values=output.past_key_values,
                    use_cache=True,
                    **_last_of_mask(encoded),
                )
        except RunCancelled:
            return "cancelled"
        finally:
            hook.remove()
            self._contrasting = None
        ends = end_tokens(lmm)
        return "end" if int(last[0, 0]) in ends else "length"

    def _pass_ended(self, _: Any, __: Any, arguments: dict[str, Any], output: Any) -> None:
        """After each call of the model: write its keys and rows, keep its candidates."""
        import torch

        logits = output.logits[0, -1]
        if self._contrasting is not None:
            if self._contrasting.at_work:
                return
            logits = self._contrasting.logits(arguments, logits)
            output.logits = logits[None, None]  # what `generate` chooses from
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        best = logprobs.topk(min(self._options.top, len(logprobs)))
        record, host = self._capture_in_use.collect(best.values, best.indices)
        if not math.isfinite(host[0][0]):  # NaN sorts before every number
            raise non_finite(self._lmm)
        self._logprobs = logprobs
        best_of = zip(host[1].tolist(), host[0].tolist(), strict=True)
        self._best = [(token, logprob) for token, logprob in best_of if logprob > -math.inf]
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
            # A prefix is seen in both directions.
            self._writer.append_query(position, record.rows[:, :, index])
            self._n_queries += 1

    def _token_chosen(self, token_id: int) -> bool:
        """After each choice of a token: record and announce it. Returns whether to stop."""
        chosen = dict(self._best).get(token_id)
        logprob = float(self._logprobs[token_id]) if chosen is None else float(chosen)
        token = Token(
            position=self._prompt_length + self.produced,
            id=token_id,
            text=self._decoder.push(token_id),
            role="generated",
            special=self._decoder.is_special(token_id),
            logprob=logprob,
            top=tuple(Alternative(i, self._text_alone(i), p) for i, p in self._best),
            turn=self._turn,
        )
        self._writer.append_token(token)
        self.produced += 1
        self._emit(TokenProduced(token, self._n_queries - 1))
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
                    reason = str(explained(error, self._lmm, self.produced) or type(error).__name__)
                    self._writer.finish(f"failed: {reason}", self._outcome(capture, 0.0, 0.0))
                except VarStudioError:
                    pass  # the first error is the one to tell; the directory opens as it is
            raise


def _last_of_mask(encoded: Encoded) -> dict[str, Any]:
    """Which images a token after the prompt sees, in models with cross-attention."""
    mask = encoded.inputs.get("cross_attention_mask")
    return {} if mask is None else {"cross_attention_mask": mask[:, -1:]}


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
