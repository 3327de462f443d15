"""What holds for every function: dtype, purity, no waiting for a device, NumPy equal to torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.unit.method.conftest import Library
from var_studio.method import contribution, conventions, heads, knockout, redistribution, sinks

LAYERS, HEADS, QUERIES, KEYS, SIZE, PER_HEAD = 2, 4, 3, 10, 16, 4


def inputs() -> dict[str, np.ndarray]:
    """Two layers with visual and text sinks, in float32."""
    rng = np.random.default_rng(11)
    hidden = rng.normal(size=(LAYERS, KEYS, SIZE))
    hidden[:, [0, 4], 3] = 40
    visual = np.zeros(KEYS, bool)
    visual[2:8] = True
    floats = {
        "hidden": hidden,
        "attention": rng.dirichlet(np.full(KEYS, 0.3), size=(LAYERS, HEADS, QUERIES)),
        "value": rng.normal(size=(LAYERS, 2, KEYS, PER_HEAD)),
        "weight": rng.normal(size=(SIZE, HEADS * PER_HEAD)),
        "scores": rng.random(KEYS),
        "head_scores": rng.random((HEADS, QUERIES)),
    }
    return {name: array.astype(np.float32) for name, array in floats.items()} | {
        "visual": visual,
        "region": rng.random(KEYS) < 0.5,
        "queries": np.arange(7, 7 + QUERIES),
    }


def everything(a: dict[str, Any]) -> dict[str, Any]:
    """Call every public array function, both conventions, all targets and sources."""
    attention, visual = a["attention"], a["visual"]
    out: dict[str, Any] = {"phi": sinks.phi(a["hidden"], [3, 9])}
    out["values"] = sinks.signed_values(a["hidden"], [3, 9])
    out["phi_from_values"] = sinks.phi_from_values(out["values"])
    out["visual_mass"] = heads.visual_mass(attention, visual)
    for c in conventions.CONVENTIONS:
        sink = out[f"sink {c}"] = sinks.sink_mask(out["phi"], 2.5, c)
        out[f"restricted {c}"] = sinks.restrict_sinks(
            sink, layers=range(1, 1 + LAYERS), prompt_length=9, convention=c
        )
        out[f"restricted one {c}"] = sinks.restrict_sinks(
            sink, layers=2, prompt_length=9, convention=c
        )
        out[f"share {c}"] = heads.sink_share(attention, visual, sink, c)
        selected = out[f"selected {c}"] = heads.image_centric(
            attention, visual, sink, rho=0.5, convention=c
        )
        for target in ("visual", "text", "both", a["region"]):
            for source in ("all", "visual", "text"):
                options = {"p": 0.6, "target": target, "source": source, "convention": c}
                name = f"{target if isinstance(target, str) else 'region'} {source} {c}"
                out[f"redistributed {name}"] = redistribution.redistribute(
                    attention, visual, sink, selected, **options
                )
                book = redistribution.ledger(attention, visual, sink, selected, **options)
                for field, column in book._asdict().items():
                    out[f"ledger {field} {name}"] = column
    out["sink_mass"] = heads.sink_mass(attention, sink)
    out["ratio"] = heads.non_sink_ratio(attention, visual, sink)
    out["head share"] = heads.image_centric_share(selected)
    out["visual sinks"] = knockout.visual_sinks(visual, sink)
    out["random"] = knockout.random_visual(visual, sink, a["scores"])
    out["knocked out"] = knockout.apply(attention, knockout.knockout_mask(out["random"], selected))
    out["random heads"] = knockout.random_heads(selected, a["head_scores"])
    out["ablated"] = knockout.ablate_heads(attention, visual, out["random heads"])
    out["scores"] = knockout.uniform_scores(KEYS, seed=9, layer=4, like=attention)
    out["head scores"] = knockout.uniform_scores(
        HEADS, seed=9, layer=4, like=attention, queries=a["queries"]
    )
    per_head = out["head weights"] = contribution.head_output_weights(a["weight"], HEADS)
    out["gram"] = contribution.output_gram(per_head)
    out["norm"] = contribution.value_norm(a["value"], per_head)
    out["norm from gram"] = contribution.value_norm_from_gram(a["value"], out["gram"])
    out["contribution"] = contribution.contribution(attention, out["norm"])
    return out


#: These replace an input, and come back in its dtype; all other floats are measurements.
REPLACEMENTS = ("redistributed", "knocked out", "ablated", "head weights")


def test_scene_exercises_both_sides() -> None:
    """The rest of this file would be empty words on a scene where nothing happens."""
    out = everything(inputs())
    for convention in conventions.CONVENTIONS:
        for name in (f"sink {convention}", f"selected {convention}"):
            assert out[name].any(), name
            assert not out[name].all(), name
    assert out["random"].any()
    assert (out["knocked out"] != inputs()["attention"]).any()


@pytest.mark.torch
def test_numpy_and_torch_agree() -> None:
    import torch

    numpy = everything(inputs())
    torched = everything({name: torch.from_numpy(a) for name, a in inputs().items()})
    assert numpy.keys() == torched.keys()
    for name, array in numpy.items():
        other = torched[name].numpy()
        assert np.asarray(array).dtype == other.dtype, name
        assert np.shape(array) == other.shape, name
        np.testing.assert_allclose(other, array, rtol=2e-5, atol=1e-6, err_msg=name)
    assert (torched["scores"].numpy() == numpy["scores"]).all()
    assert (torched["head scores"].numpy() == numpy["head scores"]).all()


def test_no_input_is_changed(library: Library) -> None:
    arrays = {name: library(array) for name, array in inputs().items()}
    everything(arrays)
    for name, array in inputs().items():
        assert library.numpy(arrays[name]).tobytes() == array.tobytes(), name


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.torch
def test_dtypes_in_torch(dtype: str) -> None:
    import torch

    given = getattr(torch, dtype)
    arrays = {name: torch.from_numpy(array) for name, array in inputs().items()}
    cast = {n: a.to(given) if a.dtype.is_floating_point else a for n, a in arrays.items()}
    measured = torch.promote_types(given, torch.float32)
    exact = everything({n: a.float() for n, a in cast.items()} | {
        n: a for n, a in cast.items() if not a.dtype.is_floating_point
    })  # fmt: skip
    for name, array in everything(cast).items():
        if name.startswith(REPLACEMENTS):
            assert array.dtype == given, name
            # The float32 result, rounded once.
            torch.testing.assert_close(array.float(), exact[name].to(given).float())
        elif name in ("scores", "head scores", "head share"):
            assert array.dtype == torch.float32, name
        elif array.dtype != torch.bool:
            assert array.dtype == measured, name
            # A row's new sum shows the rounding of the replaced weights, and is meant to.
            rounding = torch.finfo(given).eps if "sum_after" in name else 0.0
            rtol = max(2e-5, rounding)
            torch.testing.assert_close(array.float(), exact[name], rtol=rtol, atol=1e-6)


def test_dtypes_in_numpy() -> None:
    for given in (np.float16, np.float32, np.float64):
        cast = {n: a.astype(given) if a.dtype.kind == "f" else a for n, a in inputs().items()}
        for name, array in everything(cast).items():
            if name.startswith(REPLACEMENTS):
                assert array.dtype == given, name
            elif array.dtype.kind == "f" and name not in ("scores", "head scores", "head share"):
                assert array.dtype == np.promote_types(given, np.float32), name


def test_half_precision_rows_keep_their_sum(library: Library) -> None:
    """Summed and scaled in float32, rounded once: 16-bit sums would be off by far more."""
    rng = np.random.default_rng(4)
    attention = rng.dirichlet(np.full(3000, 0.05), size=(2, 2)).astype(np.float16)
    visual = np.arange(3000) % 4 != 0
    sink = rng.random(3000) < 0.1
    arrays = tuple(map(library, (attention, visual, sink, np.ones((2, 2), bool))))
    book = redistribution.ledger(*arrays, p=0.6)
    drift = library.numpy(book.sum_after) - library.numpy(book.sum_before)
    assert library.numpy(book.redistributed).all()
    # The sum is that of the rows as they are handed out, so it shows what rounding cost.
    after = library.numpy(redistribution.redistribute(*arrays, p=0.6))
    np.testing.assert_allclose(library.numpy(book.sum_after), after.sum(-1, dtype=float), rtol=1e-6)
    assert drift.any()
    assert np.abs(drift).max() < 5e-4


@pytest.mark.torch
def test_everything_works_on_a_device_that_holds_no_numbers() -> None:
    """On torch's meta device nothing can be read back: whoever tries, raises."""
    import torch

    arrays = {name: torch.from_numpy(array).to("meta") for name, array in inputs().items()}
    real = everything(inputs())
    for name, array in everything(arrays).items():
        assert array.device.type == "meta", name
        assert tuple(array.shape) == np.shape(real[name]), name
    with pytest.raises(RuntimeError):
        bool(arrays["attention"].sum() > 0)


@pytest.mark.torch
def test_nothing_is_read_back_nor_copied_to_the_device() -> None:
    """No operation that makes the host wait for an accelerator, in any function."""
    import torch

    from tests.device_waits import waiting

    arrays = {name: torch.from_numpy(array) for name, array in inputs().items()}
    assert waiting(lambda: everything(arrays)) == []
    # Controls: the list above does catch what it names.
    attention, visual = arrays["attention"], arrays["visual"]
    for culprit in (
        lambda: bool(visual.any()),
        lambda: attention.sum().item(),
        lambda: attention[..., visual],
        lambda: attention * torch.tensor(2.0),
        lambda: attention[..., [0, 3]],
        lambda: visual.nonzero(),
    ):
        assert waiting(culprit)


def test_importing_the_method_does_not_import_torch() -> None:
    code = (
        "import sys, numpy as np; from var_studio.method import sinks, heads;"
        "heads.visual_mass(np.ones((1, 1, 2)), np.ones(2, bool)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
