"""A forecast knows each family's tokens, weights and cache before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import var_studio as vs
from tests.models.families.cases import CASES
from tests.models.families.kit import noise, plain_generate

Get = Callable[[str], Any]
QUESTION = "what is it?"
SIZE = (150, 110)


@pytest.mark.parametrize("name", CASES)
def test_the_forecast_of_a_run_is_that_of_the_loaded_model(family: Get, name: str) -> None:
    lmm = family(name)
    generation = vs.Generation(max_new_tokens=4)
    said = vs.forecast(lmm.checkpoint, SIZE, QUESTION, generation=generation, device="cpu")
    encoded = lmm.encode(noise(*SIZE), QUESTION)
    assert (said.n_prompt, said.n_visual) == (encoded.length, encoded.layout.count)
    assert said.n_rows == sum(token.role == "prompt" for token in encoded.tokens)
    tensors = {id(t): t for t in (*lmm.hf_model.parameters(), *lmm.hf_model.buffers())}
    held = sum(t.numel() * t.element_size() for t in tensors.values())
    assert said.weights == pytest.approx(held, rel=0.01)
    grams = sum(group.grams.numel() * 4 for group in lmm.value_grams().groups)
    assert said.value_grams == grams
    if encoded.cross is None:
        cache = plain_generate(lmm, encoded, 5).past_key_values
        kept = sum(
            t.numel() * t.element_size()
            for layer in cache.layers
            for t in (layer.keys, layer.values)
            if t is not None  # of layers that share another's
        )
        assert said.kv_cache == pytest.approx(kept, rel=0.15)
