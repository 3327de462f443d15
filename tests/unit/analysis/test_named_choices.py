"""What a choice may be: every way to say an index, and no word that is misspelt."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from PIL import Image

import var_studio as vs
from tests.synthetic import make_run
from var_studio.figures.map_panels import MapOptions

L, H = 4, 3
ASKED = ("attention", "redistributed", "intervened", "contribution")
WORD = {"token": "g1"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("choices")
    made = make_run(folder / "a", layers=L, heads=H, rows=3, cols=5, queries=20, varied=True)
    return vs.open_session(vs.save_session(folder / "s.vars", [made])).runs[0]


@pytest.mark.parametrize("name", [*ASKED, "value_norm"])
def test_an_array_is_a_list(run: Any, name: str) -> None:
    word = {} if name == "value_norm" else WORD
    ask = getattr(run, name)
    whole = ask(**word)
    at = np.array([2, 0])
    assert np.array_equal(ask(**word, layer=at), whole[[2, 0]])
    assert np.array_equal(ask(**word, head=at), whole[:, [2, 0]])
    assert np.array_equal(ask(**word, layer=at, head=np.array([1])), whole[[2, 0]][:, [1]])
    assert np.array_equal(ask(**word, layer=range(1, 3), head=(0, 2)), whole[1:3][:, [0, 2]])
    for one in (3, np.int32(3), np.array(3)):
        assert np.array_equal(ask(**word, layer=one), whole[3])


def test_a_mask_picks_where_it_is_true(run: Any) -> None:
    whole, mask = run.attention(**WORD), np.array([True, False, True, False])
    assert np.array_equal(run.attention(**WORD, layer=mask), whole[mask])
    assert np.array_equal(run.attention(**WORD, layer=mask.tolist()), whole[mask])
    assert np.array_equal(run.phi(layer=mask), run.phi()[mask], equal_nan=True)
    assert np.array_equal(run.sinks(layer=np.array([0, 2])), run.sinks()[[0, 2]])
    assert np.array_equal(run.map(**WORD, layer=mask), run.map(**WORD, layer=[0, 2]))
    rows = np.arange(len(run.query_positions)) % 2 == 0
    assert np.array_equal(run.attention(rows)[1], run.attention(2))
    maps = vs.maps_of(run, layers=mask, heads=np.array([2])).arrays
    assert maps["layers"].tolist() == [0, 2] and maps["heads"].tolist() == [2]


@pytest.mark.parametrize(
    "wrong",
    [
        np.array([True, False]), [True], True, np.True_, 1.0, np.array(1.0), np.array([0.5]),
        [[0, 1]], np.array([[0, 1]]), {0, 1}, {0: 1}, "Mean", b"mean", [], np.array([]),
        np.zeros(L, bool), 4, -1, [0, 4], slice("a", None), slice(9, 10), object(), ["mean"],
    ],
    ids=repr,
)  # fmt: skip
def test_anything_else_is_refused(run: Any, wrong: Any) -> None:
    for ask in (run.attention, run.contribution, run.map, run.read, run.ledger):
        for axis in ("layer", "head"):
            with pytest.raises(vs.VarStudioError):
                ask(**WORD, **{axis: wrong})
    for ask in (run.phi, run.sinks, run.value_norm):
        with pytest.raises(vs.VarStudioError):
            ask(layer=wrong)
    for axis in ("layer", "head"):
        with pytest.raises(vs.VarStudioError):
            vs.figures.map(run, **{axis: wrong})


@pytest.mark.parametrize(
    "wrong", [True, np.False_, 1.5, {1}, np.array([1, 2]), ("g1",), ("a", "b")]
)
def test_what_names_no_row_is_refused(run: Any, wrong: Any) -> None:
    with pytest.raises(vs.VarStudioError):
        run.map(token=wrong)
    with pytest.raises(vs.VarStudioError):
        vs.figures.map(run, token=wrong)
    with pytest.raises(vs.VarStudioError):
        run.attention(token=wrong)
    with pytest.raises(vs.VarStudioError):
        run.image_centric(query=wrong)
    if not isinstance(wrong, np.ndarray):
        with pytest.raises(vs.VarStudioError):
            run.attention(query=wrong)


@pytest.mark.parametrize("wrong", [True, 0.0, np.array([0]), "0", 5])
def test_an_image_and_a_view_are_numbers(run: Any, wrong: Any) -> None:
    for axis in ("image", "view"):
        with pytest.raises(vs.VarStudioError):
            run.map(**WORD, **{axis: wrong})
        with pytest.raises(vs.VarStudioError):
            vs.figures.map(run, options=vs.MapOptions(**{axis: wrong}))


@pytest.mark.parametrize(
    "wrong", [3, "ALL", [1, 2], [(0, 1, 2)], [(0, 1.5)], [(True, 0)], [(9, 0)]]
)
def test_pairs_of_heads_are_pairs(run: Any, wrong: Any) -> None:
    with pytest.raises(vs.VarStudioError):
        vs.figures.map(run, heads=wrong)


# ------------------------------------------------------------------- words, by introspection


def _words(kind: Any) -> Iterator[Any]:
    """The Literals of a type."""
    if get_origin(kind) is Literal:
        yield kind
    for part in get_args(kind) if get_origin(kind) is not Literal else ():
        yield from _words(part)


def _own_methods(kind: type) -> Iterator[tuple[str, Any]]:
    for name, member in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_") and member.__module__.startswith("var_studio"):
            yield name, member


def _hints(function: Any) -> dict[str, Any]:
    """The types of parameters; names that only a type checker imports hold no words."""
    names: dict[str, Any] = {"Image": Image}
    while True:
        try:
            return typing.get_type_hints(function, localns=names)
        except NameError as error:
            names[error.name] = Any


def _choices() -> Iterator[tuple[str, str]]:
    """Every function of the library that takes words, and the parameter."""
    for name in vs.__all__:
        thing = getattr(vs, name)
        functions = [(name, thing)] if inspect.isfunction(thing) else []
        if inspect.isclass(thing):
            functions += [(f"{name}.{own}", method) for own, method in _own_methods(thing)]
            if thing is MapOptions or hasattr(thing, "model_fields"):
                functions.append((name, thing))
        for said, function in functions:
            for parameter, kind in _hints(function).items():
                if parameter not in ("return", "kind") and any(_words(kind)):
                    yield said, parameter


CHOICES = list(_choices())
WITH_TORCH = ("forecast", "load_model")
"""They say first which library is missing."""


def test_words_are_found_at_all() -> None:
    """Else the next test would pass for nothing."""
    assert {
        ("Recording.map", "moment"), ("Recording.map", "quantity"),
        ("Recording.read", "aggregate"), ("Recording.ledger", "row_of"),
        ("Recording.head_value", "name"), ("Recording.sinks", "convention"),
        ("MapOptions", "quantity"), ("load_model", "quantization"),
        ("Redistribution", "target"), ("export_figure", "tokens"), ("maps_of", "row_of"),
    } <= set(CHOICES)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        pytest.param(*choice, marks=pytest.mark.torch if choice[0] in WITH_TORCH else ())
        for choice in CHOICES
    ],
)
def test_a_misspelt_word_is_refused(run: Any, tmp_path: Path, name: str, parameter: str) -> None:
    kind = _hints(_function(run, name))[parameter]
    words = [word for found in _words(kind) for word in get_args(found)]
    for wrong in (words[0].capitalize(), f" {words[0]}", "", "nonsense"):
        given: dict[str, Any] = {parameter: wrong}
        if name == "export_figure":
            figure = "maps" if parameter == "tokens" else "map"
            given |= {"run": run, "figure": figure, "path": tmp_path / "m.png"}
        elif name == "maps_of":
            given["run"] = run
        elif name == "forecast":
            given |= {"model": "demo", "image": (64, 64)}
        elif name == "load_model":
            given["name_or_path"] = "demo"
        elif "token" in inspect.signature(_function(run, name)).parameters:
            given |= WORD
        with pytest.raises(vs.VarStudioError) as refused:
            _function(run, name)(**given)
        assert any(word in str(refused.value) for word in words), refused.value
    assert not list(tmp_path.iterdir())


def _function(run: Any, name: str) -> Callable[..., Any]:
    method = name.removeprefix("Recording.")
    return getattr(vs, name) if method == name else getattr(run, method)  # type: ignore[no-any-return]
