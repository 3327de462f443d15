"""Figures of a session that was saved in part: as of the whole one, or said to be missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.analysis.choice import NoRowError, read
from var_studio.figures.build import FIGURES, MapOptions, build, build_heads, build_map
from var_studio.figures.export import export_figure
from var_studio.figures.spec import Figure, ImagePanel
from var_studio.recording.content import Content
from var_studio.recording.recording import Recording
from var_studio.recording.session import open_session, save_session
from var_studio.recording.settings import Redistribution

OF_THE_ROW = {"entropy", "contribution", "contribution_share"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make_run(tmp_path_factory.mktemp("whole") / "run", precision="float32", seed=3)


@pytest.fixture(scope="module")
def parts(whole: Recording, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recording]:
    folder = tmp_path_factory.mktemp("parts")
    choices = {
        "maps": Content(maps=True),
        "words": Content(tokens=("g0", "g2")),
        "no picture": Content(images=False),
    }
    return {
        name: open_session(save_session(folder / f"{name}.vars", whole, content=content)).runs[0]
        for name, content in choices.items()
    }


def said(figure: Figure) -> str:
    """All words of a figure."""
    panels = [panel for row in figure.rows for panel in row]
    return " ".join([figure.title, *figure.notes, *(getattr(p, "title", "") for p in panels)])


@pytest.mark.parametrize("kind", ["maps", "words", "no picture"])
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure(
    whole: Recording, parts: dict[str, Recording], tmp_path: Path, name: str, kind: str
) -> None:
    token = int(whole.generated_positions[2])
    settings = Redistribution(rho=0.2)
    mine, its = (
        build(name, read(run, token=token, settings=settings)) for run in (parts[kind], whole)
    )
    assert "nan" not in said(mine).lower().split()
    assert (" not known (" in said(mine)) == (kind == "maps" and name in ("ledger", "contribution"))
    assert mine.arrays.keys() == its.arrays.keys()
    if name == "shares" and kind == "words":
        # One point for each row that is there.
        assert len(mine.table or []) <= len(its.table or [])
    else:
        for key, array in its.arrays.items():
            found = mine.arrays[key]
            if array.dtype.kind != "f":
                assert np.array_equal(found, array), key
                continue
            unknown = np.isnan(found) & ~np.isnan(array)
            if kind != "maps":
                assert not unknown.any(), key
            else:
                assert not unknown.all() or key in OF_THE_ROW, key
            assert np.allclose(found[~unknown], array[~unknown], rtol=1e-4, equal_nan=True), key
    written = export_figure(parts[kind], name, tmp_path / "f.svg", token=token, settings=settings)
    assert written[0].stat().st_size > 1000


def test_a_map_without_its_picture_lies_on_an_empty_one(
    whole: Recording, parts: dict[str, Recording]
) -> None:
    figure, usual = (build_map(read(run)) for run in (parts["no picture"], whole))
    assert "The picture was left out when the session was saved." in figure.notes
    assert "The picture was left out when the session was saved." not in usual.notes
    for row, as_usual in zip(figure.rows, usual.rows, strict=True):
        for mine, its in zip(row, as_usual, strict=True):
            assert isinstance(mine, ImagePanel) and isinstance(its, ImagePanel)
            assert mine.picture is not None and len(np.unique(mine.picture)) == 1
            assert its.picture is not None and len(np.unique(its.picture)) > 1
            assert replace(mine, picture=None, heats=()) == replace(its, picture=None, heats=())


def test_a_map_after_that_is_not_known(parts: dict[str, Recording]) -> None:
    figure = build_map(
        read(parts["maps"], settings=Redistribution(target="both", rho=0.2)), options=MapOptions()
    )
    assert any("The map after is not known" in note for note in figure.notes)
    assert np.isnan(figure.arrays["after"]).all() and not np.isnan(figure.arrays["before"]).any()


def test_a_token_whose_row_was_left_out(parts: dict[str, Recording], whole: Recording) -> None:
    position = int(whole.generated_positions[5])
    with pytest.raises(NoRowError, match="was left out when the session was saved"):
        read(parts["words"], token=position)
    with pytest.raises(NoRowError, match="has no row"):
        read(parts["words"], token=3)


def test_a_value_of_heads_that_is_not_known(parts: dict[str, Recording], whole: Recording) -> None:
    figure = build_heads(read(parts["maps"]), values=("entropy", "visual_mass"))
    assert sum("Entropy of the row (nats) is not known" in note for note in figure.notes) == 1
    assert "mass (% of the row) is not known" not in said(figure)
    assert "not known" not in said(build_heads(read(whole), values=("entropy",)))
