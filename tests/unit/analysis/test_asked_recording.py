"""A recording asked by words and names, against the plain arrays and slow sums over them."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import var_studio as vs
from tests.synthetic import make_run
from var_studio.analysis.contributions import contributions
from var_studio.analysis.focus import Focus
from var_studio.analysis.reading import Reading
from var_studio.analysis.shares import image_centric_share
from var_studio.recording.layout import View, VisualLayout
from var_studio.recording.recording import Recording

L, H, ROWS, COLS = 4, 3, 3, 5


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    shape: dict[str, Any] = {
        "layers": L, "heads": H, "rows": ROWS, "cols": COLS, "queries": 20, "varied": True,
    }  # fmt: skip
    runs = [
        make_run(folder / "a", **shape),
        make_run(folder / "b", **shape, name="VAR", intervention=vs.Redistribution(rho=0.35)),
    ]
    return vs.save_session(folder / "s.vars", runs)


@pytest.fixture(scope="module")
def run(path: Path) -> Any:
    return vs.open_session(path).runs["baseline"]


@pytest.fixture(scope="module")
def plain(path: Path) -> Recording:
    """The same run without names."""
    from var_studio.recording.session import open_session

    return open_session(path).runs["baseline"]


def test_words_layers_and_heads_by_name(run: Any, plain: Recording) -> None:
    position = next(t.position for t in run.tokens if t.text.strip() == "blue")
    query = plain.query_of(position)
    assert query is not None
    whole = plain.attention(query)
    assert np.array_equal(run.attention(token="blue"), whole)
    assert np.array_equal(run.attention(token=position), whole)
    assert np.array_equal(run.attention(query), whole)
    assert np.array_equal(run.attention(token="blue", layer=2, head=1), whole[2, 1])
    assert np.array_equal(run.attention(token="blue", layer=slice(1, 3)), whole[1:3])
    assert np.array_equal(run.attention(token="blue", layer=[3, 0], head=2), whole[[3, 0], 2])
    mean = run.attention(token="blue", layer=2, head="mean")
    assert np.allclose(mean, sum(whole[2, h].astype(float) for h in range(H)) / H, atol=1e-7)
    both = run.attention(token=["blue", "square"], layer=1)
    assert np.array_equal(both, [run.attention(token=w, layer=1) for w in ("blue", "square")])
    assert np.array_equal(run.attention(slice(None), 0, 0)[query], whole[0, 0])
    for array in (mean, both, whole[2]):
        assert not array.flags.writeable


def test_what_is_asked_is_what_the_plain_recording_says(run: Any, plain: Recording) -> None:
    query = plain.query_of(run.generated_positions[1])
    assert query is not None
    settings = vs.Redistribution(rho=0.3, p=0.5)
    word = {"token": "g1"}
    assert np.array_equal(run.redistributed(settings=settings, **word),
                          plain.redistributed(query, settings))  # fmt: skip
    assert np.array_equal(run.intervened(**word), plain.intervened(query))
    assert np.array_equal(run.contribution(**word, layer=1), plain.contribution(query, layer=1))
    assert np.array_equal(run.image_centric(**word), plain.image_centric(query))
    assert np.array_equal(run.phi(layer=1), plain.phi(1), equal_nan=True)
    assert np.array_equal(run.sinks(layer=slice(2, 4), tau=3.0), plain.sinks(tau=3.0)[2:4])
    assert np.array_equal(run.value_norm(1, 2), plain.value_norm(1, 2))


def test_numbers_are_those_of_analysis(run: Any, plain: Recording) -> None:
    query = plain.query_of(run.generated_positions[1])
    assert query is not None
    settings = vs.Redistribution(rho=0.3)
    heads = tuple((2, h) for h in range(H))
    reading = Reading(plain, Focus(query, 2, heads), settings)
    chosen = {"token": "g1", "layer": 2, "settings": settings}
    assert run.ledger(**chosen) == reading.ledger
    assert repr(run.contributions(**chosen)) == repr(contributions(reading))  # NaN equals NaN
    ratios = run.head_value(token="g1", settings=settings)
    assert np.array_equal(ratios, reading.non_sink_ratio)
    assert np.array_equal(run.image_centric_share(settings), image_centric_share(plain, settings))
    for moment in ("before", "after", "difference"):
        flat = run.map(**chosen, moment=moment)
        assert np.array_equal(flat, plain.layout.grid(0, reading.map(moment)).astype(np.float32))


def test_a_map_lies_in_its_cells(run: Any, plain: Recording) -> None:
    """A slow loop over cells and heads."""
    position = int(run.generated_positions[2])
    rows = plain.attention(plain.query_of(position) or 0)
    found = run.map("g2", layer=slice(1, 3), head=[0, 2])
    assert found.shape == (ROWS, COLS) and found.dtype == np.float32
    for (row, col), k in np.ndenumerate(plain.layout.views[0].tokens):
        at = plain.layout.positions[k]
        mean = np.mean([float(rows[i, h, at]) for i in (1, 2) for h in (0, 2)])
        assert found[row, col] == pytest.approx(mean, abs=1e-7)
    contribution = run.map("g2", layer=1, head=0, quantity="contribution")
    k = int(plain.layout.views[0].tokens[1, 2])
    at = plain.layout.positions[k]
    assert contribution[1, 2] == pytest.approx(
        float(rows[1, 0, at]) * float(plain.value_norm(1, 0)[at]), rel=1e-6
    )


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda run: run.attention(), "one of both"),
        (lambda run: run.attention(0, token="blue"), "one of both"),
        (lambda run: run.attention(token=0), "has no row"),
        (lambda run: run.attention(token="blue", layer=9), "no layer 9"),
        (lambda run: run.attention(token="blue", layer=slice(9, 12)), "No layer is chosen"),
        (lambda run: run.attention(token="blue", head="max"), "no choice of a head"),
        (lambda run: run.attention(token=[]), "No token was named"),
        (lambda run: run.map("blue", image=1), "no image 1"),
        (lambda run: run.map("blue", view=3), "no view 3"),
        (lambda run: run.head_value("mass"), "no head quantity"),
    ],
)
def test_what_cannot_be_asked(run: Any, ask: Any, said: str) -> None:
    with pytest.raises(vs.VarStudioError, match=said):
        ask(run)


def test_xarray_has_names_coordinates_and_units(run: Any, plain: Recording, tmp_path: Path) -> None:
    pytest.importorskip("xarray")
    array = run.attention(token=["blue", "square"], layer=slice(1, 3), head=2, as_xarray=True)
    assert array.dims == ("query", "layer", "key") and array.name == "attention"
    assert array.layer.values.tolist() == [1, 2]
    assert array.attrs["head"] == 2 and array.attrs["units"] == "1"
    assert array.attrs["tau"] == run.tau_default and array.attrs["convention"] == "paper"
    position = next(t.position for t in run.tokens if t.text.strip() == "blue")
    row = plain.attention(plain.query_of(position) or 0)
    assert np.array_equal(array.sel(query=position, layer=2), row[2, 2])
    assert [str(t) for t in array.token.values] == [t.text for t in run.tokens]
    assert [str(t) for t in array.role.values] == [t.role for t in run.tokens]
    assert array.sink.dims == ("layer", "key")
    assert np.array_equal(array.sink, plain.sinks()[1:3])
    on_sinks = array.where(array.sink).sum("key")
    slow = sum(float(row[2, 2, t]) for t in range(run.length) if plain.sinks(2)[t])
    assert float(on_sinks.sel(query=position, layer=2)) == pytest.approx(slow, abs=1e-6)
    mean = run.attention(token="blue", layer="mean", head="mean", as_xarray=True)
    assert mean.dims == ("key",) and mean.attrs["layer"] == f"mean over {L}"
    assert "sink" not in mean.coords and mean.attrs["query"] == position


def test_a_map_as_xarray_knows_its_pixels(run: Any, plain: Recording) -> None:
    pytest.importorskip("xarray")
    found = run.map("blue", layer=2, settings=vs.Redistribution(tau=4.0, p=0.4), as_xarray=True)
    assert found.dims == ("row", "col") and found.shape == (ROWS, COLS)
    left, top, right, bottom = plain.layout.views[0].box
    assert np.allclose(np.diff(found.x), (right - left) / COLS)
    assert found.x.values[0] == pytest.approx(left + (right - left) / COLS / 2)
    assert found.y.values[-1] == pytest.approx(bottom - (bottom - top) / ROWS / 2)
    sinks = plain.sinks(2, tau=4.0)[plain.layout.positions]
    assert np.array_equal(found.sink, sinks[plain.layout.views[0].tokens])
    assert found.attrs["p"] == 0.4 and found.attrs["tau"] == 4.0


@pytest.mark.parametrize(
    "ask",
    [
        lambda run: run.redistributed(token="g1", as_xarray=True),
        lambda run: run.phi(as_xarray=True),
        lambda run: run.sinks(layer="mean", as_xarray=True),
        lambda run: run.value_norm(head="mean", as_xarray=True),
        lambda run: run.contribution(token="g1", layer=1, as_xarray=True),
        lambda run: run.intervened(token="g1", as_xarray=True),
        lambda run: run.head_value("entropy", "g1", as_xarray=True),
        lambda run: run.head_value("contribution", "g1", as_xarray=True),
        lambda run: run.image_centric(token="g1", as_xarray=True),
        lambda run: run.image_centric_share(as_xarray=True),
    ],
)
def test_every_array_says_what_it_is(path: Path, ask: Any) -> None:
    pytest.importorskip("xarray")
    for run in vs.open_session(path).runs:
        found = ask(run)
        assert {"units", "long_name", "source", "run_id", "tau", "convention"} <= set(found.attrs)
        assert set(found.dims) <= {"query", "layer", "head", "key"}
        # Plain values, as netCDF takes them.
        assert all(type(v) in (str, int, float) for v in found.attrs.values()), found.attrs


def test_the_attributes_are_those_of_what_was_asked(path: Path) -> None:
    pytest.importorskip("xarray")
    run: Any = vs.open_session(path).runs["VAR"]
    share = run.head_value("contribution", "g1", as_xarray=True)
    assert share.attrs["units"] == "1" and "part" in share.attrs["long_name"]
    assert run.contribution(token="g1", as_xarray=True).attrs["units"] == "residual stream"
    dims = run.sink_dims[:1]
    assert run.phi(sink_dims=dims, as_xarray=True).attrs["sink_dims"] == str(dims[0])
    assert "rho" not in run.sinks(as_xarray=True).attrs
    for done in (run.intervened(token="g1", as_xarray=True), run.map("g1", as_xarray=True)):
        (acted,) = json.loads(done.attrs["interventions"])
        assert acted["kind"] == "redistribution" and acted["rho"] == 0.35
    text = run.redistributed(
        token="g1", settings=vs.Redistribution(target="text"), as_xarray=True
    ).attrs["interventions"]
    assert json.loads(text)[0]["target"] == "text"


def test_without_xarray_the_error_says_what_to_install(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name == "xarray":
            raise ModuleNotFoundError("No module named 'xarray'", name="xarray")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(vs.VarStudioError, match=r"pip install 'var-studio\[xarray\]'"):
        run.phi(as_xarray=True)


def test_tiles_are_named_and_an_unknown_geometry_is_a_strip(path: Path) -> None:
    """The upper and the lower rows as two tiles, and a thumbnail of the whole over both."""
    run = vs.open_session(path).runs[0]
    known = run.layout
    (whole,) = known.views
    left, top, right, bottom = whole.box
    middle = top + (bottom - top) / ROWS
    tiles = (
        View("tile 1", 0, (left, top, right, middle), whole.tokens[:1]),
        View("tile 2", 0, (left, middle, right, bottom), whole.tokens[1:]),
    )
    expected = run.map("blue")
    run.reader.layout = VisualLayout(known.image_sizes, known.positions, tiles, known.boxes, ((),))
    with pytest.raises(vs.VarStudioError, match=r"2 views\. Name one.*0 \(tile 1\), 1 \(tile 2\)"):
        run.map("blue")
    assert np.array_equal(run.map("blue", view=0), expected[:1])
    assert np.array_equal(run.map("blue", view=1), expected[1:])
    run.reader.layout = VisualLayout(
        known.image_sizes, known.positions, (), known.boxes, ((),), known=False
    )
    strip = run.map("blue")
    assert strip.size >= ROWS * COLS
    assert np.array_equal(strip[~np.isnan(strip)], expected.ravel())
    with pytest.raises(vs.VarStudioError, match="geometry is unknown"):
        run.map("blue", view=0)
