"""Maps, masks and a page of the session from the Figure menu."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests.answers import answered
from tests.gui.fixtures import IGNORE_QT, notices, settle
from tests.synthetic import make_run
from var_studio.gui.command_list import commands
from var_studio.gui.main_window import MainWindow
from var_studio.gui.takeaway import Takeaway

pytestmark = IGNORE_QT


def choose(window: MainWindow, monkeypatch: pytest.MonkeyPatch, name: str, path: Path) -> None:
    """Pick the entry of the menu, and this file in the dialog that follows."""
    monkeypatch.setattr(QtWidgets.QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), ""))
    (action,) = (a for a in window.menus["Figure"].actions() if a.objectName() == f"action.{name}")
    action.trigger()


def test_maps_and_masks_of_what_is_on_screen(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = window.workspace
    run = make_run(tmp_path / "run")
    choose(window, monkeypatch, "save_maps", tmp_path / "none.npz")
    assert "nothing to export" in " ".join(notices(window))
    workspace.add_run(run)
    workspace.selection.select_head(3, 2)
    workspace.method.set(tau=4.0, rho=0.4)
    settle(qtbot)
    choose(window, monkeypatch, "save_maps", tmp_path / "maps.npz")
    reading = workspace.reading
    assert reading is not None and "maps.npz" in " ".join(notices(window))
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as arrays:
        assert arrays["before"].shape == (1, 1, 1, run.layout.count)
        np.testing.assert_array_equal(arrays["before"].ravel(), reading.map_before)
        np.testing.assert_allclose(arrays["after"].ravel(), reading.map_after, atol=1e-7)
        about = json.loads(str(arrays["settings"]))
    assert (about["layer"], about["head"], about["tau"], about["rho"]) == (3, 2, 4.0, 0.4)
    choose(window, monkeypatch, "save_masks", tmp_path / "sinks")
    with Image.open(tmp_path / "sinks-L03.png") as png:
        marked = np.asarray(png) == 255
    width, height = run.layout.image_sizes[0]
    for k in range(run.layout.count):
        row, col = divmod(k, 10)
        y, x = int((row + 0.5) * height / 10), int((col + 0.5) * width / 10)
        assert marked[y, x] == (run.phi(3)[run.layout.positions[k]] >= 4.0)
    choose(window, monkeypatch, "save_maps", tmp_path / "missing" / "maps.npz")
    assert "cannot be written" in " ".join(notices(window))


def test_the_page_is_written_beside_the_window(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in answered(tmp_path, monkeypatch):
        window.workspace.add_run(run, look=run.teacher is None)
    window.workspace.look_at(window.workspace.runs[0])
    window.workspace.method.set(rho=0.345)
    settle(qtbot)
    choose(window, monkeypatch, "save_gallery", tmp_path / "page.html")
    assert window.takeaway.busy
    choose(window, monkeypatch, "save_gallery", tmp_path / "second.html")
    assert "written already" in " ".join(notices(window))
    qtbot.waitUntil(lambda: not window.takeaway.busy)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "ρ = 0.345" in text and text.count('<section class="run"') == 3
    assert not (tmp_path / "second.html").exists()
    assert "page.html" in " ".join(notices(window))


def hold_until_stopped(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a page wait in its midst until it is to stop: it may be written in a tenth of a second.

    A window that asks for no stop gets its page in the end.
    """
    from var_studio.figures import gallery

    save = gallery.save_gallery

    def held(*args: Any, progress: Callable[[int, int], None], **kwargs: Any) -> Path:
        calls = itertools.count()

        def tell(done: int, total: int) -> None:
            if next(calls) == 1:
                window.takeaway._stop.wait(20)
            progress(done, total)

        return save(*args, progress=tell, **kwargs)

    monkeypatch.setattr(gallery, "save_gallery", held)


def test_stop_leaves_no_page(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    hold_until_stopped(window, monkeypatch)
    choose(window, monkeypatch, "save_gallery", tmp_path / "page.html")
    (dialog,) = window.findChildren(QtWidgets.QProgressDialog)
    dialog.canceled.emit()
    qtbot.waitUntil(lambda: not window.takeaway.busy)
    assert not (tmp_path / "page.html").exists()
    assert notices(window) == []
    settle(qtbot)
    assert window.findChildren(QtWidgets.QProgressDialog) == []


def test_closing_the_window_stops_the_page(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    hold_until_stopped(window, monkeypatch)
    choose(window, monkeypatch, "save_gallery", tmp_path / "page.html")
    window.takeaway.end()
    assert not (tmp_path / "page.html").exists()
    qtbot.waitUntil(lambda: not window.takeaway.busy)


def test_the_palette_has_them(window: MainWindow) -> None:
    assert isinstance(window.takeaway, Takeaway)
    titles = [command.text for command in commands(window)]
    for action in window.takeaway.actions:
        assert action.text().replace("&", "") in titles
        assert action.statusTip()
