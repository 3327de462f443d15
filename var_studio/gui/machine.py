"""Help › About this machine: what `var-studio doctor` says, to read and to copy."""

from __future__ import annotations

from PySide6.QtCore import QProcess, QProcessEnvironment, Qt, Slot
from PySide6.QtGui import QFontDatabase, QGuiApplication, QIcon
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QPlainTextEdit,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from var_studio.doctor.probes import own_command


class MachineReport(QDialog):
    """Looks from a process of its own: what is broken may crash, and takes seconds to say so."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("About this machine")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.text = QPlainTextEdit("Looking at torch, Qt, fonts and folders. This takes seconds.")
        self.text.setReadOnly(True)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setAccessibleName("What this machine can do")
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.busy.setTextVisible(False)
        buttons = QDialogButtonBox()
        self.copy_button = buttons.addButton("&Copy", QDialogButtonBox.ButtonRole.ActionRole)
        self.copy_button.setToolTip("Copy the text, for a report of a problem.")
        self.copy_button.setEnabled(False)
        self.copy_button.clicked.connect(self.copy_text)
        close = buttons.addButton(QDialogButtonBox.StandardButton.Close)
        close.setIcon(QIcon())
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(self.busy)
        column.addWidget(buttons)
        self.resize(820, 560)
        self._process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONIOENCODING", "utf-8")
        self._process.setProcessEnvironment(environment)
        self._process.finished.connect(self._show)
        self._process.errorOccurred.connect(self._show)
        program, *arguments = own_command("doctor")
        self._process.start(program, arguments)

    @Slot()
    def copy_text(self) -> None:
        """Put the whole text on the clipboard."""
        QGuiApplication.clipboard().setText(self.text.toPlainText())

    @Slot()
    def _show(self) -> None:
        if self._process.state() != QProcess.ProcessState.NotRunning:
            return
        said = bytes(self._process.readAllStandardOutput().data()).decode("utf-8", "replace")
        why = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace")
        failed = f"This could not be looked at.\n{self._process.errorString()}\n{why}"
        self.text.setPlainText(said.strip() or failed.strip())
        self.busy.hide()
        self.copy_button.setEnabled(True)

    def done(self, result: int) -> None:
        """Closing ends the process too."""
        self._process.finished.disconnect(self._show)
        self._process.errorOccurred.disconnect(self._show)
        if self._process.state() != QProcess.ProcessState.NotRunning:
            self._process.terminate()
            if not self._process.waitForFinished(2000):
                self._process.kill()
                self._process.waitForFinished(2000)
        super().done(result)
