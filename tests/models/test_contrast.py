"""Contrastive decoding against an independent loop: two whole passes a step, without any cache."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import var_studio as vs
from tests.models import slow_loop
from tests.models.against_slow_loop import slow_method
from tests.models.test_pairs import answer, log_softmax
from tests.models.test_redistribution import TINY
from tests.models.tiny import QUESTION, noise
from var_studio.engine import attention
from var_studio.engine.pairs import record_pair
from var_studio.recording.settings import Contrast

FIVE = vs.Generation(max_new_tokens=5)


def noised_pixels(pixels: torch.Tensor, step: int, draw: torch.Generator) -> torch.Tensor:
    """The diffusion of VCD, one step after the other."""
    kept = 1.0
    for index in range(step + 1):
        at = -6 + 12 * index / 999
        beta = 1 / (1 + math.exp(-at)) * (0.5e-2 - 1e-5) + 1e-5
        kept *= 1 - beta
    drawn = torch.randn(pixels.shape, generator=draw)
    return math.sqrt(kept) * pixels + math.sqrt(1 - kept) * drawn


def by_hand(lmm: Any, image: Any, contrast: Contrast, run: Any, steps: int, *, var: bool) -> Any:
    """Contrasted log-probabilities (steps, V) and the tokens that they choose greedily."""
    encoded = lmm.encode(image, QUESTION)
    ids = encoded.inputs["input_ids"]
    pixels = encoded.inputs["pixel_values"]
    draw = torch.Generator().manual_seed(contrast.seed)
    other = noised_pixels(pixels, contrast.noise_step, draw)
    rows, chosen = [], []
    for _ in range(steps):
        plain = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.inference_mode():
            noised = lmm.hf_model(**plain, pixel_values=other, use_cache=False).logits[0, -1]
            own = lmm.hf_model(**plain, pixel_values=pixels, use_cache=False).logits[0, -1]
        if var:
            method = slow_method(lmm, run)
            method.text = [i for i in method.text if i < ids.shape[1]]
            own = slow_loop.logits_after(lmm.hf_model, {**plain, "pixel_values": pixels}, method)[
                -1
            ]
            assert method.rows_changed > 0
        own, noised = own.double().numpy(), noised.double().numpy()
        likely = np.exp(log_softmax(own))
        forbidden = likely < contrast.cutoff * likely.max()
        logits = (1 + contrast.strength) * own - contrast.strength * noised
        logprobs = np.where(forbidden, -np.inf, logits)
        logprobs = logprobs - logits[~forbidden].max()
        logprobs -= np.log(np.exp(logprobs).sum())
        rows.append(logprobs)
        chosen.append(int(logprobs.argmax()))
        ids = torch.cat([ids, torch.tensor([[chosen[-1]]])], dim=1)
    return np.array(rows), chosen


@pytest.mark.parametrize(
    ("model", "contrast", "settings"),
    [
        ("crop", {}, None),
        ("gqa", {"strength": 0.5, "cutoff": 0.02, "noise_step": 999, "seed": 7}, None),
        ("mistral", {"strength": 2.0, "cutoff": 0.0, "noise_step": 200}, None),
        ("gqa", {"cutoff": 0.01}, {**TINY, "p": 1.0}),
        ("demo", {"cutoff": 1e-6}, {"rho": 0.5, "p": 0.6}),
    ],
    ids=["defaults", "strong noise", "no cut-off", "with VAR", "demo with VAR"],
)
def test_the_engine_agrees_with_two_whole_passes_a_step(
    loaded: Any, tmp_path: Path, model: str, contrast: dict[str, Any], settings: Any
) -> None:
    lmm, image = loaded(model), noise(90, 70, seed=2)
    chosen_by = Contrast(**contrast)
    var = None if settings is None else vs.Redistribution(**settings)
    wanted = [chosen_by] if var is None else [var, chosen_by]
    run = vs.record(
        lmm, image, QUESTION, intervention=wanted, generation=FIVE, directory=tmp_path / "run"
    )
    expected, chosen = by_hand(lmm, image, chosen_by, run, len(answer(run)), var=var is not None)
    assert answer(run) == chosen
    # Each pass is exact to 1e-5; the contrast is a sum of (1 + a) of one and a of the other.
    tolerance = 1e-5 * (1 + 2 * chosen_by.strength)
    for step, position in enumerate(run.generated_positions):
        token = run.tokens[position]
        assert token.logprob == pytest.approx(expected[step, token.id], abs=tolerance)
        allowed = int(np.isfinite(expected[step]).sum())
        assert len(token.top) == min(10, allowed)
        for candidate in token.top:
            assert candidate.logprob == pytest.approx(expected[step, candidate.id], abs=tolerance)
    # Negative control: plain logits are others, and so is another noise.
    for other in ({**contrast, "strength": 0.0}, {**contrast, "seed": 99}):
        wrong, _ = by_hand(lmm, image, Contrast(**other), run, 1, var=False)
        assert np.abs(np.exp(wrong[0]) - np.exp(expected[0])).max() > 1e-3


@pytest.mark.parametrize("settings", [None, TINY])
def test_no_strength_and_no_cut_off_is_the_plain_model(
    loaded: Any, tmp_path: Path, settings: Any
) -> None:
    lmm, image = loaded("gqa"), noise(60, 60)
    nothing = Contrast(strength=0.0, cutoff=0.0)
    both = [] if settings is None else [vs.Redistribution(**settings)]
    plain = vs.record(
        lmm, image, QUESTION, intervention=both, generation=FIVE, directory=tmp_path / "a"
    )
    run = vs.record(
        lmm, image, QUESTION, intervention=[*both, nothing], generation=FIVE,
        directory=tmp_path / "b",
    )  # fmt: skip
    assert run.tokens == plain.tokens


def test_the_recording_is_of_the_first_branch(loaded: Any, tmp_path: Path) -> None:
    """Rows, phi and value norms of the prompt are the plain run's, bit for bit."""
    lmm, image = loaded("gqa"), noise(60, 60)
    plain = vs.record(lmm, image, QUESTION, generation=FIVE, directory=tmp_path / "a")
    run = vs.record(
        lmm, image, QUESTION, intervention={"kind": "contrast", "strength": 3.0},
        generation=FIVE, directory=tmp_path / "b",
    )  # fmt: skip
    end = plain.prompt_length
    same = [q for q in plain.query_positions if q < end]
    for query in range(len(same)):
        np.testing.assert_array_equal(
            run.attention(query)[..., :end], plain.attention(query)[..., :end]
        )
    np.testing.assert_array_equal(run.phi()[:, :end], plain.phi()[:, :end])
    np.testing.assert_array_equal(run.value_norm()[..., :end], plain.value_norm()[..., :end])
    assert len(run.query_positions) == len(same) + len(answer(run))


