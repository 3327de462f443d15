"""Runs that tests put into session files."""

import numpy as np

from tests.synthetic import make_run
from var_studio.recording.settings import Redistribution

SMALL = {"layers": 2, "heads": 3, "rows": 4, "cols": 5, "queries": 12}


def two_runs(folder, **changes):
    shape = {**SMALL, **changes}
    return [
        make_run(folder / "a", name="baseline", seed=1, **shape),
        make_run(folder / "b", name="VAR", seed=2, intervention=Redistribution(rho=0.5), **shape),
    ]


def same(run, other):
    """Whether two recordings hold the same, number for number."""
    described = ("id", "name", "tokens", "generation", "interventions", "provenance", "reason")
    for name in (*described, "sink_dims", "tau_default", "finished", "hidden_size"):
        assert getattr(run, name) == getattr(other, name), name
    assert np.array_equal(run.query_positions, other.query_positions)
    assert run.layout.to_json() == other.layout.to_json()
    for query in range(len(run.query_positions)):
        assert np.array_equal(run.attention(query), other.attention(query))
    assert np.array_equal(run.signed_values, other.signed_values, equal_nan=True)
    assert np.array_equal(run.value_norm(), other.value_norm(), equal_nan=True)
    for mine, its in zip(run.top_dims(), other.top_dims(), strict=True):
        assert np.array_equal(mine, its, equal_nan=True)
    assert [run.stored_image(i) for i in range(1)] == [other.stored_image(i) for i in range(1)]
    return True
