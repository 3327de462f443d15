"""Models whose visual tokens are keys of cross-attention layers: what a recording says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import var_studio as vs
from tests.models.families import case_mllama
from tests.models.families.kit import QUESTION, noise
from var_studio.analysis.choice import read
from var_studio.analysis.views import choose_views
from var_studio.cli.contents import show
from var_studio.figures.words import sinks_by_kind, sinks_line
from var_studio.models.families.cross import CrossKeys

PICTURE = Image.fromarray(noise(60, 30))
DIMS = (5, 17)


@pytest.fixture(scope="module")
def lmm(tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = vs.load_model(case_mllama.save(tmp_path_factory.mktemp("mllama")))
    model.sink_dims = DIMS
    return model


def record(lmm: Any, folder: Path, **options: Any) -> Any:
    generation = vs.Generation(max_new_tokens=4)
    return vs.record(lmm, PICTURE, QUESTION, generation=generation, directory=folder, **options)


def test_keys_stand_after_their_placeholders() -> None:
    seen = np.array([[True, True, False], [True, False, False]])
    cross = CrossKeys.after(frozenset({1}), [2, 4], seen)
    # Model: a b I c J d e ...  Recording: a b I 0 1 c J 0 d e ...
    assert cross.keys.tolist() == [3, 4, -1, 7, -1, -1]
    assert cross.visual.tolist() == [3, 4, 7]
    assert cross.recorded(range(8)).tolist() == [0, 1, 2, 5, 6, 8, 9, 10]
    assert cross.of_model([0, 1, 2, 5, 6, 8, 9, 10]).tolist() == list(range(8))


def test_rows_live_on_one_kind_of_keys(lmm: Any, tmp_path: Path) -> None:
    run = record(lmm, tmp_path / "run")
    visual = np.zeros(run.length, dtype=bool)
    visual[run.layout.positions] = True
    assert visual.sum() == 2 * (4 * 4 + 1), "two tiles, a CLS token each"
    assert run.visual.sum() == 2 * 4 * 4, "of which the patches are visual"
    placeholder = int(run.layout.positions[0]) - 1
    assert run.tokens[placeholder].role == "visual" and not run.visual[placeholder]
    for query in range(len(run.query_positions)):
        row = run.attention(query)
        for layer in range(lmm.n_layers):
            elsewhere = ~visual if layer in case_mllama.CROSS_LAYERS else visual
            assert (row[layer][:, elsewhere[: row.shape[-1]]] == 0).all()
    np.testing.assert_allclose(row.sum(-1), 1, atol=1e-5)


def test_phi_is_undefined_for_visual_tokens_and_said_so(lmm: Any, tmp_path: Path) -> None:
    run = record(lmm, tmp_path / "run")
    inputs: dict[int, np.ndarray] = {}
    handles = [
        layer.register_forward_pre_hook(
            lambda module, args, kwargs, i=i: inputs.update(
                {i: (args[0] if args else kwargs["hidden_states"])[0].double().numpy()}
            ),
            with_kwargs=True,
        )
        for i, layer in enumerate(lmm.decoder_layers)
    ]
    encoded = lmm.encode(PICTURE, QUESTION)
    try:
        with torch.inference_mode():
            lmm.hf_model(**encoded.inputs, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    keys = run.layout.positions
    text = np.setdiff1d(np.arange(encoded.length), keys)
    assert len(text) == encoded.input_length
    for layer, x in inputs.items():
        phi = run.phi(layer)
        assert np.isnan(phi[keys]).all()
        expected = np.abs(x[:, DIMS]).max(-1) / np.sqrt((x**2).mean(-1))
        np.testing.assert_allclose(phi[text], expected, rtol=1e-4, atol=1e-4)
        assert not np.isnan(phi[encoded.length :]).any()


def test_what_is_undefined_is_said(
    lmm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the captions of figures and in `info`."""
    run = record(lmm, tmp_path / "run")
    reading = read(run, layer=1)
    shown = choose_views(run.layout, 0)
    assert "undefined: visual tokens are keys of cross-attention" in sinks_line(reading, shown)
    assert "φ of visual tokens undefined" in sinks_by_kind(reading)
    assert not reading.visual_sinks.any() and not reading.changed.any()
    vs.save_session(tmp_path / "s.vars", run)
    show(tmp_path / "s.vars", as_json=False)
    assert "φ         undefined for visual tokens: visual tokens" in capsys.readouterr().out


def test_value_norms_are_those_of_the_layers_own_keys(lmm: Any, tmp_path: Path) -> None:
    values: dict[int, torch.Tensor] = {}
    handles = []
    for i, layer in enumerate(lmm.decoder_layers):
        module = lmm.family.attention_module(layer)
        handles.append(
            module.v_proj.register_forward_hook(
                lambda m, args, output, i=i: values.update(
                    {i: output.flatten(0, -2)} if i not in values else {}
                )
            )
        )
    try:
        run = record(lmm, tmp_path / "run")
    finally:
        for handle in handles:
            handle.remove()
    encoded = lmm.encode(PICTURE, QUESTION)
    keys = run.layout.positions
    text = np.setdiff1d(np.arange(encoded.length), keys)
    for i, layer in enumerate(lmm.decoder_layers):
        module = lmm.family.attention_module(layer)
        for head in range(lmm.n_heads):
            v = values[i].unflatten(-1, (2, 16))[:, head // 2]
            norm = (v @ module.o_proj.weight[:, head * 16 : (head + 1) * 16].T).norm(dim=-1)
            found = run.value_norm(i, head)
            if i in case_mllama.CROSS_LAYERS:
                # Two tiles are the image's; the others only fill up.
                expected, here, elsewhere = norm[: len(keys)], keys, text
            else:
                expected, here, elsewhere = norm, text, keys
            np.testing.assert_allclose(found[here], expected.detach().numpy(), rtol=2e-3, atol=1e-3)
            assert (found[elsewhere] == 0).all()
            generated = found[encoded.length :]
            assert (generated == 0).all() == (i in case_mllama.CROSS_LAYERS)


def test_what_needs_phi_is_refused(lmm: Any, tmp_path: Path) -> None:
    for settings in (vs.Redistribution(), {"kind": "knockout"}, {"kind": "head-ablation"}):
        with pytest.raises(vs.VarStudioError, match="keys of cross-attention layers"):
            record(lmm, tmp_path / "run", intervention=settings)
    assert not (tmp_path / "run").exists()


def test_sink_dimensions_are_looked_for_all_the_same(lmm: Any, tmp_path: Path) -> None:
    lmm.sink_dims = None
    try:
        run = record(lmm, tmp_path / "run")
        assert "discovery" in run.provenance
    finally:
        lmm.sink_dims = DIMS


def test_a_given_answer_is_scored(lmm: Any, tmp_path: Path) -> None:
    run = record(lmm, tmp_path / "run")
    forced = record(lmm, tmp_path / "forced", teacher=run)
    assert [t.id for t in forced.tokens] == [t.id for t in run.tokens]
    for query in range(len(run.query_positions)):
        np.testing.assert_allclose(forced.attention(query), run.attention(query), atol=1e-6)
