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
from tests.gui.export_stage import asked, asked_for
from tests.gui.fixtures import IGNORE_QT, notices, press, settle
from tests.synthetic import make_run
from var_studio.figures.data import load_settings
from var_studio.gui.export import ExportDialog
from var_studio.gui.main_window import MainWindow
from var_studio.gui.panels.image import ImagePanel

pytestmark = IGNORE_QT
Ctrl = QtCore.Qt.KeyboardModifier.ControlModifier


def open_dialog(window: MainWindow, qtbot: QtBot) -> ExportDialog:
    qtbot.keyClick(window, QtCore.Qt.Key.Key_E, Ctrl)
    (dialog,) = window.findChildren(ExportDialog)
    return dialog


def test_nothing_to_export_yet(window: MainWindow, qtbot: QtBot) -> None:
    qtbot.keyClick(window, QtCore.Qt.Key.Key_E, Ctrl)
    assert "nothing to export" in notices(window)[0]
    assert window.findChildren(ExportDialog) == []


def test_map_as_pdf_and_png_with_arrays_and_settings(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
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


def test_a_figure_names_the_word_on_screen_and_whose_row_it_is(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run")
    window.workspace.add_run(run)
    selection = window.workspace.selection
    selection.select_token(int(run.generated_positions[2]))
    selection.set_row_of("produced")
    settle(qtbot)
    dialog = open_dialog(window, qtbot)
    dialog.formats["svg"].setChecked(True)
    dialog.file.setText(str(tmp_path / "figure"))
    press(qtbot, dialog.export_button)
    settle(qtbot)
    position = selection.position
    assert position is not None
    word = run.tokens[position].text.strip()
    subject = window.area.panel("image").subject.text()  # type: ignore[attr-defined]
    assert subject.startswith(f"‘{word}’ (position {position})")
    assert subject.endswith("step that produced it")
    text = (tmp_path / "figure.svg").read_text("utf-8")
    assert f"{word}” (position {position}, g2), row of the step that produced it" in text
    arrays, query = np.load(tmp_path / "figure.npz"), run.query_of(position - 1)
    assert query is not None
    row = run.attention(query).mean((0, 1))[run.layout.positions]
    np.testing.assert_allclose(arrays["before"], row, rtol=1e-5)


def test_export_where_the_disk_refuses(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    dialog = open_dialog(window, qtbot)
    dialog.file.setText(str(tmp_path / "missing folder" / "figure"))
    press(qtbot, dialog.export_button)
    settle(qtbot)
    assert len(notices(window)) == 1 and "figure" in notices(window)[0]
    assert window.workspace.reading is not None


def test_no_format_no_export(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
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
    window: MainWindow, qtbot: QtBot, tmp_path: Path
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
    window: MainWindow, qtbot: QtBot, tmp_path: Path
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
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def batch(window: MainWindow, folder: Path, each: str) -> ExportDialog:
    """The dialog, set to a small PNG of each of several words."""
    dialog = asked_for(window, folder, "png")
    dialog.each.setCurrentIndex(dialog.each.findData(each))
    dialog.dpi.setValue(72)
    dialog.with_data.setChecked(False)
    return dialog


def test_a_file_of_each_word_of_the_answer(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    import csv
    import json

    workspace = window.workspace
    run = make_run(tmp_path / "run", queries=16)
    workspace.add_run(run)
    workspace.selection.select_heads([(3, 2), (4, 1)], 4)
    workspace.method.set(rho=0.45)
    workspace.view.set(gamma=0.5, aggregate="max")
    settle(qtbot)
    dialog = batch(window, tmp_path / "out", "generated")
    assert dialog.several and not dialog.chosen.isVisible()
    press(qtbot, dialog.export_button)
    assert window.takeaway.busy
    qtbot.waitUntil(lambda: not window.takeaway.busy, timeout=120_000)
    with open(tmp_path / "out" / "index.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["position"]) for line in lines] == run.generated_positions.tolist()
    for line in lines:
        row = run.query_of(int(line["position"])) is not None
        assert (line["state"] == "written") == row
        if row:
            with Image.open(tmp_path / "out" / line["file"]) as png:
                about = json.loads(png.text["Description"])
            assert about["heads"] == [[3, 2], [4, 1]] and about["layer"] == 4
            assert about["rho"] == 0.45 and about["aggregate"] == "max"
            assert about["token"]["position"] == int(line["position"])
            assert about["drawing"]["options"]["gamma"] == 0.5
    drawn = sum(line["state"] == "written" for line in lines)
    assert f"figures of {drawn} words" in notices(window)[0]
    # Once more into the same folder: nothing is replaced unless it is asked for.
    dialog = batch(window, tmp_path / "out", "generated")
    press(qtbot, dialog.export_button)
    assert not window.takeaway.busy
    assert "exist in" in " ".join(notices(window))


def test_chosen_words_have_to_be_there(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", queries=16)
    window.workspace.add_run(run)
    settle(qtbot)
    dialog = batch(window, tmp_path / "out", "chosen")
    assert dialog.chosen.isVisible() and not dialog.export_button.isEnabled()
    dialog.chosen.setText("nowhere")
    press(qtbot, dialog.export_button)
    assert "no word 'nowhere'" in notices(window)[0] and not (tmp_path / "out").exists()
    dialog = batch(window, tmp_path / "out", "chosen")
    dialog.chosen.setText("g0, g2")
    press(qtbot, dialog.export_button)
    qtbot.waitUntil(lambda: not window.takeaway.busy)
    assert len(list((tmp_path / "out").glob("map-t*.png"))) == 2


def test_a_figure_that_is_there_is_not_replaced_unasked(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    (tmp_path / "figure.npz").write_text("mine")
    dialog = asked(window)
    dialog.formats["png"].setChecked(False)
    dialog.file.setText(str(tmp_path / "figure"))
    assert not dialog.export_button.isEnabled() and "figure.npz exists" in dialog.note.text()
    dialog.with_data.setChecked(False)
    assert dialog.export_button.isEnabled()
    dialog.with_data.setChecked(True)
    dialog.replace.setChecked(True)
    press(qtbot, dialog.export_button)
    settle(qtbot)
    assert (tmp_path / "figure.npz").read_bytes().startswith(b"PK")
    dialog = asked(window)
    assert Path(dialog.file.text()) == tmp_path / "map", "no file of that name is there"
    dialog.reject()
    settle(qtbot)


def test_a_composed_figure_of_the_words_asked_for(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run", rows=4, cols=5, queries=14))
    settle(qtbot)
    dialog = open_dialog(window, qtbot)
    assert not dialog.words.isEnabled()  # a map is of one word
    dialog.figure.setCurrentIndex(dialog.figure.findData("many_tokens"))
    assert dialog.words.isEnabled()
    dialog.words.setCurrentIndex(dialog.words.findData("one"))
    dialog.formats["png"].setChecked(False)
    dialog.file.setText(str(tmp_path / "figure"))
    press(qtbot, dialog.export_button)
    settle(qtbot)
    arrays = np.load(tmp_path / "figure.npz")
    reading = window.workspace.reading
    assert reading is not None
    assert arrays["token_positions"].tolist() == [reading.position]
    np.testing.assert_array_equal(arrays["maps"][0], reading.map_before)
