"""Knockout, head ablation and their company in the running model = an independent slow loop."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import var_studio as vs
from tests.models.against_slow_loop import (
    assert_same,
    recorded_logits,
    slow_logits,
    slow_method,
)
from tests.models.tiny import noise

# As for redistribution: about a third of the tokens are sinks, some heads are image-centric.
SINKS = {"sink_dims": (5, 17), "tau": 1.6}
HEADS = {**SINKS, "rho": 0.6, "mass_min": 0.3}


def knockout(**fields: Any) -> vs.Knockout:
    return vs.Knockout(**{**SINKS, **fields})


def ablation(**fields: Any) -> vs.HeadAblation:
    return vs.HeadAblation(**{**HEADS, **fields})


VAR = vs.Redistribution(**HEADS, p=0.6)

CASES: dict[str, tuple[str, Any]] = {
    "visual sinks": ("crop", knockout()),
    "visual sinks, gqa": ("gqa", knockout(tau=1.9)),
    "visual sinks, released code": ("gqa", knockout(convention="released-code")),
    "visual sinks, window": ("mistral", knockout()),
    "visual sinks, two layers": ("pad", knockout(first_layer=1, last_layer=2)),
    "visual sinks, demo": ("demo", vs.Knockout(tau=1.5)),
    "random visual": ("crop", knockout(tokens="random-visual", seed=3)),
    "random visual, gqa": ("gqa", knockout(tokens="random-visual", seed=2**32 - 1)),
    "random visual, window": ("mistral", knockout(tokens="random-visual")),
    "chosen": ("pad", knockout(tokens="chosen", positions=(0, 7, 12, 45))),
    "chosen, last layer": ("gqa", knockout(tokens="chosen", positions=(3,), first_layer=3)),
    "image-centric": ("crop", ablation()),
    "image-centric, released code": ("gqa", ablation(convention="released-code", rho=0.4)),
    "image-centric, demo": ("demo", vs.HeadAblation(rho=0.5)),
    "random heads": ("gqa", ablation(heads="random", seed=5)),
    "random heads, window": ("mistral", ablation(heads="random", rho=0.3, mass_min=0.1)),
    "complement": ("crop", ablation(heads="complement")),
    "complement, released code": (
        "gqa",
        ablation(heads="complement", convention="released-code", rho=0.4),
    ),
    "complement, one layer": ("crop", ablation(heads="complement", first_layer=2, last_layer=2)),
    "sinks hidden, the rest redistributed": ("crop", [knockout(), VAR]),
    "random hidden, the rest redistributed": ("gqa", [VAR, knockout(tokens="random-visual")]),
    "BOS hidden, the rest redistributed": (
        "gqa",
        [
            knockout(tokens="chosen", positions=(0, 20), first_layer=1),
            VAR.model_copy(update={"target": "both", "heads": "all"}),
        ],
    ),
    "other thresholds": ("pad", [knockout(tau=2.2, last_layer=1), VAR]),
    "window and both": ("mistral", [knockout(tau=2.0), VAR]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_engine_agrees_with_the_slow_loop(loaded: Any, tmp_path: Path, case: str) -> None:
    name, settings = CASES[case]
    lmm, image = loaded(name), noise(90, 70, seed=2)
    run, logits = recorded_logits(lmm, image, settings, tmp_path / "run")

    method = slow_method(lmm, run)
    assert_same(logits, slow_logits(lmm, run, image, method))
    assert method.keys_hidden > 0, "nothing was hidden: the test would show nothing"
    if method.redistributes:
        assert method.rows_changed > 0, "nothing was redistributed: the test would show little"
    # Negative control: the plain model's logits are clearly others.
    assert np.abs(slow_logits(lmm, run, image, None) - logits).max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "part", "wrong"),
    [
        (knockout(tokens="random-visual", seed=3), "hide", {"seed": 4}),
        (knockout(tokens="random-visual", seed=3), "hide", {"tokens": "visual-sinks"}),
        (knockout(tokens="chosen", positions=(20,)), "hide", {"positions": (21,)}),
        (knockout(), "hide", {"first_layer": 1}),
        (ablation(heads="random", seed=5), "ablate", {"seed": 6}),
        (ablation(), "ablate", {"heads": "complement"}),
        (ablation(), "ablate", {"heads": "random"}),
        ([knockout(), VAR], None, {"redistributes": False}),
        ([knockout(), VAR], None, {"hide": None}),
    ],
    ids=str,
)
def test_the_slow_loop_tells_neighbours_apart(
    loaded: Any, tmp_path: Path, settings: Any, part: str | None, wrong: dict[str, Any]
) -> None:
    """Negative controls: another seed, the key beside, the other heads, one layer less."""
    lmm, image = loaded("gqa"), noise(90, 70, seed=2)
    run, logits = recorded_logits(lmm, image, settings, tmp_path / "run")
    method = slow_method(lmm, run)
    if part is None:
        method = dataclasses.replace(method, **wrong)
    else:
        changed = dataclasses.replace(getattr(method, part), **wrong)
        method = dataclasses.replace(method, **{part: changed})
    assert np.abs(slow_logits(lmm, run, image, method) - logits).max() > 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        knockout(tau=1000.0),
        knockout(tokens="random-visual", tau=1000.0),
        ablation(mass_min=1.0),
        ablation(heads="random", mass_min=1.0),
        [knockout(tau=1000.0), VAR.model_copy(update={"p": 0.0})],
    ],
    ids=str,
)
def test_what_hides_nothing_changes_nothing(loaded: Any, tmp_path: Path, settings: Any) -> None:
    """Bit for bit the plain run's logits."""
    lmm, image = loaded("gqa"), noise(90, 70, seed=2)
    _, logits = recorded_logits(lmm, image, settings, tmp_path / "changed")
    _, plain = recorded_logits(lmm, image, None, tmp_path / "plain")
    assert np.array_equal(logits, plain)


