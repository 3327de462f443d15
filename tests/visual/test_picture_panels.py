"""What the picture looks like with regions, tiles and separators, and the panels beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests import synthetic
from tests.gui.panel_stage import SIZE, cropped_run, settle, stage
from tests.visual.conftest import Matches
from tests.visual.pixels import unfocused
from var_studio.gui import theme
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.image import ImagePanel
from var_studio.gui.panels.inspector import InspectorPanel
from var_studio.gui.panels.regions import RegionsPanel
from var_studio.recording.layout import View, VisualLayout
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)

CUP = [row * 8 + col for row in (5, 6, 7) for col in (2, 3, 4)]
WALL = [row * 8 + col for row in (0, 1) for col in range(8)]


def tiled_layout(
    rows: int, cols: int, image_size: tuple[int, int] = SIZE, start: int = 0
) -> VisualLayout:
    """A thumbnail of 5 × 4, then 6 rows of 12 with a newline each, in tiles that reach 40 pixels
    beyond the picture above and below: 98 tokens."""
    assert rows * cols == 98
    width, height = image_size
    thumbnail = View("thumbnail", 0, (0.0, 0.0, width, height), np.arange(20).reshape(4, 5))
    grid = 20 + np.arange(78).reshape(6, 13)
    tiles = View("tiles", 0, (0.0, -40.0, width, height + 40.0), grid[:, :12].copy())
    boxes = np.full((98, 4), np.nan)
    for view in (thumbnail, tiles):
        xs, ys = view.edges()
        for row, col in np.ndindex(view.tokens.shape):
            top, bottom = max(ys[row], 0.0), min(ys[row + 1], height)
            boxes[view.tokens[row, col]] = xs[col], top, xs[col + 1], bottom
    return VisualLayout(
        image_sizes=(image_size,),
        positions=start + np.arange(98, dtype=np.int64),
        views=(thumbnail, tiles),
        boxes=boxes,
        unseen=((),),
    )


def paint(workspace: Workspace) -> None:
    workspace.regions.add(WALL, "wall")
    workspace.regions.add(CUP, "the red cup")


def bent(workspace: Workspace) -> None:
    paint(workspace)
    workspace.view.set(gamma=0.5, hide_sinks=True, tool="brush", colour_map="cividis")


def steered(workspace: Workspace) -> None:
    paint(workspace)
    workspace.method.set(target="region", region=tuple(CUP))


def picked(workspace: Workspace) -> None:
    workspace.selection.select_cells({9, 10, 12})


def few_sinks(workspace: Workspace) -> None:
    panel = workspace.parent()
    assert isinstance(panel, InspectorPanel)
    panel.keep.button("sinks").click()


def two_runs(workspace: Workspace) -> None:
    """The second run asked the same, and was redistributed in every layer and step."""
    baseline = workspace.run
    assert baseline is not None
    with pytest.MonkeyPatch.context() as patch:
        act = Redistribution(tau=baseline.tau_default, p=0.9, rho=0.3)
        second = cropped_run(
            baseline.path.parent / "second", patch, layers=6, heads=6, intervention=act
        )
    workspace.add_run(second, look=False)
    workspace.view.set(compare="run", shown="all")


def tiles(workspace: Workspace) -> None:
    workspace.selection.select_cells({40, 41, 53})


def others(workspace: Workspace) -> None:
    panel = workspace.parent()
    assert isinstance(panel, InspectorPanel)
    panel.keep.button("others").click()


def nothing(workspace: Workspace) -> None:
    """As it stands."""


CASES: dict[str, tuple[type[Panel], Callable[[Workspace], None], tuple[int, int]]] = {
    "image-regions": (ImagePanel, bent, (520, 440)),
    "image-global": (ImagePanel, two_runs, (760, 360)),
    "image-narrow": (ImagePanel, two_runs, (340, 520)),
    "regions-narrow": (RegionsPanel, steered, (400, 340)),
    "image-tiles": (ImagePanel, tiles, (520, 440)),
    "token-map-tiles": (InspectorPanel, others, (760, 240)),
    "regions": (RegionsPanel, steered, (760, 260)),
    "token-map": (InspectorPanel, picked, (860, 260)),
    "token-map-sinks": (InspectorPanel, few_sinks, (640, 220)),
    "regions-none": (RegionsPanel, nothing, (640, 220)),
}


@pytest.fixture
def run(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Recording:
    if "tiles" not in request.node.name:
        return cropped_run(tmp_path / "run", monkeypatch, layers=6, heads=6)
    monkeypatch.setattr(synthetic, "make_layout", tiled_layout)
    return synthetic.make_run(
        tmp_path / "run", layers=6, heads=6, rows=14, cols=7, queries=16, image_size=SIZE
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", CASES)
def test_panel_looks_as_before(
    qtbot: QtBot,
    same_look: None,
    run: Recording,
    matches_baseline: Matches,
    name: str,
    scheme: str,
) -> None:
    kind, act, size = CASES[name]
    QtWidgets.QApplication.setPalette(theme.palette(scheme))  # type: ignore[arg-type]
    panel = kind()
    workspace = stage(qtbot, panel, run, size=size)
    act(workspace)
    settle()
    matches_baseline(unfocused(panel), f"{name}-{scheme}")
