"""Discovery on the demo model, on one with planted dimensions, and on one with none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import var_studio as vs
from tests.models.tiny import QUESTION, noise


def test_the_demo_model_has_the_dimensions_it_names(loaded: Any) -> None:
    lmm = loaded("demo")
    found = vs.discover(lmm, noise(140, 140), "what color is the circle?")
    assert set(found.dims) == set(lmm.sink_dims)
    assert all(e.ratio > 20 for e in found.evidence)


def test_none_found_is_an_answer_and_runs_go_on(checkpoint: Any, tmp_path: Path) -> None:
    lmm = vs.load_model(checkpoint("crop"))
    run = vs.record(
        lmm,
        noise(60, 60),
        QUESTION,
        intervention=vs.Redistribution(),
        generation=vs.Generation(max_new_tokens=3),
        directory=tmp_path / "run",
    )
    assert lmm.sink_dims == () and lmm.sink_dims_origin == "none found"
    assert run.sink_dims == () and not run.sinks().any()
    assert run.provenance["discovery"]["dims"] == []
    plain = vs.record(
        lmm,
        noise(60, 60),
        QUESTION,
        generation=vs.Generation(max_new_tokens=3),
        directory=tmp_path / "plain",
    )
    assert run.text == plain.text


def test_planted_dimensions_are_found_and_used(checkpoint: Any, tmp_path: Path) -> None:
    """BOS is made massive in two dimensions at the embedding; every layer passes it on."""
    lmm = vs.load_model(checkpoint("gqa"))
    with torch.no_grad():
        lmm.hf_model.get_input_embeddings().weight[1, [9, 40]] = torch.tensor([300.0, -200.0])
    found = vs.discover(lmm, noise(60, 60), QUESTION)
    assert found.dims == (9, 40)
    assert lmm.sink_dims is None, "discover changes nothing by itself"
    run = vs.record(
        lmm,
        noise(60, 60),
        QUESTION,
        generation=vs.Generation(max_new_tokens=3),
        directory=tmp_path / "run",
    )
    assert run.sink_dims == (9, 40) and lmm.sink_dims_origin == "discovered"
    assert run.sinks()[:, 0].all()
    assert run.provenance["discovery"]["evidence"][0]["dim"] == 9
    assert run.phi()[:, 0].min() > 5 > np.nanmax(run.phi()[:, 1:])


def test_dimensions_are_found_in_recordings(loaded: Any, tmp_path: Path) -> None:
    """In one, in several; the same evidence as from a pass; of several models, none."""
    lmm = loaded("demo")
    options = {"generation": vs.Generation(max_new_tokens=2)}
    questions = ["what color is the circle?", "how many shapes are there?", "what is left?"]
    runs = [
        vs.record(lmm, noise(140, 140, seed), question, directory=tmp_path / f"{seed}", **options)
        for seed, question in enumerate(questions)
    ]
    direct = vs.discover(lmm, noise(140, 140, 0), questions[0])
    one, several = vs.discover_from(runs[0]), vs.discover_from(runs)
    card = json.loads((Path(lmm.checkpoint) / "var_studio.json").read_text())["sink_dims"]
    for found in (direct, one, several):
        assert sorted(found.dims) == sorted(card)
        assert all(e.ratio > 20 and e.layers_share >= 0.5 for e in found.evidence)
    for ours, theirs in zip(one.evidence, direct.evidence, strict=True):
        assert ours.first_token == pytest.approx(theirs.first_token, rel=1e-4)
        kept = [position for position in ours.carriers if position < runs[0].length - 2]
        assert kept == list(theirs.carriers)
    none = vs.record(
        loaded("crop"), noise(60, 60), QUESTION, directory=tmp_path / "none", **options
    )
    assert vs.discover_from([none]).dims == ()
    for wrong in ([], [runs[0], none]):
        with pytest.raises(vs.VarStudioError, match="same model"):
            vs.discover_from(wrong)


def test_discovery_waits_for_nobody(loaded: Any) -> None:
    lmm = loaded("demo")
    with lmm.in_use(), pytest.raises(vs.VarStudioError, match="busy"):
        vs.discover(lmm, noise(60, 60), "what?")
