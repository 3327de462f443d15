"""Every family under knockout, head ablation and redistribution = an independent slow loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import var_studio as vs
from tests.models import slow_loop
from tests.models.against_slow_loop import assert_same, recorded_logits, slow_method
from tests.models.families import kit
from tests.models.families.cases import CASES
from tests.models.families.kit import QUESTION

PICTURE = Image.fromarray(kit.noise(150, 100))


@pytest.mark.parametrize("kind", ["tokens", "heads"])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.phi])
def test_interventions_are_the_slow_loop(
    family: Callable[[str], Any], tmp_path: Path, name: str, kind: str
) -> None:
    """In prompt and steps, with random draws: other seeds, or nothing, give other logits."""
    lmm, var = family(name), CASES[name].var
    shared = {key: value for key, value in var.items() if key in vs.Knockout.model_fields}
    if kind == "tokens":
        hide = vs.Knockout(**shared, tokens="random-visual", seed=2)
        made_with: Any = [hide, vs.Redistribution(**{**var, "target": "both", "source": "text"})]
    else:
        on_heads = {key: value for key, value in var.items() if key in vs.HeadAblation.model_fields}
        made_with = vs.HeadAblation(**on_heads, heads="random", seed=2)
    run, logits = recorded_logits(
        lmm, PICTURE, made_with, tmp_path / "run", steps=4, question=QUESTION
    )
    encoded = lmm.encode(PICTURE, QUESTION)
    said = [run.tokens[p].id for p in run.generated_positions]

    def slow(method: slow_loop.Method) -> np.ndarray:
        found: np.ndarray = slow_loop.logits_of_steps(
            lmm.hf_model, encoded.inputs, method, said
        ).numpy()
        return found

    method = slow_method(lmm, run)
    assert_same(logits[: len(said)], slow(method))
    assert method.keys_hidden > 0, "nothing was hidden: the test would show nothing"
    assert kind == "heads" or method.rows_changed > 0

    other = slow_method(lmm, run)
    drawn = other.hide or other.ablate
    assert drawn is not None
    drawn.seed = 3
    assert np.abs(slow(other) - logits[: len(said)]).max() > 1e-4


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.phi])
@pytest.mark.parametrize("made_with", [vs.Redistribution(), vs.Knockout(), vs.HeadAblation()])
def test_without_phi_they_are_refused_with_the_reason(
    family: Callable[[str], Any], tmp_path: Path, name: str, made_with: Any
) -> None:
    with pytest.raises(vs.VarStudioError, match="visual tokens are keys of cross-attention"):
        vs.record(
            family(name), PICTURE, QUESTION, intervention=made_with, directory=tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()
