"""`vs.figures.NAME(run, ...)` is what `export_figure` writes, for every figure there is."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import var_studio as vs
from tests.synthetic import make_run
from var_studio.figures.names import FIGURE_NAMES, LIKE

NAMES = [name.key for name in FIGURE_NAMES]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("notebook")
    shape: dict[str, Any] = {"layers": 3, "heads": 2, "rows": 3, "cols": 4, "queries": 18}
    first = make_run(folder / "a", **shape)
    var = vs.Redistribution(rho=0.35)
    listed = [first, make_run(folder / "b", **shape, name="VAR", intervention=var)]
    for tokens in ("visual-sinks", "random-visual"):
        changed = {"intervention": vs.Knockout(tokens=tokens), "teacher": first.id}
        listed.append(make_run(folder / tokens, **shape, name=tokens, **changed))
    return vs.open_session(vs.save_session(folder / "s.vars", listed)).runs


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_a_function(runs: Any, name: str) -> None:
    from matplotlib.figure import Figure

    more: dict[str, Any] = {}
    if name == "answers":
        more["compare_with"] = runs["VAR"]
    if name in ("before_after", "knockout", "next_token"):
        more["others"] = runs
    drawing = getattr(vs.figures, name)(runs[0], **more)
    assert isinstance(drawing, Figure) and drawing.axes
    function = getattr(vs.figures, name)
    assert function.__name__ == name and inspect.signature(function).parameters["run"]
    assert function.__doc__ and "matplotlib Figure" in function.__doc__
    assert name in dir(vs.figures)


def test_the_papers_figures_go_by_their_numbers(runs: Any) -> None:
    for other in LIKE:
        assert callable(getattr(vs.figures, other))
    assert vs.figures.fig8(runs[0]).axes


def test_nothing_but_figures_is_listed() -> None:
    assert dir(vs.figures) == sorted([*NAMES, *LIKE])


def test_what_is_no_run_no_options_and_no_settings_is_refused(runs: Any, tmp_path: Path) -> None:
    for call in (
        lambda: vs.figures.map(3),
        lambda: vs.figures.maps(None, tokens=["a"]),
        lambda: vs.figures.map(runs),
        lambda: vs.figures.map(runs[0], options={}),
        lambda: vs.figures.map(runs[0], settings={"rho": 0.5}),
        lambda: vs.figures.answers(runs[0], compare_with=3),
        lambda: vs.figures.before_after(runs[0], others=3),
        lambda: vs.figures.before_after(runs[0], others=[3]),
        lambda: vs.figures.maps(runs[0], tokens=3),
        lambda: vs.figures.maps(runs[0], tokens="Answer"),
        lambda: vs.figures.maps(runs[0], tokens=[]),
        lambda: vs.export_figure(3, "map", tmp_path / "m.png"),  # type: ignore[arg-type]
    ):
        with pytest.raises(vs.VarStudioError):
            call()


@pytest.mark.parametrize(
    ("figure", "choice", "users"),
    [
        ("heads", {"options": vs.MapOptions(gamma=0.5)}, "map, maps"),
        ("heads", {"forced": 0}, "answers"),
        ("fig1", {"options": vs.MapOptions(quantity="contribution")}, "used by map."),
        ("fig4", {"options": vs.MapOptions(robust=False)}, "map, maps"),
        ("maps", {"others": [0]}, "before_after"),
        ("shares", {"layer": 2}, "map, heads"),
        ("layers", {"head": 1}, "map, heads"),
        ("histogram", {"heads": [(1, 1)]}, "map, heads"),
        ("ledger", {"aggregate": "max"}, "map, scatter"),
        ("next_token", {"row_of": "produced"}, "map, heads"),
        ("heads", {"compare_with": 0}, "map, answers"),
        ("knockout", {"settings": vs.Redistribution(rho=0.2)}, "map, heads"),
        ("map", {"tokens": ["blue"]}, "maps, many_tokens"),
    ],
)
def test_a_choice_that_changes_nothing_is_refused(
    runs: Any, figure: str, choice: dict[str, Any], users: str
) -> None:
    for name in ("forced", "compare_with", "others"):
        if name in choice:
            choice = {name: [runs[1]] if name == "others" else runs[1]}
    with pytest.raises(vs.VarStudioError, match=f"changes nothing in .*{users}"):
        getattr(vs.figures, figure)(runs[0], **choice)


def test_what_is_as_by_default_is_no_choice(runs: Any) -> None:
    """A caller may pass on what it was not given."""
    plain = {"layer": None, "options": None, "others": (), "row_of": "query", "aggregate": "mean"}
    assert vs.figures.shares(runs[0], **plain).axes


def test_a_file_is_refused_what_its_figure_does_not_show(runs: Any, tmp_path: Path) -> None:
    for choice in ({"options": vs.MapOptions(gamma=0.5)}, {"forced": runs[1]}):
        with pytest.raises(vs.VarStudioError, match=r"A heads (shows no map|scores no answer)"):
            vs.export_figure(runs[0], "heads", tmp_path / "h.svg", **choice)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_tokens_may_be_an_array(runs: Any) -> None:
    import numpy as np

    last = runs[0].query_positions[-2:]
    assert isinstance(last, np.ndarray) and vs.figures.maps(runs[0], tokens=last).axes


def test_no_module_takes_the_name_of_a_figure() -> None:
    """Once it was imported, it would be what `vs.figures.NAME` is."""
    import pkgutil

    from var_studio import figures
    from var_studio.figures.names import BY_KEY, LIKE

    modules = {module.name for module in pkgutil.iter_modules(figures.__path__)}
    assert "render" in modules
    assert not modules & {*BY_KEY, *LIKE}


def test_it_is_the_figure_that_is_exported(runs: Any, tmp_path: Path) -> None:
    """The same texts, at the same size, for words named one way and positions another."""
    from var_studio.figures.export import draw_figure
    from var_studio.figures.render import render

    word = next(t.position for t in runs[0].tokens if t.text.strip() == "blue")
    here = vs.figures.map(runs[0], token="blue", layer=1, head=1, width="column")
    drawn = draw_figure(runs[0], "map", token=word, layer=1, head=1, width="column")
    there = render(drawn.figure, "column")
    assert here.get_size_inches().tolist() == there.get_size_inches().tolist()

    def texts(drawing: Any) -> list[str]:
        return [text.get_text() for text in drawing.findobj(match=_is_text)]

    assert texts(here) == texts(there)
    assert any("blue" in text for text in texts(here))
    two = vs.figures.maps(runs[0], tokens=["blue", "square"])
    assert {"“blue” g1", "“square” g2"} <= {t.strip() for t in texts(two)}


def _is_text(artist: Any) -> bool:
    return hasattr(artist, "get_text") and bool(artist.get_text())


def test_a_notebook_shows_it_without_pyplot(runs: Any) -> None:
    assert vs.figures.heads(runs[0])._repr_png_().startswith(b"\x89PNG")


def test_what_cannot_be_drawn(runs: Any) -> None:
    with pytest.raises(AttributeError, match=r"no figure 'mpa'\. There are map,"):
        vs.figures.mpa  # noqa: B018
    with pytest.raises(TypeError, match="no choice 'lyer'"):
        vs.figures.map(runs[0], lyer=3)
    with pytest.raises(vs.VarStudioError, match="No token with a row"):
        vs.figures.map(runs[0], token="zzzz")
    with pytest.raises(vs.VarStudioError, match="Give a list of tokens"):
        vs.figures.maps(runs[0], tokens="blue")
