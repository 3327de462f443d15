"""Who looks at chosen cells, against loops over single weights; a few rows at a time."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.analysis.reverse import CellAttention, cell_attention
from var_studio.errors import VarStudioError
from var_studio.recording.recording import Recording

CELLS = (3, 11, 12)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("reverse") / "run"
    return make_run(folder, layers=4, heads=3, rows=4, cols=5, queries=9, precision="float32")


def looked(run: Recording, query: int, layer: int, head: int, cells: tuple[int, ...]) -> float:
    """What one row of one head gives the cells, one weight at a time."""
    row = run.attention(query, layer, head)
    return sum(float(row[int(run.layout.positions[k])]) for k in cells)


def test_tokens_and_heads_equal_the_loops(run: Recording) -> None:
    found = CellAttention(run, CELLS)
    assert found.advance()
    heads = [(0, 1), (2, 0), (3, 2)]
    for query in range(9):
        each = np.array([[looked(run, query, la, h, CELLS) for h in range(3)] for la in range(4)])
        np.testing.assert_allclose(found.of_heads(query), each, rtol=1e-5)
        assert found.of_tokens()[query] == pytest.approx(each.mean(), rel=1e-5)
        assert found.of_tokens(aggregate="max")[query] == pytest.approx(each.max(), rel=1e-5)
        some = [each[pair] for pair in heads]
        assert found.of_tokens(heads)[query] == pytest.approx(np.mean(some), rel=1e-5)
        assert found.of_tokens(heads, "max")[query] == pytest.approx(max(some), rel=1e-5)
    mean = np.mean([found.of_heads(query) for query in range(9)], axis=0)
    np.testing.assert_allclose(found.of_heads(), mean, rtol=1e-5)


def test_other_cells_give_other_numbers(run: Recording) -> None:
    """Negative control."""
    one, other = CellAttention(run, CELLS), CellAttention(run, (0,))
    one.advance(), other.advance()
    assert np.abs(one.of_tokens() - other.of_tokens()).max() > 1e-3


def test_a_slice_of_time_takes_one_row_and_the_asked_for_first(run: Recording) -> None:
    found = CellAttention(run, CELLS)
    assert np.isnan(found.of_tokens()).all() and np.isnan(found.of_heads()).all()
    assert not found.advance(seconds=0.0, first=5)
    assert np.flatnonzero(found.done).tolist() == [5]
    assert np.isfinite(found.of_tokens()).tolist() == [q == 5 for q in range(9)]
    assert np.isnan(found.of_heads(0)).all() and np.isfinite(found.of_heads(5)).all()
    steps = 1
    while not found.advance(seconds=0.0, first=5):
        steps += 1
    assert steps == 8 and found.complete


def test_nothing_is_read_twice_and_no_row_is_pushed_out(run: Recording, monkeypatch) -> None:
    asked: list[tuple[int, bool]] = []
    original = Recording.attention

    def attention(self, query, *args, keep=True):
        asked.append((query, keep))
        return original(self, query, *args, keep=keep)

    monkeypatch.setattr(Recording, "attention", attention)
    cell_attention(run, (7,)).advance()
    cell_attention(run, [7, 7]).advance()
    assert sorted(asked) == [(query, False) for query in range(9)]


def test_no_cell_is_no_attention(run: Recording) -> None:
    found = CellAttention(run, ())
    found.advance()
    assert (found.of_tokens() == 0).all()


def test_a_growing_run_keeps_what_is_in(tmp_path: Path, monkeypatch) -> None:

    run = make_run(tmp_path / "run", layers=2, heads=2, rows=3, cols=3, queries=6)
    positions = run.query_positions
    with monkeypatch.context() as patch:
        patch.setattr(Recording, "query_positions", property(lambda r: positions[:0]))
        none_yet = CellAttention(run, (4,))
        assert none_yet.of_tokens().shape == none_yet.of_tokens([(0, 1)], "max").shape == (0,)
        patch.setattr(Recording, "query_positions", property(lambda r: positions[:4]))
        found = CellAttention(run, (4,))
        assert found.advance()
        first = found.of_tokens()
    assert not found.complete and np.array_equal(found.of_tokens()[:4], first)
    assert np.isnan(found.of_tokens()[4:]).all()
    assert found.advance() and np.isfinite(found.of_tokens()).all()


def test_a_cell_that_does_not_exist(run: Recording) -> None:
    with pytest.raises(VarStudioError, match=r"no visual token 20"):
        CellAttention(run, (3, 20))


def test_the_cache_keeps_no_run_alive(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", layers=2, heads=2, rows=3, cols=3, queries=4)
    cell_attention(run, (1,)).advance()
    gone = weakref.ref(run)
    del run
    gc.collect()
    assert gone() is None