def test_several_images(loaded: Any, tmp_path: Path) -> None:
    """Visual tokens of all images count, and a region is numbered through them."""
    lmm, images = loaded("gqa"), [noise(90, 70, seed=2), noise(50, 80, seed=3)]
    n_visual = 2 * 36
    for number, settings in enumerate(
        [
            knockout(tokens="random-visual", seed=1),
            ablation(heads="complement"),
            [knockout(tau=2.0), VAR],
            vs.Redistribution(**HEADS, target="region", region=range(n_visual - 20, n_visual)),
        ]
    ):
        run, logits = recorded_logits(lmm, images, settings, tmp_path / str(number), steps=3)
        assert run.layout.count == n_visual
        method = slow_method(lmm, run)
        assert_same(logits, slow_logits(lmm, run, images, method))
        assert np.abs(slow_logits(lmm, run, images, None) - logits).max() > 1e-3


@pytest.mark.parametrize(
    "settings",
    [knockout(tokens="random-visual"), ablation(heads="random"), [knockout(), VAR]],
    ids=["knockout", "ablation", "both"],
)
def test_what_the_recording_shows_is_what_the_engine_did(
    loaded: Any, tmp_path: Path, settings: Any
) -> None:
    """`intervened` rows times values = what the first layer's heads wrote; hidden keys have 0."""
    lmm = loaded("crop")
    attention = lmm.decoder_layers[0].self_attn
    outputs: list[torch.Tensor] = []
    values: list[torch.Tensor] = []
    hooks = [
        attention.o_proj.register_forward_pre_hook(
            lambda m, args: outputs.append(args[0][0].clone())
        ),
        attention.v_proj.register_forward_hook(lambda m, args, out: values.append(out[0].clone())),
    ]
    try:
        run = vs.record(
            lmm,
            noise(60, 80, seed=4),
            "what is left?",
            intervention=settings,
            generation=vs.Generation(max_new_tokens=3),
            directory=tmp_path / "run",
        )
    finally:
        for hook in hooks:
            hook.remove()
    size = lmm.hidden_size // lmm.n_heads
    v = torch.cat(values).numpy().reshape(run.length, -1, size)
    mixed = torch.cat(outputs).numpy().reshape(run.length, lmm.n_heads, size)
    hidden = 0
    for query, position in enumerate(run.query_positions):
        before, after = run.attention(query, 0), run.intervened(query, layer=0)
        np.testing.assert_allclose(after.sum(-1), 1, atol=1e-5)
        hidden += int(((after == 0) & (before > 0)).sum())
        expected = np.einsum("hk,khd->hd", after, v)
        np.testing.assert_allclose(mixed[position], expected, atol=1e-5)
    assert hidden > 0


