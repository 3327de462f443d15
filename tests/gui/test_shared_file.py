"""A session file that another window or program has, or changed; saving while a run is on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import (
    IGNORE_QT,
    PATIENCE,
    Answer,
    AnswerBoxes,
    Gate,
    cached,
    notices,
    wait_idle,
    wait_saved,
)
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.recording.locks import ProgramLock, session_lock_path
from var_studio.recording.session import open_session, save_session

pytestmark = IGNORE_QT


@pytest.fixture
def open_elsewhere(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A session file that another window has open, and what closes it there."""
    path = save_session(tmp_path / "a.vars", [make_run(tmp_path / "run", queries=16)])
    lock = ProgramLock.take(session_lock_path(path), "a window")
    assert lock is not None
    yield path, lock.release
    lock.release()


def test_a_file_open_elsewhere_is_shown_and_saved_under_another_name(
    window: MainWindow,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    open_elsewhere: tuple[Path, Callable[[], None]],
) -> None:
    path, _ = open_elsewhere
    before = path.read_bytes()
    assert window.files.open(path)
    (said,) = notices(window)
    assert f"a.vars is open in another window of VAR Studio (process {os.getpid()}, since" in said
    assert "read-only" in said and "(read-only)" in window.windowTitle()
    window.workspace.regions.add([1], "cup")
    starts: list[str] = []

    def choose(_: object, __: str, start: str, ___: str) -> tuple[str, str]:
        starts.append(start)
        return str(chosen), ""

    monkeypatch.setattr(QtWidgets.QFileDialog, "getSaveFileName", choose)
    chosen = path
    window.save_session()
    assert starts == [str(tmp_path / "a copy.vars")] and not window.files.saving
    assert "is open in another window" in notices(window)[0] and path.read_bytes() == before
    chosen = tmp_path / "a copy.vars"
    window.save_session()
    wait_saved(qtbot, window)
    assert window.workspace.session_path == chosen and not window.files.read_only
    assert "(read-only)" not in window.windowTitle()
    assert path.read_bytes() == before
    # Saved once more without a question: the copy is this window's.
    window.workspace.regions.add([2], "door")
    window.save_session()
    wait_saved(qtbot, window)
    assert len(starts) == 2
    (regions,) = open_session(chosen).regions.values()
    assert [region.name for region in regions] == ["cup", "door"]


def test_a_file_that_was_closed_elsewhere_can_be_saved(
    window: MainWindow, qtbot: QtBot, open_elsewhere: tuple[Path, Callable[[], None]]
) -> None:
    path, close_there = open_elsewhere
    assert window.files.open(path)
    window.workspace.regions.add([1], "cup")
    close_there()
    window.save_session()
    wait_saved(qtbot, window)
    assert not window.workspace.modified and len(open_session(path).regions) == 1


def test_the_lock_follows_the_file_on_screen_and_goes_with_the_window(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    one, two = (
        save_session(tmp_path / name, [make_run(tmp_path / name[0], queries=16)])
        for name in ("a.vars", "b.vars")
    )

    def free(path: Path) -> bool:
        lock = ProgramLock.take(session_lock_path(path), "a script")
        if lock is not None:
            lock.release()
        return lock is not None

    assert window.files.open(one) and not free(one)
    assert window.files.open(one) and not free(one)
    assert window.files.open(two) and free(one) and not free(two)
    (tmp_path / "c.vars").write_bytes(b"PK")
    assert not window.files.open(tmp_path / "c.vars") and free(tmp_path / "c.vars")
    assert not free(two)
    assert window.files.save_to(tmp_path / "d.vars")
    wait_saved(qtbot, window)
    assert free(two) and not free(tmp_path / "d.vars")
    window.close()
    assert free(tmp_path / "d.vars") and cached() == []


def test_a_file_that_another_program_changed_is_not_overwritten_unasked(
    window: MainWindow,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer_boxes: AnswerBoxes,
) -> None:
    run = make_run(tmp_path / "run", queries=16)
    path = save_session(tmp_path / "a.vars", [run], notes="old")
    assert window.files.open(path)
    window.workspace.regions.add([1], "cup")
    window.save_session()
    wait_saved(qtbot, window)
    assert not window.workspace.modified, "what this window wrote is taken for another's"
    # Another computer's copy arrives, through a shared folder.
    other = save_session(tmp_path / "b.vars", [run], notes="theirs")
    os.replace(other, path)
    window.workspace.regions.add([2], "door")
    asked = answer_boxes(Answer.Cancel)
    window.save_session()
    assert "Another program changed a.vars" in asked[0] and not window.files.saving
    assert open_session(path).notes == "theirs"
    answer_boxes(Answer.Save)
    monkeypatch.setattr(
        QtWidgets.QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "c.vars"), "")
    )
    window.save_session()
    wait_saved(qtbot, window)
    assert open_session(path).notes == "theirs"
    assert len(open_session(tmp_path / "c.vars").runs) == 1


def test_saving_while_a_run_is_under_way(
    demo: MainWindow, qtbot: QtBot, gate: Gate, tmp_path: Path
) -> None:
    """A pair: the baseline is under way, what waits needs its answer later."""
    demo.setup.run_pair_button.click()
    qtbot.waitUntil(lambda: gate.reached.is_set() and bool(demo.workspace.runs), timeout=PATIENCE)
    path = tmp_path / "a.vars"
    assert demo.files.save_to(path)
    wait_saved(qtbot, demo)
    early = open_session(path)
    assert len(early.runs) == 1 and not early.runs[0].finished and early.runs[0].tokens
    assert demo.workspace.modified, "what comes after is in no file"
    gate.open()
    qtbot.waitUntil(lambda: len(demo.workspace.runs) >= 2, timeout=PATIENCE)
    demo.save_session()
    wait_saved(qtbot, demo)
    wait_idle(qtbot, demo)
    assert len(demo.workspace.runs) == 3, notices(demo)
    demo.save_session()
    wait_saved(qtbot, demo)
    runs = open_session(path).runs
    assert len(runs) == 3 and all(run.finished for run in runs)
    assert not demo.workspace.modified and not demo.files.autosave.folder.folder.exists()
    for query in range(len(runs[2].query_positions)):
        np.testing.assert_array_equal(
            runs[2].attention(query), demo.workspace.runs[2].attention(query)
        )
