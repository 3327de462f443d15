"""Pictures of panels, compared with baselines that a person has looked at.

`UPDATE_BASELINES=1 pytest tests/visual` writes them anew; look at every one before committing.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

Matches = Callable[[np.ndarray, str], None]
BASELINES = Path(__file__).parent / "baselines"
BLOCK = 4
FAR = 24
"""A block differs if its mean colour is this far off, of 255: more than another text renderer."""
SHARE = 0.004
"""So many blocks may differ."""

collect_ignore_glob: list[str] = []
if importlib.util.find_spec("PySide6") is None or importlib.util.find_spec("pytestqt") is None:
    collect_ignore_glob = ["test_*.py"]


def different_share(one: np.ndarray, other: np.ndarray) -> float:
    """Share of 4 × 4 blocks whose mean colours are far apart; 1 for pictures of other sizes."""
    if one.shape != other.shape:
        return 1.0
    distance = np.abs(_blocks(one) - _blocks(other)).max(axis=-1)
    return float((distance > FAR).mean())


def _blocks(picture: np.ndarray) -> np.ndarray:
    height, width = (side - side % BLOCK for side in picture.shape[:2])
    cut = picture[:height, :width].astype(float)
    return cut.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).mean(axis=(1, 3))


@pytest.fixture
def matches_baseline(tmp_path: Path) -> Matches:
    """Compare a picture (height, width, 3) uint8 with the baseline of a name, or write it."""

    def check(picture: np.ndarray, name: str) -> None:
        path = BASELINES / f"{name}.png"
        if os.environ.get("UPDATE_BASELINES"):
            Image.fromarray(picture).save(path, optimize=True)
            return
        assert path.exists(), f"no baseline {path.name}: see tests/visual/conftest.py"
        baseline = np.asarray(Image.open(path).convert("RGB"))
        share = different_share(picture, baseline)
        if share > SHARE:
            seen = tmp_path / path.name
            Image.fromarray(picture).save(seen)
            pytest.fail(f"{share:.2%} of {path.name} differs (at most {SHARE:.2%}); see {seen}")

    return check


@pytest.fixture
def same_look(qapp: QApplication) -> Iterator[None]:
    """The same font on every machine, the one that matplotlib brings along; palette restored."""
    import matplotlib
    from PySide6 import QtGui

    before, style, palette = qapp.font(), qapp.style().name(), qapp.palette()
    sheet = qapp.styleSheet()
    qapp.setStyleSheet("")  # a window of another test may have left the theme's
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    number = QtGui.QFontDatabase.addApplicationFont(str(folder / "DejaVuSans.ttf"))
    font = QtGui.QFont(QtGui.QFontDatabase.applicationFontFamilies(number)[0])
    font.setPixelSize(12)
    font.setHintingPreference(QtGui.QFont.HintingPreference.PreferNoHinting)
    qapp.setFont(font)
    qapp.setStyle("Fusion")
    yield
    qapp.setStyleSheet(sheet)
    qapp.setFont(before)
    qapp.setStyle(style)
    qapp.setPalette(palette)
