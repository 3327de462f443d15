"""What the panels look like, light and dark; a transposed map must not pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import COLS, ROWS, cropped_run, stage
from tests.visual.conftest import BASELINES, SHARE, Matches, different_share
from tests.visual.pixels import unfocused
from var_studio.gui import theme
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.heads import HeadsPanel
from var_studio.gui.panels.image import ImagePanel
from var_studio.gui.panels.ledger import LedgerPanel
from var_studio.gui.panels.phi_histogram import PhiHistogramPanel
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)

HEAD = {"heads": [(3, 1)]}

CASES: dict[str, tuple[type[Panel], dict[str, object], dict[str, object], tuple[int, int]]] = {
    # name: panel, selection, view, size
    "image-before": (ImagePanel, {}, {}, (520, 440)),
    "image-all": (ImagePanel, HEAD, {"shown": "all", "smooth": True}, (760, 360)),
    "image-difference": (ImagePanel, {}, {"shown": "difference"}, (520, 440)),
    "heads-ratio": (HeadsPanel, HEAD, {}, (440, 440)),
    "heads-thumbnails": (HeadsPanel, {}, {"thumbnails": True}, (440, 440)),
    "heads-difference": (
        HeadsPanel,
        HEAD,
        {"thumbnails": True, "shown": "difference"},
        (440, 440),
    ),
    "heads-sorted": (
        HeadsPanel,
        {"heads": [(3, 1), (2, 4), (2, 5)]},
        {"head_order": "sorted", "aggregate": "max"},
        (440, 440),
    ),
    "phi-histogram": (PhiHistogramPanel, {}, {}, (560, 260)),
    "ledger": (LedgerPanel, HEAD, {}, (520, 240)),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    return cropped_run(tmp_path / "run", monkeypatch, layers=6, heads=6)


def picture_of(qtbot: QtBot, run: Recording, name: str, scheme: str) -> np.ndarray:
    """The panel of a case without its header: (height, width, 3) uint8."""
    kind, selection, view, size = CASES[name]
    QtWidgets.QApplication.setPalette(theme.palette(scheme))  # type: ignore[arg-type]
    panel = kind()
    workspace = stage(qtbot, panel, run, size=size)
    if selection:
        workspace.selection.set_layer(3)
        workspace.selection.select_heads(selection["heads"])  # type: ignore[arg-type]
    workspace.view.set(**view)
    if isinstance(panel, ImagePanel):
        panel.pick(COLS * 2 + 1)
    return unfocused(panel)


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
    matches_baseline(picture_of(qtbot, run, name, scheme), f"{name}-{scheme}")


@pytest.mark.parametrize("name", ["image-before", "heads-thumbnails"])
def test_a_transposed_map_is_seen(
    qtbot: QtBot,
    same_look: None,
    run: Recording,
    name: str,
) -> None:
    """Negative control: the comparison notices what it is there to notice."""
    tokens = run.layout.views[0].tokens
    swapped = tokens.reshape(COLS, ROWS).T.copy()
    assert swapped.shape == tokens.shape and (swapped != tokens).any()
    tokens[:] = swapped
    picture = picture_of(qtbot, run, name, "light")
    baseline = np.asarray(Image.open(BASELINES / f"{name}-light.png").convert("RGB"))
    assert different_share(picture, baseline) > 4 * SHARE


def test_light_and_dark_differ() -> None:
    """Negative control: a panel that ignored its palette would show."""
    for name in CASES:
        light, dark = (
            np.asarray(Image.open(BASELINES / f"{name}-{scheme}.png").convert("RGB"))
            for scheme in ("light", "dark")
        )
        assert different_share(light, dark) > 0.3
