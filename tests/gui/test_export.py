"""Exporting the map on screen: files of every kind, with the numbers that are on screen."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests import synthetic
from tests.answers import answered
from tests.gui.fixtures import IGNORE_QT, notices, press, settle, window  # noqa: F401
from tests.synthetic import make_run
from var_studio.figures.data import load_settings
from var_studio.gui.export import ExportDialog
from var_studio.gui.main_window import MainWindow
from var_studio.gui.panels.image import ImagePanel

pytestmark = IGNORE_QT
Ctrl = QtCore.Qt.KeyboardModifier.ControlModifier


def open_dialog(window: MainWindow, qtbot: QtBot) -> ExportDialog:  # noqa: F811
    qtbot.keyClick(window, QtCore.Qt.Key.Key_E, Ctrl)
    (dialog,) = window.findChildren(ExportDialog)
    return dialog


def test_nothing_to_export_yet(window: MainWindow, qtbot: QtBot) -> None:  # noqa: F811
    qtbot.keyClick(window, QtCore.Qt.Key.Key_E, Ctrl)
    assert "nothing to export" in notices(window)[0]
    assert window.findChildren(ExportDialog) == []


def test_map_as_pdf_and_png_with_arrays_and_settings(
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    window.workspace.selection.select_head(3, 2)
    window.workspace.method.set(rho=0.4, p=0.7)
    settle(qtbot)
    dialog = open_dialog(window, qtbot)
    assert dialog.figure.currentData() == "map"
    dialog.file.setText(str(tmp_path / "figure"))
    dialog.dpi.setValue(80)
    press(qtbot, dialog.export_button)
    settle(qtbot)
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(tmp_path / "figure.png") as png:
        assert png.width > 300
    reading = window.workspace.reading
    assert reading is not None
    arrays = np.load(tmp_path / "figure.npz")
    found = [name for name in arrays.files if np.shape(arrays[name]) == reading.map_before.shape]
    assert any(np.array_equal(arrays[name], reading.map_before) for name in found)
    assert load_settings(tmp_path / "figure.json").model_dump() == reading.settings.model_dump()
    assert "figure.pdf" in notices(window)[0]


def test_export_where_the_disk_refuses(
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    dialog = open_dialog(window, qtbot)
    dialog.file.setText(str(tmp_path / "missing folder" / "figure"))
    press(qtbot, dialog.export_button)
    settle(qtbot)
    assert len(notices(window)) == 1 and "figure" in notices(window)[0]
    assert window.workspace.reading is not None


def test_no_format_no_export(
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    dialog = open_dialog(window, qtbot)
    for box in dialog.formats.values():
        box.setChecked(False)
    assert not dialog.export_button.isEnabled()
    dialog.formats["svg"].setChecked(True)
    assert dialog.export_button.isEnabled() and [p.suffix for p in dialog.paths()] == [".svg"]
    dialog.reject()
    settle(qtbot)


def test_the_figure_of_a_map_has_the_colours_on_screen(
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    from var_studio.figures.build import build_map
    from var_studio.figures.render import render

    workspace = window.workspace
    workspace.add_run(make_run(tmp_path / "run", precision="float32"))
    workspace.selection.select_head(3, 2)
    workspace.view.set(
        gamma=0.4, scale="token", opacity=0.8, sinks_boxed=False, hide_sinks=True, robust=False
    )
    settle(qtbot)
    image, reading = window.area.panel("image"), workspace.reading
    assert isinstance(image, ImagePanel) and reading is not None
    heat, layout = image.views["before"], reading.run.layout
    screen = heat.grab().toImage()
    rows, cols = layout.views[0].tokens.shape

    def on_screen(k: int) -> np.ndarray:
        cell = heat.scene().cell(k)
        place = heat.transform().map(cell.center()) * heat.devicePixelRatioF()
        colour = screen.pixelColor(place.toPoint())
        return np.array([colour.red(), colour.green(), colour.blue()], dtype=float)

    def off(path: Path) -> float:
        """Largest distance over the cells, but for a few that lie on an edge in the picture."""
        options = image.map_options(reading)
        box = render(build_map(reading, options=options)).axes[1].get_position()
        with Image.open(path) as opened:
            pixels = np.asarray(opened.convert("RGB")).astype(float)
        apart = []
        for k in range(layout.count):
            _, r, c = layout.cell_of(k)
            y = (1 - box.y1 + (r + 0.5) / rows * (box.y1 - box.y0)) * pixels.shape[0]
            x = (box.x0 + (c + 0.5) / cols * (box.x1 - box.x0)) * pixels.shape[1]
            apart.append(np.abs(pixels[int(y), int(x)] - on_screen(k)).max())
        return float(np.quantile(apart, 0.9))

    def export_png(name: str) -> Path:
        dialog = open_dialog(window, qtbot)
        dialog.file.setText(str(tmp_path / name))
        dialog.formats["pdf"].setChecked(False)
        dialog.with_data.setChecked(False)
        press(qtbot, dialog.export_button)
        settle(qtbot)
        return tmp_path / f"{name}.png"

    same = export_png("same")
    assert off(same) <= 12
    # Control: the same figure, once the screen shows another gamma, or the sinks.
    workspace.view.set(gamma=1.5)
    settle(qtbot)
    screen = heat.grab().toImage()
    assert off(same) > 30


def test_a_path_can_be_typed_letter_by_letter(
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    """On the way to a file's name it is the name of a folder, or of somebody's home."""
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    dialog = open_dialog(window, qtbot)
    able = []
    for typed in ("/", "/t", "~", "~nobody-of-that-name", "."):
        dialog.file.selectAll()
        qtbot.keyClicks(dialog.file, typed)
        able.append(dialog.export_button.isEnabled())
    assert able == [False, True, True, True, False]
    press(qtbot, dialog.buttons.buttons()[0])
    assert notices(window) == []


def test_the_global_comparison_on_screen_is_what_is_exported(
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, seeds = synthetic._Attention, itertools.count(7)
    with monkeypatch.context() as patch:
        patch.setattr(
            synthetic,
            "_Attention",
            lambda _, *rest: plain(np.random.default_rng(next(seeds)), *rest),
        )
        baseline, second, forced = answered(tmp_path, patch)
    for run in (baseline, second, forced):
        window.workspace.add_run(run, look=run.teacher is None)
    window.workspace.look_at(baseline, int(baseline.generated_positions[1]))
    window.workspace.view.set(compare="run", shown="all", gamma=0.5)
    settle(qtbot)
    window.area.panel("image").header.export_button.click()
    (dialog,) = window.findChildren(ExportDialog)
    dialog.formats["svg"].setChecked(True)
    dialog.formats["png"].setChecked(False)
    dialog.file.setText(str(tmp_path / "two"))
    press(qtbot, dialog.export_button)
    settle(qtbot)
    arrays = np.load(tmp_path / "two.npz")
    image = window.area.panel("image")
    assert isinstance(image, ImagePanel) and image._maps is not None
    shown = image._maps
    assert shown.before is not None and shown.after is not None
    np.testing.assert_array_equal(arrays["before"], shown.before)
    np.testing.assert_array_equal(arrays["after"], shown.after)
    np.testing.assert_array_equal(arrays["difference"], shown.after - shown.before)
    # What the local map would have shown is something else.
    reading = window.workspace.reading
    assert reading is not None and np.abs(reading.map_after - arrays["after"]).max() > 1e-3
    drawn = (tmp_path / "two.svg").read_text(encoding="utf-8")
    assert "Global (two runs)" in drawn and "Local (" not in drawn
    limits = image._source.limits(shown, reading, window.workspace.view.current)
    assert image.map_options(reading).limits == limits


def test_two_answers_are_exported_from_the_transcript(
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    baseline, second, _ = answered(tmp_path, monkeypatch)
    window.workspace.add_run(baseline)
    settle(qtbot)
    press(qtbot, window.transcript.header.export_button)
    (dialog,) = window.findChildren(ExportDialog)
    assert dialog.figure.currentData() == "answers"
    press(qtbot, dialog.export_button)
    settle(qtbot)
    assert "no second run" in notices(window)[-1]
    window.workspace.add_run(second)
    settle(qtbot)
    press(qtbot, window.transcript.header.export_button)
    dialog = window.findChildren(ExportDialog)[-1]
    dialog.formats["svg"].setChecked(True)
    dialog.file.setText(str(tmp_path / "words"))
    press(qtbot, dialog.export_button)
    settle(qtbot)
    assert ">mug</text>" in (tmp_path / "words.svg").read_text(encoding="utf-8")
    # The picture has all words, also those that are scrolled away.
    window.transcript.header.copy_button.click()
    picture = window.transcript.picture()
    assert picture.height() >= window.transcript._paragraphs.height()
