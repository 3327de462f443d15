"""Shares of image-centric heads over a whole answer, against loops; also while the run grows."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.analysis import shares
from var_studio.analysis.shares import image_centric_share, row_masses
from var_studio.errors import VarStudioError
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

CASES = [
    Redistribution(),
    Redistribution(rho=0.5, mass_min=0.3),
    Redistribution(tau=1.0, rho=0.2),
    Redistribution(rho=0.4, convention="released-code"),
    Redistribution(tau=1000.0),
    Redistribution(tau=1000.0, convention="released-code"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("shares") / "run"
    return make_run(
        folder, layers=4, heads=3, rows=4, cols=5, queries=9, precision="float32", varied=True
    )


def loops(run: Recording, query: int, settings: Redistribution) -> tuple[float, float, float]:
    """Share of image-centric heads, mean visual mass, mean sink mass; one weight at a time."""
    code = settings.convention == "released-code"
    tau = run.tau_default if settings.tau is None else settings.tau
    row, patches = run.attention(query), [int(p) for p in run.layout.positions]
    count, visual_mass, sink_mass = 0, 0.0, 0.0
    for layer in range(run.n_layers):
        sinks = []
        for position, phi in enumerate(run.phi(layer)):
            late = code and (layer < 2 or position >= run.prompt_length)
            if not late and (phi > tau if code else phi >= tau):
                sinks.append(position)
        for head in range(run.n_heads):
            alpha = [float(a) for a in row[layer, head]]
            seen = sum(alpha[j] for j in patches)
            lost = sum(alpha[j] for j in patches if j in sinks)
            visual_mass += seen
            sink_mass += sum(alpha[j] for j in sinks)
            if code:
                passes = lost / (seen + 1e-6 * len(patches)) <= settings.rho
                passes = passes and any(j in sinks for j in patches)
            else:
                passes = (seen - lost) / seen >= settings.rho
            count += passes and seen >= settings.mass_min
    n = run.n_layers * run.n_heads
    return count / n, visual_mass / n, sink_mass / n


@pytest.mark.parametrize("settings", CASES, ids=lambda s: str(s.model_dump(exclude_defaults=True)))
def test_every_row_equals_the_loops(run, settings):
    expected = np.array([loops(run, query, settings) for query in range(9)])
    np.testing.assert_allclose(image_centric_share(run, settings), expected[:, 0], atol=1e-7)
    masses = row_masses(run, settings)
    np.testing.assert_allclose(masses.visual_mass(), expected[:, 1], atol=1e-6)
    np.testing.assert_allclose(masses.sink_mass(), expected[:, 2], atol=1e-6)


def test_the_cases_differ(run):
    """Negative control: thresholds and conventions must matter here."""
    seen = {image_centric_share(run, settings).tobytes() for settings in CASES}
    assert len(seen) >= 5
    assert len(set(image_centric_share(run, CASES[0]).tolist())) > 2  # and so must the rows


def test_a_slice_of_time_takes_one_row_at_least_and_the_asked_for_first(run):
    masses = row_masses(run, Redistribution(tau=0.5))
    assert not masses.complete
    assert not masses.advance(0.0, first=6)
    assert np.flatnonzero(masses.done).tolist() == [6]
    share = masses.image_centric_share(Redistribution(tau=0.5))
    assert np.isnan(share).sum() == 8
    assert share[6] == pytest.approx(loops(run, 6, Redistribution(tau=0.5))[0])
    for _ in range(8):
        assert not masses.complete
        masses.advance(0.0, first=6)
    assert masses.complete and not np.isnan(masses.visual_mass()).any()


def test_rho_needs_no_row_anew(run, monkeypatch):
    image_centric_share(run, Redistribution())
    monkeypatch.setattr(Recording, "attention", None)
    for rho in (0.0, 0.5, 1.0):
        image_centric_share(run, Redistribution(rho=rho, p=0.1, mass_min=rho))
    with pytest.raises(TypeError):  # Control: another tau does.
        image_centric_share(run, Redistribution(tau=0.123))


def test_rows_in_use_stay_in_memory(tmp_path):
    run = make_run(tmp_path / "run", rows=3, cols=3, queries=5)
    held = run.attention(2)
    image_centric_share(run, Redistribution())
    assert list(run._rows) == [2] and run.attention(2) is held


def test_a_growing_run_is_followed(tmp_path: Path, monkeypatch):
    run = make_run(tmp_path / "run", rows=4, cols=5, queries=12, finish=False)
    lengths: list[int] = []
    real_length, real_rows, real_phi = run.length, run.query_positions, run.phi()
    grown = {"n": 5}

    def known() -> np.ndarray:
        phi = real_phi[:, : int(real_rows[grown["n"] - 1]) + 1].copy()
        phi[:, -1] = np.nan  # the last token was not fed yet
        lengths.append(phi.shape[1])
        return phi

    kind = type(run)
    monkeypatch.setattr(kind, "length", property(lambda _: len(known()[0])))
    monkeypatch.setattr(kind, "query_positions", property(lambda _: real_rows[: grown["n"]]))
    monkeypatch.setattr(kind, "phi", lambda self, layer=None, sink_dims=None: known())
    whole = Recording.attention
    monkeypatch.setattr(
        kind, "attention", lambda self, query, keep=True: whole(self, query)[..., : len(known()[0])]
    )
    monkeypatch.setattr(kind, "visual", property(lambda self: self.layout.mask(len(known()[0]))))
    masses = row_masses(run, Redistribution(tau=2.0))
    masses.advance()
    assert masses.done.tolist() == [True] * 5
    assert masses.image_centric_share(Redistribution(tau=2.0)).shape == (5,)
    grown["n"] = 8
    assert masses.image_centric_share(Redistribution(tau=2.0)).shape == (8,), "as it was before"
    assert not masses.complete
    # Token 4 has a phi now, so its own row is read again; the rows before it are not.
    assert masses.done.tolist() == [True] * 4 + [False] * 4
    masses.advance()
    followed = masses.image_centric_share(Redistribution(tau=2.0))
    fresh = shares.RowMasses(run, Redistribution(tau=2.0))
    fresh.advance()
    np.testing.assert_array_equal(followed, fresh.image_centric_share(Redistribution(tau=2.0)))
    assert real_length > lengths[-1]


def test_a_run_is_let_go(tmp_path):
    run = make_run(tmp_path / "run", rows=3, cols=3, queries=4)
    image_centric_share(run, Redistribution())
    gone = weakref.ref(run)
    run.close()
    del run
    gc.collect()
    assert gone() is None


def test_a_drag_past_many_thresholds_keeps_the_complete_ones(run):
    whole = row_masses(run, Redistribution(tau=3.25))
    whole.advance()
    for step in range(10):
        row_masses(run, Redistribution(tau=3.5 + step / 100)).advance(0.0)
    assert row_masses(run, Redistribution(tau=3.25)) is whole
    latest = row_masses(run, Redistribution(tau=3.59))
    assert latest.done.sum() == 1  # the one that the drag ended at is there as well


def test_dimensions_that_were_not_recorded_are_refused(run):
    with pytest.raises(VarStudioError, match="Dimension 9999"):
        row_masses(run, Redistribution(sink_dims=(9999,)))
