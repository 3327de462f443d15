"""Questions asked from Setup, with the real demo model: turns and several images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, PATIENCE, notices, press, settle, wait_idle
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.interventions import PRESETS
from var_studio.gui.models.question import shipped_samples

pytestmark = IGNORE_QT


def test_a_follow_up_asks_on_about_the_same_images(demo: MainWindow, qtbot: QtBot) -> None:
    workspace, section = demo.workspace, demo.setup.question_section
    assert not section.follow_up.isVisible()
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    first = workspace.runs[0]
    demo.intake.take_sample(shipped_samples()[3])  # another picture was chosen meanwhile
    assert section.follow_up.isVisible()
    demo.setup.scroller.ensureWidgetVisible(section.follow_up)
    press(qtbot, section.follow_up)
    assert section.turns.isVisible() and first.text.strip() in section.earlier.text()
    assert demo.setup.prompt.toPlainText() == "" and demo.focusWidget() is demo.setup.prompt
    qtbot.keyClicks(demo.setup.prompt, "what color is it?")
    press(qtbot, demo.setup.run_pair_button)
    wait_idle(qtbot, demo)
    second, free, forced = workspace.runs[1:]
    assert second.exchanges[0] == first.exchanges[0] and len(second.exchanges) == 2
    assert [e.sha256 for e in second.image_entries] == [e.sha256 for e in first.image_entries]
    assert free.exchanges[:1] == second.exchanges[:1] and forced.teacher == second.id
    given = "".join(t.text for t in second.tokens if t.role == "prompt")
    assert "".join(first.text.split()) in "".join(given.split())
    # Asked anew, it follows nothing; that can be undone.
    press(qtbot, section.start_over)
    assert workspace.question.history == () and not section.turns.isVisible()
    workspace.undo_stack.undo()
    assert workspace.question.history == first.exchanges
    assert notices(demo) == []


def test_two_images_in_one_question(
    demo: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question, section = demo.workspace.question, demo.setup.image_section
    for name, colour in (("red.png", "red"), ("blue.png", "blue")):
        Image.new("RGB", (60, 40), colour).save(tmp_path / name)
    own = question.images[0]
    assert not section.strip.isVisible()
    paths = [str(tmp_path / "red.png"), str(tmp_path / "blue.png")]
    monkeypatch.setattr(QtWidgets.QFileDialog, "getOpenFileNames", lambda *_, **__: (paths, ""))
    press(qtbot, section.add_image)
    settle(qtbot)
    assert [image.name for image in question.images] == [own.name, "red.png", "blue.png"]
    assert section.strip.isVisible() and len(section.strip.thumbnails) == 3
    press(qtbot, section.strip.thumbnails[2])
    assert section.image_name.text() == "blue.png"
    press(qtbot, section.strip.earlier)
    assert [image.name for image in question.images] == [own.name, "blue.png", "red.png"]
    assert section.strip.current == 1 and section.image_name.text() == "blue.png"
    press(qtbot, section.strip.thumbnails[0])
    press(qtbot, section.strip.remove)
    assert [image.name for image in question.images] == ["blue.png", "red.png"]
    question.set_prompt("what color is the first picture?")
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    (run,) = demo.workspace.runs
    assert [entry.name for entry in run.image_entries] == ["blue.png", "red.png"]
    assert len(run.layout.image_sizes) == 2 and run.layout.count == 200
    for _ in range(3):
        demo.workspace.undo_stack.undo()
        settle(qtbot)
    while len(question.images) > 1 and demo.workspace.undo_stack.canUndo():
        demo.workspace.undo_stack.undo()
    assert question.images == (own,) and not section.strip.isVisible()


def test_several_images_make_an_entry_each_or_one_question(
    demo: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    workspace, section = demo.workspace, demo.setup.image_section
    question = workspace.question
    paths = []
    for name, colour in (("red.png", "red"), ("blue.png", "blue")):
        Image.new("RGB", (60, 40), colour).save(tmp_path / name)
        paths.append(tmp_path / name)
    demo.intake.take_files(paths)
    settle(qtbot)
    assert question.each and section.ask.isVisible() and section.ask.button("each").isChecked()
    assert "each an entry" in section.ask_note.text()
    assert demo.setup.run_button.text() == "Run 2 images"
    assert "run of its own" in demo.status.activity.text()
    question.set_prompt("what color is it?")
    qtbot.waitUntil(lambda: demo.setup.forecast.text().startswith("2 runs"), timeout=PATIENCE)
    press(qtbot, demo.setup.run_var_button)
    listed = demo.setup.queue.texts()
    assert [text.split(" · ")[1] for text in listed] == ["red.png"] * 2 + ["blue.png"] * 2
    wait_idle(qtbot, demo)
    names = [[entry.name for entry in run.image_entries] for run in workspace.runs]
    assert names == [["red.png"], ["red.png"], ["blue.png"], ["blue.png"]]
    assert [bool(run.interventions) for run in workspace.runs] == [False, True] * 2
    # Two entries, told apart by their image; the list goes from one to the other.
    asked = demo.transcript.asked
    assert asked.isVisible() and asked.count() == 2
    assert asked.itemText(0).startswith("1  red.png") and "blue.png" in asked.itemText(1)
    demo.transcript._asked_chosen(0)
    settle(qtbot)
    assert workspace.run is workspace.runs[0] and workspace.paired is workspace.runs[1]
    # What was answered before is not asked again, on screen or not.
    workspace.interventions.choose(PRESETS[1])
    press(qtbot, demo.setup.run_var_button)
    wait_idle(qtbot, demo)
    assert [bool(run.interventions) for run in workspace.runs[4:]] == [True, True]
    # Together: one question; and back with undo.
    press(qtbot, section.ask.button("together"))
    settle(qtbot)
    assert not question.each and demo.setup.run_button.text() == "Run"
    assert [len(request.images) for request in demo.intake.requests("baseline")] == [2]
    workspace.undo_stack.undo()
    assert question.each and section.ask.button("each").isChecked()
    press(qtbot, section.strip.remove)
    assert not question.each and not section.ask.isVisible(), "one image is asked about as ever"
    assert notices(demo) == []