def test_one_token_left_by_the_cut_off(loaded: Any, tmp_path: Path) -> None:
    """A cut-off of 1 leaves the plain model's first choice alone."""
    lmm, image = loaded("gqa"), noise(60, 60)
    plain = vs.record(lmm, image, QUESTION, generation=FIVE, directory=tmp_path / "a")
    run = vs.record(
        lmm, image, QUESTION, intervention=Contrast(cutoff=1.0), generation=FIVE,
        directory=tmp_path / "b",
    )  # fmt: skip
    assert answer(run) == answer(plain)
    for position in run.generated_positions:
        token = run.tokens[position]
        assert token.logprob == 0.0 and [a.id for a in token.top] == [token.id]


def test_a_forbidden_token_is_never_sampled(loaded: Any, tmp_path: Path) -> None:
    lmm = loaded("gqa")
    hot = vs.Generation(max_new_tokens=8, temperature=5.0, seed=1)
    free = vs.record(lmm, noise(60, 60), QUESTION, generation=hot, directory=tmp_path / "a")
    run = vs.record(
        lmm, noise(60, 60), QUESTION, intervention=Contrast(strength=0.1, cutoff=0.3),
        generation=hot, directory=tmp_path / "b",
    )  # fmt: skip
    logprobs = [run.tokens[i].logprob for i in run.generated_positions]
    assert all(math.isfinite(p) for p in logprobs)
    # Negative control: without the cut-off, so hot a model strays far below it.
    strays = [free.tokens[i] for i in free.generated_positions]
    assert any(t.logprob < t.top[0].logprob + math.log(0.3) for t in strays)


