"""The window, a run, and a guard: Qt objects die with the test that made them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6 import QtCore, QtWidgets

from tests.gui.fixtures import (  # noqa: F401  (fixtures, by being here)
    answer_boxes,
    demo,
    gate,
    qtbot,
    window,
)
from tests.gui.panel_stage import cropped_run
from var_studio.recording.recording import Recording


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """A small run whose picture is cropped: see `cropped_run`."""
    return cropped_run(tmp_path / "run", monkeypatch)


@pytest.fixture(autouse=True)
def no_stray_window(request: pytest.FixtureRequest, qapp: QtWidgets.QApplication) -> Iterator[None]:
    """Fail the test if a top-level window that it opened is still visible after it."""
    _set_libraries_aside()
    before = {id(w) for w in qapp.topLevelWidgets()}
    yield
    qapp.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
    gc.collect()  # In the GUI thread, where collecting widgets is safe.
    stray = [w for w in qapp.topLevelWidgets() if id(w) not in before and w.isVisible()]
    names = ", ".join(f"{type(w).__name__} {w.windowTitle()!r}" for w in stray)
    for each in stray:
        each.close()
    if stray:
        pytest.fail(f"stray window left open: {names}", pytrace=False)


def _set_libraries_aside() -> None:
    """A collection looks at every object that libraries made, which stay: 0.1 s, with torch 0.6."""
    global _modules_aside
    if len(sys.modules) - _modules_aside > 50:
        gc.collect()  # between two tests: what is left over of one is no library's
        gc.freeze()
        _modules_aside = len(sys.modules)


_modules_aside = 0
