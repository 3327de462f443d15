"""A run under interventions beside the slow loop over a plain forward: logits, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

import var_studio as vs
from tests.models import slow_loop
from tests.models.tiny import QUESTION
from var_studio.recording.interventions import on_attention


def recorded_logits(
    lmm: Any,
    image: Any,
    intervention: Any,
    directory: Path,
    steps: int = 5,
    question: str = QUESTION,
) -> tuple[Any, np.ndarray]:
    """A run under an intervention, and its raw logits (steps + closing, V)."""
    seen: list[torch.Tensor] = []
    hook = lmm.hf_model.register_forward_hook(
        lambda module, args, output: seen.append(output.logits[0, -1].float().clone())
    )
    try:
        run = vs.record(
            lmm,
            image,
            question,
            intervention=intervention,
            generation=vs.Generation(max_new_tokens=steps),
            directory=directory,
        )
    finally:
        hook.remove()
    # A first run of a model discovers its sink dimensions, with one pass before the others.
    n_passes = len(run.generated_positions) + 1
    return run, torch.stack(seen[-n_passes:]).numpy()


def slow_method(lmm: Any, run: Any) -> slow_loop.Method:
    """What the slow loop is told of the interventions of a run."""
    layout = run.layout
    visual = np.flatnonzero(layout.mask(run.length)).tolist()
    shared = {
        "visual": visual,
        "text": [t.position for t in run.tokens if t.role in ("prompt", "generated")],
        "prompt_length": run.prompt_length,
        "n_layers": lmm.n_layers,
        "sink_dims": run.sink_dims,
    }
    parts: dict[str, Any] = {
        "hide": None, "ablate": None, "redistributes": False, "tau": 0.0, "rho": 0.0, "p": 0.0,
    }  # fmt: skip
    for settings in on_attention(run.interventions):
        rule = {
            "tau": lmm.tau_default if settings.tau is None else settings.tau,
            "released": settings.convention == "released-code",
            "first_layer": settings.first_layer,
            "last_layer": settings.last_layer,
        }
        if settings.kind == "knockout":
            parts["hide"] = slow_loop.Hide(
                **rule,
                tokens=settings.tokens,
                positions=settings.positions,
                seed=settings.seed,
            )
            continue
        rule |= {"rho": settings.rho, "mass_min": settings.mass_min}
        if settings.kind == "head-ablation":
            parts["ablate"] = slow_loop.Ablate(**rule, heads=settings.heads, seed=settings.seed)
            continue
        parts |= rule | {
            "redistributes": True,
            "p": settings.p,
            "source": settings.source,
            "target": settings.target,
            "region": [int(layout.positions[k]) for k in settings.region],
            "all_heads": settings.heads == "all",
        }
    return slow_loop.Method(**shared, **parts)


def slow_logits(lmm: Any, run: Any, image: Any, method: slow_loop.Method | None) -> np.ndarray:
    """Logits (steps + closing, V) of the sequence of a run; without a method the plain model's."""
    ids = torch.tensor([[token.id for token in run.tokens]])
    pixels = lmm.encode(image, QUESTION).inputs["pixel_values"]
    inputs = {"input_ids": ids, "pixel_values": pixels, "attention_mask": torch.ones_like(ids)}
    if method is None:
        with torch.inference_mode():
            logits = lmm.hf_model(**inputs, use_cache=False).logits[0]
    else:
        logits = slow_loop.logits_after(lmm.hf_model, inputs, method)
    # One pass over the whole sequence gives every step's logits: nothing looks ahead.
    steps: np.ndarray = logits[run.prompt_length - 1 :].numpy()
    return steps


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """The same logits to 1e-5 of the largest."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))
