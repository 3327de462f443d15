"""Saving a part of a session, stopping a save, and what the window shows of a part."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui import panel_stage
from tests.gui.fixtures import IGNORE_QT, notices, press, settle, wait_saved
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.view import ColourBy
from var_studio.gui.panels import PANELS
from var_studio.gui.panels.head_values import QUANTITIES
from var_studio.gui.panels.image import ImagePanel
from var_studio.gui.panels.ledger import LedgerPanel
from var_studio.gui.save_choice import SaveChoice
from var_studio.recording import packing
from var_studio.recording.content import Content, size_in_words
from var_studio.recording.recording import Recording
from var_studio.recording.session import open_session, save_session

pytestmark = IGNORE_QT
CHOICES = {
    "maps": Content(maps=True),
    "words": Content(tokens=("g1", "g3")),
    "no picture": Content(images=False),
    "all of it": Content(maps=True, tokens=("g1", "g3"), images=False),
}


def opened(window: MainWindow, qtbot: QtBot) -> SaveChoice:
    """The dialog, its sizes told."""
    window.actions_by_name["save_part"].trigger()
    (dialog,) = (w for w in window.findChildren(SaveChoice) if w.isVisible())
    told(dialog, qtbot)
    return dialog


def told(dialog: SaveChoice, qtbot: QtBot) -> dict[str, str]:
    def sizes() -> dict[str, str]:
        return {kind: label.text() for kind, label in dialog.sizes.items()}

    qtbot.waitUntil(lambda: "…" not in sizes().values())
    return sizes()


def save_under(
    path: Path, dialog: SaveChoice, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QtWidgets.QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), ""))
    press(qtbot, dialog.save_button)


def test_the_sizes_told_are_those_of_the_files(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = window.workspace
    workspace.add_run(make_run(tmp_path / "run"))
    workspace.selection.select_token(int(workspace.runs[0].generated_positions[2]))
    dialog = opened(window, qtbot)
    assert not dialog.isModal() and dialog.words.text() == "g2"
    for kind, button in dialog.kinds.items():
        for pictures in (True, False):
            button.setChecked(True)
            dialog.without_images.setChecked(not pictures)
            size = told(dialog, qtbot)[kind]
            path = save_session(tmp_path / "x.vars", workspace.runs, content=dialog.content())
            # Beside the runs the window saves its view: a few hundred bytes.
            number, unit = size.split()
            scale = {"kB": 1e3, "MB": 1e6}[unit]
            assert float(number) * scale == pytest.approx(path.stat().st_size, abs=2500)
    dialog.kinds["tokens"].setChecked(True)
    dialog.words.setText("g2, nonsense")
    assert not dialog.save_button.isEnabled() and "positions such as" in dialog.problem.text()
    dialog.words.setText("g99")
    qtbot.waitUntil(lambda: "No run has a row" in dialog.problem.text())
    assert not dialog.save_button.isEnabled()
    dialog.words.setText("g2")
    dialog.without_images.setChecked(True)
    expected = told(dialog, qtbot)["tokens"]
    path = tmp_path / "part.vars"
    save_under(path, dialog, qtbot, monkeypatch)
    wait_saved(qtbot, window)
    assert size_in_words(path.stat().st_size) == expected
    assert open_session(path).content == Content(tokens=("g2",), images=False)
    assert "Saved part.vars (rows of g2, without pictures)" in window.status.activity.text()
    # What is left out is in no file: the window still has it where it was.
    assert workspace.runs[0].in_directory and len(workspace.runs[0].query_positions) == 30
    # Ctrl+S keeps to the choice, and the dialog remembers it.
    path.unlink()
    assert window.files.save()
    wait_saved(qtbot, window)
    assert open_session(path).content == Content(tokens=("g2",), images=False)
    dialog = opened(window, qtbot)
    assert dialog.kinds["tokens"].isChecked() and dialog.without_images.isChecked()
    qtbot.keyClick(dialog, QtCore.Qt.Key.Key_Escape)
    assert notices(window) == []


def test_a_part_never_replaces_the_whole(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_session(tmp_path / "whole.vars", make_run(tmp_path / "run"))
    before = path.read_bytes()
    assert window.files.open(path)
    dialog = opened(window, qtbot)
    dialog.kinds["maps"].setChecked(True)
    save_under(path, dialog, qtbot, monkeypatch)
    settle(qtbot)
    (said,) = notices(window)
    assert "whole.vars is what this session is read from" in said and "another name" in said
    assert path.read_bytes() == before and not window.files.saving


def test_a_save_is_stopped_from_the_status_line(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    path = tmp_path / "a.vars"
    path.write_bytes(b"as it was")
    half, go_on = threading.Event(), threading.Event()
    add = packing._Told.add

    def slow(told: packing._Told, size: int) -> None:
        add(told, size)
        if told._done > told._total / 2 and not half.is_set():
            half.set()
            go_on.wait(60)

    monkeypatch.setattr(packing._Told, "add", slow)
    assert not window.status.stop.isVisible()
    assert window.files.save_to(path)
    qtbot.waitUntil(half.is_set)
    qtbot.waitUntil(lambda: " kB of " in window.status.activity.text())
    assert window.status.activity.text().startswith("Saving a.vars… ")
    press(qtbot, window.status.stop)
    go_on.set()
    wait_saved(qtbot, window)
    assert window.status.activity.text() == "Saving was stopped; nothing was changed"
    assert not window.status.stop.isVisible() and not window.status.progress.isVisible()
    assert path.read_bytes() == b"as it was" and window.workspace.modified
    assert not list(tmp_path.glob(".*.part")) and notices(window) == []
    assert window.files.save_to(path)
    wait_saved(qtbot, window)
    assert open_session(path).content.full and not window.workspace.modified


def test_closing_while_sizes_are_measured(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    window.actions_by_name["save_part"].trigger()
    window.workspace.modified = False
    assert window.close()


@pytest.fixture
def part(request: pytest.FixtureRequest, tmp_path: Path) -> Recording:
    whole = make_run(tmp_path / "whole", layers=4, heads=3, rows=4, cols=5, queries=14)
    path = save_session(tmp_path / "part.vars", whole, content=CHOICES[request.param])
    return open_session(path).runs[0]


@pytest.mark.parametrize("part", CHOICES, indirect=True)
@pytest.mark.parametrize("name", [entry.name for entry in PANELS])
def test_each_panel_shows_a_part(qtbot: QtBot, part: Recording, name: str) -> None:
    """Whatever it is told to show: nothing fails, and nothing needs a notice."""
    (entry,) = (each for each in PANELS if each.name == name)
    panel = entry.kind()()
    workspace = panel_stage.stage(qtbot, panel)
    problems: list[Exception] = []
    workspace.problem.connect(problems.append)
    panel.prepare()
    workspace.add_run(part)
    workspace.selection.select_cells({3, 4})
    workspace.view.reverse()
    panel_stage.settle()
    for kind in get_args(ColourBy):
        workspace.view.set(colour_by=kind)
        panel_stage.settle()
    for quantity in QUANTITIES:
        workspace.view.set(head_value=quantity.key)
        panel_stage.settle()
    workspace.selection.select_cells(())
    for order in ("sorted", "grid"):
        workspace.view.set(head_order=order, thumbnails=True)
        panel_stage.settle()
    for changes in ({"target": "both"}, {"tau": 0.4}, {"tau": None, "target": "visual"}):
        workspace.method.set(**changes)
        for shown in ("before", "after", "difference"):
            workspace.view.set(shown=shown)
            panel_stage.settle()
    for aggregate in ("max", "mean"):
        workspace.view.set(aggregate=aggregate)
        panel_stage.settle()
    workspace.selection.set_row_of("produced")
    workspace.selection.set_row_of("query")
    panel_stage.settle()
    assert panel.grab().width() > 0 and problems == []


def test_a_session_without_its_picture(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "run", precision="float32")]
    path = save_session(tmp_path / "part.vars", runs, content=CHOICES["no picture"])
    assert window.files.open(path)
    settle(qtbot)
    image = window.findChild(ImagePanel)
    assert notices(window) == []
    assert image._scene.picture is None
    assert "The picture was left out when the session was saved." in image.note.text()
    query = runs[0].query_of(window.workspace.selection.position or 0)
    expected = runs[0].attention(query)[..., runs[0].layout.positions].mean(axis=(0, 1))
    assert np.allclose(window.workspace.reading.map_before, expected, rtol=1e-5)
    # Asked on, it says what is missing.
    window.intake.follow_up()
    (said,) = notices(window)
    assert "scene.png was left out" in said
    # A whole session of the same run has its picture back.
    assert window.files.open(save_session(tmp_path / "whole.vars", runs))
    settle(qtbot)
    assert image._scene.picture is not None and "left out" not in image.note.text()


def test_the_ledger_says_what_is_not_known(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", precision="float32")
    path = save_session(tmp_path / "part.vars", run, content=CHOICES["maps"])
    assert window.files.open(path)
    workspace = window.workspace
    dock = window.area.docks["ledger"]
    dock.raise_()
    settle(qtbot)
    panel = window.findChild(LedgerPanel)
    spoken = panel.ledger.accessibleDescription()
    assert "nan" not in spoken and "Other text: – before, – after" in spoken
    assert "Sum of the row: – before" in spoken
    assert "weights on other text were not saved" in panel.note.text()
    ledger = workspace.reading.ledger
    assert math.isnan(ledger.other_text.before) and not math.isnan(ledger.visual_sinks.before)
    workspace.method.set(target="both")
    settle(qtbot)
    assert "What moves is not known" in panel.note.text()
