"""Stopping and failing: what was recorded is kept, and the model is as it was."""

from __future__ import annotations

import errno
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import var_studio as vs
from tests.models.tiny import QUESTION, noise, save_checkpoint
from var_studio.engine import attention, events
from var_studio.engine.errors import NonFiniteError
from var_studio.models.errors import ModelBusyError, ModelMemoryError
from var_studio.recording.failures import StorageError

LONG = vs.Generation(max_new_tokens=400)
TEN = vs.Generation(max_new_tokens=10)
VAR = vs.Redistribution(sink_dims=(5, 17), tau=1.6, rho=0.6)


@pytest.fixture
def lmm(loaded: Any) -> Any:
    return loaded("gqa")


@pytest.fixture
def as_it_was(lmm: Any) -> Any:
    """Checks, after each test, that nothing of a run is left in the model and that it works."""
    image = noise(60, 60)

    def answer() -> list[int]:
        inputs = lmm.encode(image, QUESTION).inputs
        ids: list[int] = lmm.hf_model.generate(**inputs, max_new_tokens=5, do_sample=False)[
            0
        ].tolist()
        return ids

    def hooks() -> list[tuple[int, int]]:
        # transformers leaves hooks of its own in the vision tower after the first call.
        return [
            (len(module._forward_hooks), len(module._forward_pre_hooks))
            for module in lmm.hf_model.modules()
        ]

    before = answer()
    hooks_before = hooks()
    yield
    assert hooks() == hooks_before
    for layer in lmm.decoder_layers:
        assert not layer._forward_pre_hooks
    assert not lmm.hf_model._forward_hooks
    config = lmm.hf_model.config
    assert config._attn_implementation == "sdpa"
    assert config.text_config._attn_implementation == "sdpa"
    assert config.vision_config._attn_implementation == "sdpa"
    assert not attention._TAPS
    assert not lmm._lock.locked()
    assert answer() == before


class Log:
    """Collects events, and does something at the first that fits."""

    def __init__(self, when: Callable[[Any], bool] = lambda e: False, act: Any = None) -> None:
        self.events: list[Any] = []
        self.when, self.act = when, act

    def __call__(self, event: Any) -> None:
        self.events.append(event)
        if self.act is not None and self.when(event):
            self.act()

    def of(self, kind: type) -> list[Any]:
        return [e for e in self.events if isinstance(e, kind)]


def test_events_tell_the_whole_story(lmm: Any, as_it_was: Any, tmp_path: Path) -> None:
    log = Log()
    run = vs.record(
        lmm, noise(60, 60), QUESTION, generation=TEN, directory=tmp_path / "run", on_event=log
    )
    kinds = [type(e).__name__ for e in log.events if not isinstance(e, events.Progress)]
    n = len(run.generated_positions)
    assert kinds == ["RunStarted", "PromptEncoded", *["TokenProduced"] * n, "RunFinished"]
    assert log.of(events.PromptEncoded)[0].tokens == run.tokens[: run.prompt_length]
    prefill = [e.done for e in log.of(events.Progress) if e.stage == "prefill"]
    assert prefill == [1, 2, 3, 4]
    for event, position in zip(log.of(events.TokenProduced), run.generated_positions, strict=True):
        assert event.token == run.tokens[position]
        # The row that produced a token is the row of the one before.
        assert run.query_positions[event.query] == position - 1
    assert run.reason in ("end", "length") and run.finished


def test_a_token_is_on_disk_before_it_is_announced(lmm: Any, tmp_path: Path) -> None:
    rows: dict[int, Any] = {}

    def look(event: Any) -> None:
        if isinstance(event, events.TokenProduced):
            growing = vs.Recording.open(tmp_path / "run")
            assert growing.tokens[-1] == event.token
            rows[event.query] = growing.attention(event.query)
            assert rows[event.query].shape[-1] == growing.length

    run = vs.record(
        lmm, noise(60, 60), QUESTION, generation=TEN, directory=tmp_path / "run", on_event=look
    )
    assert len(rows) >= 2
    for query, row in rows.items():
        np.testing.assert_array_equal(row, run.attention(query)[:, :, : row.shape[-1]])


