"""What the scatter plots, curves and bars look like, light and dark, wide and low."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import cropped_run, settle, stage
from tests.visual.conftest import BASELINES, SHARE, Matches, different_share
from tests.visual.pixels import unfocused
from var_studio.analysis.shares import image_centric_share
from var_studio.gui import theme
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.contribution import ContributionPanel
from var_studio.gui.panels.head_scatter import HeadScatterPanel
from var_studio.gui.panels.hidden_state import HiddenStatePanel
from var_studio.gui.panels.layers import LayersPanel
from var_studio.gui.panels.phi_alpha import PhiAlphaPanel
from var_studio.gui.panels.shares import SharesPanel
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)

CASES: dict[str, tuple[type[Panel], tuple[int, int]]] = {
    "phi-alpha": (PhiAlphaPanel, (560, 300)),
    "phi-alpha-low": (PhiAlphaPanel, (900, 180)),
    "head-scatter": (HeadScatterPanel, (560, 300)),
    "head-scatter-low": (HeadScatterPanel, (900, 180)),
    "layers": (LayersPanel, (760, 260)),
    "hidden-state": (HiddenStatePanel, (900, 260)),
    "contribution": (ContributionPanel, (560, 240)),
    "shares": (SharesPanel, (760, 220)),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    return cropped_run(tmp_path / "run", monkeypatch, layers=6, heads=6, queries=24, varied=True)


def picture_of(qtbot: QtBot, run: Recording, name: str, scheme: str) -> np.ndarray:
    """The panel of a case without its header: (height, width, 3) uint8."""
    kind, size = CASES[name]
    image_centric_share(run, Redistribution())  # all rows at once: no half of them on the picture
    QtWidgets.QApplication.setPalette(theme.palette(scheme))  # type: ignore[arg-type]
    panel = kind()
    workspace = stage(qtbot, panel, run, size=size)
    workspace.selection.set_layer(3)
    workspace.selection.select_heads([(3, 1), (3, 4)])
    workspace.selection.select_cells([5, 40, 41])
    if isinstance(panel, PhiAlphaPanel):
        panel.text.click()
    settle()
    return unfocused(panel)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", CASES)
def test_curves_look_as_before(
    qtbot: QtBot,
    same_look: None,
    run: Recording,
    matches_baseline: Matches,
    name: str,
    scheme: str,
) -> None:
    matches_baseline(picture_of(qtbot, run, name, scheme), f"{name}-{scheme}")


def test_points_elsewhere_are_seen(
    qtbot: QtBot,
    same_look: None,
    run: Recording,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: φ of half the size lies elsewhere."""
    phi = run.phi() * np.float32(0.5)
    monkeypatch.setattr(type(run), "phi", lambda self, layer=None, sink_dims=None: phi)
    picture = picture_of(qtbot, run, "phi-alpha", "light")
    baseline = np.asarray(Image.open(BASELINES / "phi-alpha-light.png").convert("RGB"))
    assert different_share(picture, baseline) > 2 * SHARE


def test_light_and_dark_differ() -> None:
    """Negative control: a panel that ignored its palette would show."""
    for name in CASES:
        light, dark = (
            np.asarray(Image.open(BASELINES / f"{name}-{scheme}.png").convert("RGB"))
            for scheme in ("light", "dark")
        )
        assert different_share(light, dark) > 0.3
