"""The fidelity figures of a run, as the status bar and `info` tell them."""

from __future__ import annotations

import pytest

from var_studio.analysis.parity import parity

OUTPUTS = {"worst_difference": 2e-6, "largest_output": 3.0, "kernel": "sdpa"}


def test_the_rows_figure_comes_first() -> None:
    found = parity({"fidelity": {**OUTPUTS, "worst_attention_difference": 4e-7}})
    assert found is not None
    short, long = found
    assert short == "parity 4e-07"
    assert "explicit attention by at most 4.0e-07" in long
    assert "sdpa kernel's output by at most 2.0e-06 (largest output 3)" in long


@pytest.mark.parametrize("rows", [{}, {"worst_attention_difference": None}])
def test_recordings_without_it_show_the_outputs(rows: dict[str, None]) -> None:
    found = parity({"fidelity": {**OUTPUTS, **rows}})
    assert found is not None
    assert found[0] == "parity 2e-06" and "explicit" not in found[1]


@pytest.mark.parametrize("provenance", [{}, {"fidelity": None}, {"fidelity": {}}])
def test_a_run_that_states_none_gets_none(provenance: dict[str, object]) -> None:
    assert parity(provenance) is None