@pytest.mark.parametrize("layer", [1, 3])
def test_stopped_in_the_prefill(lmm: Any, as_it_was: Any, tmp_path: Path, layer: int) -> None:
    """Within a layer: the next one does not begin."""
    cancel = threading.Event()
    log = Log(
        lambda e: isinstance(e, events.Progress) and (e.stage, e.done) == ("prefill", layer),
        cancel.set,
    )
    run = vs.record(
        lmm,
        noise(60, 60),
        QUESTION,
        generation=TEN,
        intervention=VAR,
        directory=tmp_path / "run",
        on_event=log,
        cancel=cancel,
    )
    assert (run.reason, run.finished, run.text) == ("cancelled", True, "")
    assert [e.done for e in log.of(events.Progress) if e.stage == "prefill"][-1] == layer
    assert len(run.query_positions) == 0 and run.length == run.prompt_length > 36
    assert log.of(events.RunFinished)[0].reason == "cancelled"


def test_stopped_before_it_began(lmm: Any, as_it_was: Any, tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    run = vs.record(lmm, noise(60, 60), QUESTION, directory=tmp_path / "run", cancel=cancel)
    assert run.reason == "cancelled" and run.length > 36


def test_stopped_while_discovering(checkpoint: Any, tmp_path: Path) -> None:
    lmm = vs.load_model(checkpoint("crop"))
    cancel = threading.Event()
    log = Log(lambda e: isinstance(e, events.Progress) and e.stage == "discovering", cancel.set)
    run = vs.record(
        lmm, noise(60, 60), QUESTION, directory=tmp_path / "run", on_event=log, cancel=cancel
    )
    assert run.reason == "cancelled" and lmm.sink_dims is None


def test_stopped_between_tokens(lmm: Any, as_it_was: Any, tmp_path: Path) -> None:
    cancel = threading.Event()
    log = Log(
        lambda e: isinstance(e, events.TokenProduced) and len(log.of(type(e))) == 3, cancel.set
    )
    run = vs.record(
        lmm,
        noise(60, 60),
        QUESTION,
        generation=TEN,
        directory=tmp_path / "run",
        on_event=log,
        cancel=cancel,
    )
    assert run.reason == "cancelled" and len(run.generated_positions) == 3
    # The third token was never fed: no row, no phi; everything before has both.
    assert run.query_of(run.length - 1) is None and run.query_of(run.length - 2) is not None
    assert np.isnan(run.phi()[:, -1]).all() or not run.sink_dims
    assert run.attention(len(run.query_positions) - 1).sum(-1) == pytest.approx(1, abs=1e-5)


def test_stopped_inside_a_step(lmm: Any, as_it_was: Any, tmp_path: Path) -> None:
    """A stop that comes while a token is computed does not wait for its end."""
    cancel = threading.Event()
    layer_2 = lmm.decoder_layers[2]
    calls: list[int] = []

    def stop(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 4:
            cancel.set()

    handle = layer_2.register_forward_hook(stop)
    try:
        run = vs.record(
            lmm, noise(60, 60), QUESTION, generation=TEN,
            directory=tmp_path / "run", cancel=cancel,
        )  # fmt: skip
    finally:
        handle.remove()
    # Prefill and two steps ended; the third step stopped after layer 2.
    assert (run.reason, len(run.generated_positions)) == ("cancelled", 3)
    assert len(calls) == 4


def test_a_second_run_is_refused(lmm: Any, as_it_was: Any, tmp_path: Path) -> None:
    errors: list[Exception] = []

    def start_another() -> None:
        try:
            vs.record(lmm, noise(60, 60), QUESTION, directory=tmp_path / "second")
        except vs.VarStudioError as error:
            errors.append(error)

    run = vs.record(
        lmm,
        noise(60, 60),
        QUESTION,
        generation=TEN,
        directory=tmp_path / "first",
        on_event=Log(lambda e: isinstance(e, events.PromptEncoded), start_another),
    )
    assert run.finished and len(run.generated_positions) > 0
    assert [type(e) for e in errors] == [ModelBusyError]
    assert "busy with another run" in str(errors[0]) and not (tmp_path / "second").exists()


@pytest.fixture
def endless(lmm: Any) -> Iterator[None]:
    """The model never ends its answer by itself."""
    config = lmm.hf_model.generation_config
    former, config.eos_token_id = config.eos_token_id, None
    yield
    config.eos_token_id = former


def test_stopped_at_step_300(lmm: Any, as_it_was: Any, endless: None, tmp_path: Path) -> None:
    cancel = threading.Event()
    log = Log(
        lambda e: isinstance(e, events.TokenProduced) and len(log.of(type(e))) == 300, cancel.set
    )
    run = vs.record(
        lmm, noise(60, 60), QUESTION, generation=LONG,
        directory=tmp_path / "run", on_event=log, cancel=cancel,
    )  # fmt: skip
    assert run.reason == "cancelled" and len(run.generated_positions) == 300
    last = run.attention(len(run.query_positions) - 1)
    assert run.query_positions[-1] == run.length - 2 and last.sum(-1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("call", [1, 4, 301])
def test_out_of_memory_keeps_what_there_is(
    lmm: Any, as_it_was: Any, endless: None, tmp_path: Path, call: int
) -> None:
    """In the prefill, at the third step, and at step 300."""
    calls: list[int] = []

    def fail(*_: Any) -> None:
        calls.append(1)
        if len(calls) == call:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    handle = lmm.decoder_layers[2].register_forward_hook(fail)
    log = Log()
    try:
        fits = {1: "question alone does not", 4: r"3 new tokens did", 301: r"300 new tokens did"}
        with pytest.raises(ModelMemoryError, match=f"more memory than cpu has.*{fits[call]} fit"):
            vs.record(
                lmm, noise(60, 60), QUESTION, generation=LONG,
                directory=tmp_path / "run", on_event=log,
            )  # fmt: skip
    finally:
        handle.remove()
    failed = log.of(events.RunFailed)[0]
    assert failed.path == tmp_path / "run" and isinstance(failed.error, ModelMemoryError)
    kept = vs.Recording.open(failed.path)
    assert len(kept.generated_positions) == call - 1
    assert kept.reason.startswith("failed:") and kept.prompt_length > 36


def test_out_of_memory_while_the_image_is_encoded(lmm: Any, as_it_was: Any, tmp_path: Path) -> None:
    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    image = noise(60, 60, seed=77)
    handle = lmm.hf_model.model.vision_tower.register_forward_pre_hook(fail)
    try:
        with pytest.raises(ModelMemoryError):
            vs.record(lmm, image, QUESTION, generation=TEN, directory=tmp_path / "run")
    finally:
        handle.remove()
    kept = vs.Recording.open(tmp_path / "run")
    assert kept.reason.startswith("failed:") and kept.prompt_length > 36
    # Nothing half done is taken for the image's features.
    run = vs.record(lmm, image, QUESTION, generation=TEN, directory=tmp_path / "again")
    assert run.reason in ("end", "length")


def test_an_error_that_is_kept_holds_no_memory_of_the_pass(
    lmm: Any, as_it_was: Any, tmp_path: Path
) -> None:
    """A window shows the error for as long as its reader likes."""
    held: list[weakref.ref[Any]] = []

    def fail(*_: Any) -> None:
        activations = torch.zeros(1000)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    handle = lmm.decoder_layers[2].register_forward_hook(fail)
    try:
        with pytest.raises(ModelMemoryError) as caught:
            vs.record(lmm, noise(60, 60), QUESTION, generation=TEN, directory=tmp_path / "run")
    finally:
        handle.remove()
    assert caught.value.__cause__ is not None
    assert held[0]() is None


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("call", [1, 3])
def test_nan_logits_are_named(
    lmm: Any, as_it_was: Any, tmp_path: Path, temperature: float, call: int
) -> None:
    calls: list[int] = []

    def spoil(module: Any, args: Any, output: Any) -> Any:
        calls.append(1)
        return output * float("nan") if len(calls) == call else output

    handle = lmm.hf_model.lm_head.register_forward_hook(spoil)
    try:
        with pytest.raises(NonFiniteError, match="bfloat16 or float32"):
            vs.record(
                lmm,
                noise(60, 60),
                QUESTION,
                generation=vs.Generation(max_new_tokens=6, temperature=temperature),
                directory=tmp_path / "run",
            )
    finally:
        handle.remove()
    assert len(vs.Recording.open(tmp_path / "run").generated_positions) == call - 1


def test_float16_overflow_is_named(checkpoint: Any, tmp_path: Path) -> None:
    lmm = vs.load_model(checkpoint("crop"), dtype="float16")
    with torch.no_grad():
        lmm.decoder_layers[1].mlp.down_proj.weight.fill_(6e4)
    with pytest.raises(NonFiniteError, match=r"overflow float16.*bfloat16"):
        vs.record(lmm, noise(60, 60), QUESTION, directory=tmp_path / "run")


@pytest.mark.parametrize("rows", [0, 9, 14])
def test_a_full_disk_keeps_what_there_is(
    lmm: Any, as_it_was: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    from var_studio.recording import store

    written = store.RunWriter._write_row
    count: list[int] = []

    def fill_up(self: Any, values: Any, keys: int) -> None:
        count.append(1)
        if len(count) > rows:
            raise OSError(errno.ENOSPC, "No space left on device")
        written(self, values, keys)

    monkeypatch.setattr(store.RunWriter, "_write_row", fill_up)
    log = Log()
    with pytest.raises(StorageError, match="disk is full"):
        vs.record(
            lmm, noise(60, 60), QUESTION, generation=TEN,
            directory=tmp_path / "run", on_event=log,
        )  # fmt: skip
    kept = vs.Recording.open(log.of(events.RunFailed)[0].path)
    assert len(kept.query_positions) == rows
    for query in range(rows):
        assert kept.attention(query).sum(-1) == pytest.approx(1, abs=1e-3)


def test_a_directory_that_cannot_be_written(lmm: Any, as_it_was: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    log = Log()
    with pytest.raises(StorageError):
        vs.record(lmm, noise(60, 60), QUESTION, directory=tmp_path / "file", on_event=log)
    assert log.of(events.RunFailed)


def test_bad_prompts_fail_before_anything_is_written(
    lmm: Any, as_it_was: Any, tmp_path: Path
) -> None:
    for image, prompt in [(noise(60, 60), " "), (None, QUESTION), (tmp_path / "no.png", QUESTION)]:
        log = Log()
        with pytest.raises(vs.VarStudioError):
            vs.record(lmm, image, prompt, directory=tmp_path / "run", on_event=log)
        assert log.of(events.RunFailed)[0].path is None
    assert not (tmp_path / "run").exists()


def test_a_bug_is_not_dressed_up(lmm: Any, as_it_was: Any, tmp_path: Path) -> None:
    """An error nobody expects comes out as it is, and leaves the model clean."""

    def fail(*_: Any) -> None:
        raise KeyError("a bug")

    handle = lmm.decoder_layers[1].register_forward_hook(fail)
    try:
        with pytest.raises(KeyError, match="a bug"):
            vs.record(lmm, noise(60, 60), QUESTION, directory=tmp_path / "run")
    finally:
        handle.remove()


def test_the_answer_ends_at_the_context(tmp_path: Path) -> None:
    """A prompt that nearly fills the context leaves room for a few tokens only."""
    lmm = vs.load_model(save_checkpoint(tmp_path / "short", context=60, layers=1))
    length = lmm.encode(noise(60, 60), QUESTION).length
    run = vs.record(
        lmm, noise(60, 60), QUESTION,
        generation=vs.Generation(max_new_tokens=50), directory=tmp_path / "run",
    )  # fmt: skip
    assert 0 < 60 - length < 50
    assert run.length <= 60 and run.provenance["max_new_tokens"] == 60 - length
    assert run.reason == "length" and run.length == 60


def test_the_end_token_ends_the_run(lmm: Any, as_it_was: Any, tmp_path: Path) -> None:
    plain = vs.record(lmm, noise(60, 60), QUESTION, generation=TEN, directory=tmp_path / "a")
    third = plain.tokens[plain.prompt_length + 2].id
    config = lmm.hf_model.generation_config
    former, config.eos_token_id = config.eos_token_id, [2, third]
    try:
        run = vs.record(lmm, noise(60, 60), QUESTION, generation=TEN, directory=tmp_path / "b")
    finally:
        config.eos_token_id = former
    assert run.reason == "end" and run.tokens[-1].id == third
    assert run.query_of(run.length - 1) is not None


def test_provenance_says_how_the_run_came_to_be(lmm: Any, tmp_path: Path) -> None:
    run = vs.record(
        lmm,
        noise(60, 60),
        QUESTION,
        generation=vs.Generation(max_new_tokens=2, seed=9),
        intervention=VAR,
        directory=tmp_path / "run",
    )
    facts = run.provenance
    assert facts["fingerprint"] == lmm.fingerprint and facts["checkpoint"] == lmm.checkpoint
    assert (facts["family"], facts["dtype"], facts["kernel"]) == ("llava", "float32", "sdpa")
    assert facts["seed"] == 9 and facts["convention"] == "paper"
    assert facts["interventions"][0]["tau"] == 1.6 and facts["prompt"] == QUESTION
    assert facts["images"] == [run.image_entries[0].sha256]
    assert facts["packages"]["torch"] == torch.__version__
    assert facts["tokens_per_second"] > 0
