"""The questions before unsaved work is lost, or another program's is overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QMessageBox, QWidget

Standard = QMessageBox.StandardButton


def ask_unsaved(
    parent: QWidget,
    n_runs: int,
    regions: bool,
    file: str = "",
    note: str = "",
    partly: bool = False,
) -> Literal["save", "discard", "cancel"]:
    """Ask what to do with a session that is not saved, and say what will be deleted.

    `n_runs`: how many runs are in no file. `regions`: whether regions are not as in the file.
    `file`: the session's own, "" where it has none. `note`: what else happens. `partly`: the file
    leaves out something of these runs.
    """
    lost = f"{number_of_runs(n_runs)} that {'is' if n_runs == 1 else 'are'} in no file"
    also = " and all changes of the regions," if regions else ""
    question = f"Save the changes in {file}?"
    if partly:
        question = "Save all of this session?"
        gone = f"{file} holds a part of it. The rest, of {number_of_runs(n_runs)},{also}"
    elif file and n_runs:
        gone = f"What is new, {lost},{also}"
    elif file:
        gone = f"The changes{' of the regions' if regions else ''} since it was saved"
    else:
        question = f"Save the runs{' and regions' if regions else ''} of this session?"
        if n_runs:
            gone = f"{lost}, with the regions," if regions else lost
        else:
            gone = "The regions" if regions else "The list of runs"
    box = _box(parent, "Unsaved session", question)
    box.setInformativeText(f"{note}{gone} will be deleted for good if you do not save.")
    box.setStandardButtons(Standard.Save | Standard.Discard | Standard.Cancel)
    box.button(Standard.Discard).setText("Don't save: delete")
    box.setDefaultButton(Standard.Save)
    answer = _answer(box)
    if answer == Standard.Save:
        return "save"
    return "discard" if answer == Standard.Discard else "cancel"


def ask_overwrite(parent: QWidget, path: Path) -> Literal["save as", "overwrite", "cancel"]:
    """The session file was changed by another program since it was opened: what now?"""
    box = _box(parent, "Changed file", f"Another program changed {path.name}.")
    box.setInformativeText(
        "It is no longer what was opened here. Overwrite deletes what the other program wrote; "
        "Save as keeps both."
    )
    box.setStandardButtons(Standard.Save | Standard.Yes | Standard.Cancel)
    box.button(Standard.Save).setText("Save as…")
    box.button(Standard.Yes).setText("Overwrite")
    box.setDefaultButton(Standard.Save)
    answer = _answer(box)
    if answer == Standard.Save:
        return "save as"
    return "overwrite" if answer == Standard.Yes else "cancel"


def ask_delete(parent: QWidget, what: str) -> bool:
    """Whether what a killed program left may be deleted."""
    box = _box(parent, "Unsaved session", f"Delete {what}?")
    box.setInformativeText("They are in no session file. This cannot be undone.")
    box.setStandardButtons(Standard.Yes | Standard.Cancel)
    box.button(Standard.Yes).setText("Delete")
    box.setDefaultButton(Standard.Cancel)
    return _answer(box) == Standard.Yes


def number_of_runs(count: int) -> str:
    """A number of runs, in words."""
    return "1 run" if count == 1 else f"{count} runs"


def _box(parent: QWidget, title: str, text: str) -> QMessageBox:
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle(title)
    box.setText(text)
    return box


def _answer(box: QMessageBox) -> int:
    for button in box.buttons():
        button.setIcon(QIcon())
    answer = box.exec()
    box.deleteLater()
    return answer
