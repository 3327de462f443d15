"""Everything a user can do wrong at the window: a notice with the next step, nothing lost."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PySide6 import QtCore, QtGui, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import (
    IGNORE_QT,
    PATIENCE,
    Answer,
    AnswerBoxes,
    Gate,
    notices,
    press,
    settle,
    wait_idle,
    wait_saved,
)
from tests.synthetic import make_run
from var_studio.gui.app import ExceptionHooks
from var_studio.gui.main_window import MainWindow
from var_studio.recording.recording import Recording
from var_studio.recording.session import save_session
from var_studio.recording.unsaved import left_over, windows_folder

pytestmark = IGNORE_QT
Key = QtCore.Qt.Key
Ctrl = QtCore.Qt.KeyboardModifier.ControlModifier


def one_notice(window: MainWindow, *parts: str) -> None:
    """There is one notice, it says all of these, and nothing else has to be answered first."""
    shown = notices(window)
    assert QtWidgets.QApplication.activeModalWidget() is None
    assert len(shown) == 1, shown
    for part in parts:
        assert part in shown[0]


def run_again(qtbot: QtBot, window: MainWindow) -> Recording:
    """The program goes on: the next run works and clears the notice."""
    before = len(window.workspace.runs)
    press(qtbot, window.setup.run_button)
    wait_idle(qtbot, window)
    assert len(window.workspace.runs) == before + 1
    assert notices(window) == []
    run = window.workspace.runs[-1]
    assert run.finished and run.text
    return run


# ------------------------------------------------------------------------------- the question
def test_no_image(window: MainWindow, qtbot: QtBot) -> None:
    window.workspace.question.set_prompt("What is it?")
    qtbot.keyClick(window, Key.Key_R)
    one_notice(window, "no image", "Open, drop or paste one")
    assert window.controller.idle and window.workspace.runs == []


def test_empty_prompt(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    assert window.intake.take_image(tmp_path / "red.png")
    window.setup.prompt.setPlainText("  \n ")
    press(qtbot, window.setup.run_button)
    one_notice(window, "question is empty", "Type one")
    assert window.controller.idle and window.workspace.runs == []


@pytest.mark.parametrize("content", [b"", b"no picture", None], ids=["empty", "text", "missing"])
def test_bad_image_file_keeps_the_good_one(
    window: MainWindow,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
) -> None:
    good = tmp_path / "good.png"
    Image.new("RGB", (40, 30), "red").save(good)
    window.intake.take_image(good)
    image = window.workspace.question.image
    bad = tmp_path / "bad.png"
    if content is not None:
        bad.write_bytes(content)
    monkeypatch.setattr(
        QtWidgets.QFileDialog, "getOpenFileNames", lambda *_, **__: ([str(bad)], "")
    )
    press(qtbot, window.setup.image_section.open_image)
    one_notice(window, "bad.png")
    assert window.workspace.question.image is image


def test_truncated_image_dropped_on_the_window(window: MainWindow, tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.effect_noise((200, 200), 60).save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:2000])
    drop(window, QtCore.QUrl.fromLocalFile(str(cut)))
    one_notice(window, "cut.png")
    assert window.workspace.question.image is None
    drop(window, QtCore.QUrl.fromLocalFile(str(whole)))
    assert window.workspace.question.image is not None
    assert window.workspace.question.image.name == "whole.png"


def drop(widget: QtWidgets.QWidget, url: QtCore.QUrl) -> None:
    """Drop a file on a widget."""
    mime = QtCore.QMimeData()
    mime.setUrls([url])
    no_button, no_key = QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier
    event = QtGui.QDropEvent(
        QtCore.QPointF(5, 5), QtCore.Qt.DropAction.CopyAction, mime, no_button, no_key
    )
    widget.dropEvent(event)


def test_paste_without_a_picture_then_with_one(window: MainWindow, qtbot: QtBot) -> None:
    clipboard = QtGui.QGuiApplication.clipboard()
    clipboard.setText("words")
    press(qtbot, window.setup.image_section.paste_image)
    one_notice(window, "no image on the clipboard", "Copy a picture")
    picture = QtGui.QImage(30, 20, QtGui.QImage.Format.Format_RGB32)
    picture.fill(QtGui.QColor("#3366cc"))
    clipboard.setImage(picture)
    press(qtbot, window.setup.image_section.paste_image)
    assert notices(window) == [], "what was wrong before is over"
    image = window.workspace.question.image
    assert image is not None
    from var_studio.recording.images import decode

    assert decode(image).size == (30, 20)
    assert decode(image).getpixel((3, 3)) == (0x33, 0x66, 0xCC)
    # With the cursor in the question a picture is still a picture, and text is text.
    window.workspace.question.set_image(None)
    window.setup.prompt.setPlainText("")
    window.setup.prompt.setFocus()
    qtbot.keyClick(window.setup.prompt, Key.Key_V, Ctrl)
    assert window.workspace.question.image is not None
    clipboard.setText("What is it?")
    qtbot.keyClick(window.setup.prompt, Key.Key_V, Ctrl)
    assert window.workspace.question.prompt == "What is it?"
    clipboard.clear()


# ---------------------------------------------------------------------------------- the model
def test_folder_that_is_no_checkpoint_keeps_the_loaded_model(
    demo: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        QtWidgets.QFileDialog, "getExistingDirectory", lambda *_, **__: str(tmp_path)
    )
    with qtbot.waitSignal(demo.controller.model_failed, timeout=PATIENCE):
        demo.open_model_folder()
    one_notice(demo, str(tmp_path))
    assert (
        demo.controller.model is not None and demo.setup.model_section.model.currentData() == "demo"
    )
    run_again(qtbot, demo)


def test_hub_that_cannot_be_reached(window: MainWindow, qtbot: QtBot) -> None:
    combo = window.setup.model_section.model
    combo.setCurrentIndex(combo.count() - 1)
    combo.activated.emit(combo.count() - 1)
    assert window.setup.model_section.hub.isVisible()
    qtbot.keyClicks(window.setup.model_section.hub, "no-such-owner/no-such-model")
    with qtbot.waitSignal(window.controller.model_failed, timeout=PATIENCE):
        qtbot.keyClick(window.setup.model_section.hub, Key.Key_Return)
    one_notice(window, "no-such-owner/no-such-model")
    assert window.controller.idle
    qtbot.keyClick(window, Key.Key_R)  # and without any model a run is refused, not lost
    assert window.workspace.runs == []


@pytest.mark.parametrize("call", [1, 4])
def test_out_of_memory(demo: MainWindow, qtbot: QtBot, call: int) -> None:
    """In the prefill, and at the third new token: what fits is said, what there is is kept."""
    import torch

    calls: list[int] = []

    def exhausted(*_: Any) -> None:
        calls.append(1)
        if len(calls) == call:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16.50 GiB.")

    handle = demo.controller._worker._lmm.decoder_layers[2].register_forward_hook(exhausted)
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    handle.remove()
    fits = "question alone does not fit" if call == 1 else f"{call - 1} new tokens did fit"
    one_notice(demo, "memory", fits)
    kept = demo.workspace.run
    assert kept is not None and len(kept.generated_positions) == call - 1
    if call > 1:
        assert demo.workspace.reading is not None, "rows that were on disk are lost"
        assert kept.attention(len(kept.query_positions) - 1).sum(-1) == pytest.approx(1, abs=1e-3)
    run_again(qtbot, demo)


# ------------------------------------------------------------------------------------ the run
def test_a_model_cannot_be_loaded_or_released_while_one_runs(
    demo: MainWindow, qtbot: QtBot, gate: Gate
) -> None:
    press(qtbot, demo.setup.run_button)
    qtbot.waitUntil(gate.reached.is_set, timeout=PATIENCE)
    assert demo.setup.stop_button.isEnabled()
    assert not demo.setup.model_section.release_button.isEnabled()
    demo.load_model("demo")
    one_notice(demo, "cannot be loaded", "Press Stop")
    demo.release_model()
    assert any("at work" in text for text in notices(demo))
    gate.open()
    wait_idle(qtbot, demo)
    assert len(demo.workspace.runs) == 1
    assert demo.workspace.runs[0].reason == "end"


def test_stop_keeps_what_was_recorded(demo: MainWindow, qtbot: QtBot, gate: Gate) -> None:
    qtbot.keyClick(demo, Key.Key_R)
    qtbot.waitUntil(gate.reached.is_set, timeout=PATIENCE)
    qtbot.keyClick(demo, Key.Key_Escape)
    wait_idle(qtbot, demo)
    run = demo.workspace.run
    assert run is not None and run.reason == "cancelled"
    assert run.text and demo.workspace.reading is not None
    assert demo.transcript.answer.tokens.rowCount() == len(run.generated_positions)
    gate.open()
    run_again(qtbot, demo)


def test_window_closed_while_running_says_what_it_deletes(
    demo: MainWindow, qtbot: QtBot, gate: Gate, answer_boxes: AnswerBoxes
) -> None:
    press(qtbot, demo.setup.run_button)
    qtbot.waitUntil(lambda: gate.reached.is_set() and bool(demo.workspace.runs), timeout=PATIENCE)
    asked = answer_boxes(Answer.Cancel)
    assert not demo.close()
    assert demo.isVisible() and demo.controller.state == "running"
    answer_boxes(Answer.Discard)
    assert demo.close()
    assert not demo.controller._thread.isRunning()
    assert "The run under way is stopped. 1 run that is in no file" in asked[0]
    assert "will be deleted for good if you do not save" in asked[0]
    assert left_over() == [] and not windows_folder().exists()


def test_close_and_save_while_running(
    demo: MainWindow,
    qtbot: QtBot,
    gate: Gate,
    answer_boxes: AnswerBoxes,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    press(qtbot, demo.setup.run_button)
    qtbot.waitUntil(lambda: gate.reached.is_set() and bool(demo.workspace.runs), timeout=PATIENCE)
    answer_boxes(Answer.Save)
    path = tmp_path / "kept.vars"
    monkeypatch.setattr(QtWidgets.QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), ""))
    assert demo.close()
    from var_studio.recording.session import open_session

    with open_session(path) as session:
        assert session.runs[0].reason == "cancelled" and session.runs[0].text


def test_disk_full_while_recording(
    demo: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fill_disk_after(patch, rows=12)
        press(qtbot, demo.setup.run_button)
        wait_idle(qtbot, demo)
    one_notice(demo, "disk", "space")
    kept = demo.workspace.run
    assert kept is not None and demo.workspace.reading is not None
    assert len(kept.query_positions) >= 8, "rows that were on disk are lost"
    run_again(qtbot, demo)


def fill_disk_after(patch: pytest.MonkeyPatch, rows: int) -> None:
    """The disk is full once so many rows are written."""
    from var_studio.recording.store import RunWriter

    written = 0
    real: Callable[..., None] = RunWriter._write_row

    def write_row(writer: RunWriter, values: Any, keys: int) -> None:
        nonlocal written
        written += 1
        if written > rows:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(writer, values, keys)

    patch.setattr(RunWriter, "_write_row", write_row)


# -------------------------------------------------------------------------------- the session
def test_damaged_session_keeps_the_present_one(
    window: MainWindow, tmp_path: Path, answer_boxes: AnswerBoxes
) -> None:
    present = make_run(tmp_path / "present")
    whole = save_session(tmp_path / "whole.vars", runs=[present])
    damaged = tmp_path / "damaged.vars"
    damaged.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    window.workspace.add_run(present)
    asked = answer_boxes(Answer.Discard)
    assert not window.files.open(damaged)
    one_notice(window, "damaged.vars")
    assert not asked, "what to do with the runs, for a file that cannot take their place"
    assert window.workspace.run is present and window.workspace.reading is not None
    assert window.files.open(whole)
    assert len(asked) == 1
    assert len(window.workspace.runs) == 1 and window.workspace.run is not present


def test_saving_where_it_cannot_be_saved(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    assert window.files.save_to(tmp_path / "no such folder" / "a.vars")
    wait_saved(qtbot, window)
    one_notice(window, "a.vars")
    assert window.workspace.modified
    assert window.files.save_to(tmp_path / "a.vars")
    wait_saved(qtbot, window)
    assert not window.workspace.modified and (tmp_path / "a.vars").exists()


def test_damaged_row_is_said_once_and_the_rest_goes_on(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run")
    victim = sorted((tmp_path / "run" / "attention").rglob("*"))
    for chunk in [path for path in victim if path.is_file() and path.name != "zarr.json"][-3:]:
        chunk.write_bytes(b"broken")
    run.close()
    run = Recording.open(tmp_path / "run")
    window.workspace.add_run(run)
    selection = window.workspace.selection
    for position in selection.positions:
        selection.select_token(position)
        settle(qtbot)
    assert len(notices(window)) == 1
    selection.select_token(selection.positions[0])
    settle(qtbot)
    assert window.workspace.reading is not None


# ------------------------------------------------------------------------------- the unforeseen
def test_exception_nobody_caught_becomes_a_notice(
    window: MainWindow, qtbot: QtBot, capsys: pytest.CaptureFixture[str]
) -> None:
    hooks = ExceptionHooks(window)
    before = sys.excepthook
    hooks.install()
    try:
        try:
            raise ZeroDivisionError("a defect")
        except ZeroDivisionError as error:
            sys.excepthook(type(error), error, error.__traceback__)
    finally:
        hooks.remove()
    assert sys.excepthook is before
    one_notice(window, "a defect", "recordings are kept")
    (notice,) = window.notices.notices
    assert "Traceback" in notice.more
    press(qtbot, notice.details_button)
    assert notice._details.isVisible()
    press(qtbot, notice.close_button)
    assert notices(window) == []
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_picture_is_shown_turned_as_its_exif_says(window: MainWindow, tmp_path: Path) -> None:
    picture = Image.new("RGB", (60, 20), "red")
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert window.intake.take_image(tmp_path / "turned.jpg")
    shown = window.setup.image_section.well._pixmap
    assert shown is not None and (shown.width(), shown.height()) == (20, 60)
