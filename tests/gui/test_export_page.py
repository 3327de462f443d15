"""Exporting in a width and a style of one's own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from tests.gui.export_stage import asked_for
from tests.gui.fixtures import IGNORE_QT, notices, press, settle
from tests.synthetic import make_run
from var_studio.gui import memory
from var_studio.gui.main_window import MainWindow

pytestmark = IGNORE_QT


@pytest.fixture
def style(tmp_path: Path) -> Path:
    path = tmp_path / "lab.mplstyle"
    path.write_text("font.family: monospace\nfont.monospace: DejaVu Sans Mono\npdf.fonttype: 3\n")
    return path


def test_a_length_and_a_style_file_are_what_is_drawn(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, style: Path
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    dialog = asked_for(window, tmp_path / "plain", "pdf", "svg")
    assert dialog.style_file.text() == "" and dialog.width_of.currentText() == "Two columns"
    press(qtbot, dialog.export_button)
    settle(qtbot)
    dialog = asked_for(window, tmp_path / "figure", "pdf", "svg")
    qtbot.keyClicks(dialog.style_file, str(style))
    dialog.width_of.lineEdit().selectAll()
    qtbot.keyClicks(dialog.width_of, "88mm")
    press(qtbot, dialog.export_button)
    settle(qtbot)
    assert "pdf.fonttype" in notices(window)[0], "what of the style stayed as it was is said"
    box = re.compile(rb"MediaBox \[ 0 0 ([\d.]+)")
    pdf = (tmp_path / "figure.pdf").read_bytes()
    (wide,) = box.findall(pdf)
    assert float(wide) == pytest.approx(88 / 25.4 * 72, abs=0.1)
    assert float(box.findall((tmp_path / "plain.pdf").read_bytes())[0]) == pytest.approx(6.9 * 72)
    assert b"DejaVuSansMono" in pdf and b"/Type3" not in pdf
    assert b"DejaVuSansMono" not in (tmp_path / "plain.pdf").read_bytes()
    # Proposed again, as long as it is there.
    assert asked_for(window, tmp_path / "next", "pdf").style_file.text() == str(style)
    style.unlink()
    assert memory.figure_style() == ""


def test_the_script_beside_it_draws_the_same_page(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, style: Path
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    dialog = asked_for(window, tmp_path / "figure", "svg")
    dialog.style_file.setText(str(style))
    dialog.width_of.setEditText("3.5in")
    press(qtbot, dialog.export_button)
    settle(qtbot)
    drawn = (tmp_path / "figure.svg").read_bytes()
    subprocess.run([sys.executable, tmp_path / "figure.py"], check=True, cwd=tmp_path)
    (again,) = {*tmp_path.glob("*.svg")} - {tmp_path / "figure.svg"}
    assert again.read_bytes() == drawn


@pytest.mark.parametrize(
    ("width", "file", "said"),
    [
        ("a page", "", "no width 'a page'"),
        ("88", "", "such as 88mm"),
        ("3mm", "", "no width of a figure"),
        ("Slide", "gone.mplstyle", "no style file"),
    ],
)
def test_no_such_page(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, width: str, file: str, said: str
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    dialog = asked_for(window, tmp_path / "figure", "pdf")
    assert dialog.export_button.isEnabled()
    dialog.width_of.setEditText(width)
    dialog.style_file.setText(str(tmp_path / file) if file else "")
    assert said in dialog.note.text() and not dialog.export_button.isEnabled()
    dialog.width_of.setCurrentIndex(0)
    dialog.style_file.clear()
    assert dialog.export_button.isEnabled() and dialog.width_asked() == "column"
    dialog.reject()
    settle(qtbot)


@pytest.mark.parametrize("each", ["", "generated"])
def test_a_file_that_is_no_style_is_refused_once(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, each: str
) -> None:
    (tmp_path / "bad.mplstyle").write_text("font.size: enormous\n")
    window.workspace.add_run(make_run(tmp_path / "run", queries=16))
    settle(qtbot)
    dialog = asked_for(window, tmp_path / "out", "pdf")
    dialog.each.setCurrentIndex(dialog.each.findData(each))
    dialog.style_file.setText(str(tmp_path / "bad.mplstyle"))
    press(qtbot, dialog.export_button)
    qtbot.waitUntil(lambda: not window.takeaway.busy, timeout=60_000)
    settle(qtbot)
    (said,) = notices(window)
    assert "is no matplotlib style" in said
    assert not list(tmp_path.glob("out*")) and memory.figure_style() == ""


def test_each_of_several_words_in_that_style(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, style: Path
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run", queries=16))
    settle(qtbot)
    dialog = asked_for(window, tmp_path / "out", "pdf")
    dialog.each.setCurrentIndex(dialog.each.findData("chosen"))
    dialog.chosen.setText("g0, g2")
    dialog.width_of.setEditText("88mm")
    dialog.style_file.setText(str(style))
    dialog.with_data.setChecked(False)
    press(qtbot, dialog.export_button)
    qtbot.waitUntil(lambda: not window.takeaway.busy, timeout=60_000)
    files = list((tmp_path / "out").glob("*.pdf"))
    assert len(files) == 2 and all(b"DejaVuSansMono" in file.read_bytes() for file in files)
    assert "pdf.fonttype" in notices(window)[0]