def test_a_run_says_what_was_done_to_it(loaded: Any, tmp_path: Path) -> None:
    lmm, image = loaded("crop"), noise(60, 60)
    one = vs.Generation(max_new_tokens=1)
    kept = vs.record(
        lmm,
        image,
        "what?",
        intervention=[VAR, {"kind": "knockout", **SINKS}],
        generation=one,
        directory=tmp_path / "run",
    )
    run = vs.Recording.open(kept.path)
    assert run.name == "knockout + VAR"
    assert run.interventions == (vs.Knockout(**SINKS), VAR) and run.redistribution == VAR
    assert [each["kind"] for each in run.provenance["interventions"]] == [
        "knockout",
        "redistribution",
    ]


@pytest.mark.parametrize(
    ("fields", "idle"),
    [
        ({"kind": "redistribution"}, "redistribution"),
        ({"kind": "knockout"}, "knockout"),
        ([{"kind": "knockout", "tokens": "random-visual"}, {}], "knockout and redistribution"),
        ([{"kind": "knockout", "tokens": "chosen", "positions": [5]}, {}], "redistribution"),
        ({"kind": "knockout", "tokens": "chosen", "positions": [5]}, ""),
        ({"kind": "head-ablation", "mass_min": 0.0}, ""),
        ({"kind": "head-ablation", "mass_min": 0.0, "convention": "released-code"}, "ablation"),
        ({"kind": "head-ablation", "heads": "complement", "convention": "released-code"}, ""),
        ({"kind": "contrast"}, ""),
    ],
    ids=str,
)
def test_a_run_says_what_did_nothing_for_want_of_sink_dimensions(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: Any, idle: str
) -> None:
    """And is the plain run then, bit for bit."""
    lmm, image = loaded("crop"), noise(60, 60)
    monkeypatch.setattr(lmm, "sink_dims", ())  # as where discovery found none
    run, logits = recorded_logits(lmm, image, fields, tmp_path / "run", steps=2)
    said = run.provenance["without_effect"]
    assert f"{idle} changed nothing" in said if idle else said == ""
    if len(run.interventions) == (" and " in idle) + 1:
        _, plain = recorded_logits(lmm, image, None, tmp_path / "plain", steps=2)
        assert np.array_equal(logits, plain) == bool(idle)
    monkeypatch.setattr(lmm, "sink_dims", (5, 17))
    run, _ = recorded_logits(lmm, image, fields, tmp_path / "sinks", steps=1)
    assert run.provenance["without_effect"] == ""


@pytest.mark.parametrize("settings", [knockout(), ablation()], ids=["knockout", "ablation"])
def test_heads_that_attend_beside_the_tokens_cannot_lose_some(
    loaded: Any, tmp_path: Path, settings: Any
) -> None:
    """A learned sink takes its share in every softmax; rows are not 1 over the tokens."""
    lmm, image = loaded("gpt-oss"), noise(60, 60)
    with pytest.raises(vs.VarStudioError, match="learned sink"):
        vs.record(lmm, image, "what?", intervention=settings, directory=tmp_path / "r")
    run, _ = recorded_logits(lmm, image, VAR, tmp_path / "var", steps=1)
    before, after = run.attention(3), run.intervened(3)
    assert before.sum(-1).min() < 0.99
    np.testing.assert_allclose(after.sum(-1), before.sum(-1), atol=1e-5)
    assert not np.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (vs.Knockout(tokens="chosen", positions=[5000]), "position 5000; this run has at most"),
        (vs.Redistribution(target="region", region=[36]), "visual token 36; this question has 36"),
        (vs.Knockout(last_layer=4), "layers 0 to 3"),
        (vs.HeadAblation(sink_dims=()), "no sink dimension"),
        (vs.Knockout(sink_dims=(64,)), "0 to 63"),
        ([vs.HeadAblation(), vs.Redistribution()], "does not go with redistribution"),
        ([vs.Knockout(), vs.Knockout(tau=3)], "Two interventions of the kind 'knockout'"),
        ({"kind": "surgery"}, "no intervention of the kind 'surgery'"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused(
    loaded: Any, tmp_path: Path, settings: Any, said: str
) -> None:
    with pytest.raises(vs.VarStudioError, match=said):
        vs.record(
            loaded("crop"), noise(60, 60), "what?", intervention=settings, directory=tmp_path / "r"
        )
    assert not (tmp_path / "r").exists()