def test_a_pair_scores_the_baseline_under_contrast(loaded: Any, tmp_path: Path) -> None:
    lmm, image = loaded("gqa"), noise(60, 60)
    contrast = Contrast(strength=0.5, cutoff=0.0)
    pair = record_pair(
        lmm, image, QUESTION, intervention=contrast, generation=FIVE, directory=tmp_path
    )
    scores = pair.compare().scores
    assert scores is not None
    encoded = lmm.encode(image, QUESTION)
    ids = torch.tensor([[token.id for token in pair.baseline.tokens]])
    pixels = encoded.inputs["pixel_values"]
    plain = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.inference_mode():
        own, noised = (
            lmm.hf_model(**plain, pixel_values=p, use_cache=False).logits[0].double().numpy()
            for p in (pixels, noised_pixels(pixels, 500, torch.Generator().manual_seed(0)))
        )
    expected = log_softmax(1.5 * own - 0.5 * noised)[pair.baseline.prompt_length - 1 :]
    for step, scored in enumerate(scores.tokens):
        assert scored.logprob_after == pytest.approx(expected[step, scored.token.id], abs=2e-5)


def test_a_forced_token_may_be_forbidden(loaded: Any, tmp_path: Path) -> None:
    lmm, image = loaded("gqa"), noise(60, 60)
    hot = vs.Generation(max_new_tokens=6, temperature=5.0, seed=1)
    pair = record_pair(
        lmm, image, QUESTION, intervention=Contrast(cutoff=1.0), generation=hot,
        directory=tmp_path,
    )  # fmt: skip
    saved = vs.save_session(tmp_path / "s.vars", pair.runs)
    with vs.open_session(saved) as session:
        scores = vs.compare(*session.runs).scores
    assert scores is not None and len(scores.tokens) == 6
    for scored in scores.tokens:
        assert len(scored.top_after) == 1
        assert scored.logprob_after == (0.0 if scored.still_first else -math.inf)
    assert scores.total_change == -math.inf and scores.first_departure is not None


def test_the_noised_image_is_not_kept_as_the_image(loaded: Any, tmp_path: Path) -> None:
    lmm, image = loaded("crop"), noise(60, 60, seed=8)
    lmm.encoded_images.clear()
    calls: list[int] = []
    handle = lmm.hf_model.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    try:
        for number, (wanted, towers) in enumerate([(None, 1), (Contrast(), 2), (None, 2)]):
            vs.record(
                lmm, image, QUESTION, intervention=wanted, generation=FIVE,
                directory=tmp_path / str(number),
            )  # fmt: skip
            assert len(calls) == towers
    finally:
        handle.remove()


def test_a_stop_in_the_noised_branch(loaded: Any, tmp_path: Path) -> None:
    lmm, cancel = loaded("gqa"), threading.Event()
    calls: list[int] = []

    def stop(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 4:  # image, noised image, image, noised image
            cancel.set()

    handle = lmm.decoder_layers[1].register_forward_hook(stop)
    try:
        run = vs.record(
            lmm, noise(60, 60), QUESTION, intervention=Contrast(), generation=FIVE,
            directory=tmp_path / "run", cancel=cancel,
        )  # fmt: skip
    finally:
        handle.remove()
    assert (run.reason, len(run.generated_positions), len(calls)) == ("cancelled", 1, 4)
    assert not attention._TAPS and not lmm.hf_model._forward_hooks


def test_contrast_is_written_down(loaded: Any, tmp_path: Path) -> None:
    run = vs.record(
        loaded("gqa"), noise(60, 60), QUESTION, intervention=Contrast(seed=3), generation=FIVE,
        directory=tmp_path / "run",
    )  # fmt: skip
    assert run.interventions == (Contrast(seed=3),) and run.name == "contrast"
    assert run.provenance["interventions"][0]["noise_step"] == 500
