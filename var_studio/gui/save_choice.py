"""Saving a part of the session: what to leave out, and how large the file will be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QDialog,
    QGridLayout,
    QLabel,
    QLineEdit,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from var_studio.errors import VarStudioError
from var_studio.gui.models.task import Task
from var_studio.gui.widgets.dialog_buttons import dialog_buttons
from var_studio.recording.content import Content, size_in_words

if TYPE_CHECKING:
    from var_studio.recording.session import Session

_KINDS = (
    ("full", "Everything", ""),
    (
        "maps",
        "Maps only",
        "Attention on the image, on BOS and on text that could be a sink. Entropy and what lies "
        "on other text are not known then.",
    ),
    (
        "tokens",
        "Chosen words only",
        "Rows of these tokens and of the steps that produced them: positions, g0 for the answer's "
        "first, g-1 for its last, or answer. All words can still be read.",
    ),
)
_PAUSE = 350  # ms after a key before sizes are told anew


class SaveChoice(QDialog):
    """Asks what of a session to save. `chosen(Content)` is emitted once; the caller asks where."""

    chosen = Signal(object)

    def __init__(self, session: Session, words: str, parent: QWidget | None = None) -> None:
        """`words`: the tokens offered first. The choice that the session was saved with is on."""
        super().__init__(parent)
        self.setWindowTitle("Save a part of the session")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._session = session
        self._task: Task | None = None
        self._again = False
        self._found: dict[str, int | VarStudioError] = {}
        last = session.content
        self.kinds: dict[str, QRadioButton] = {}
        self.sizes: dict[str, QLabel] = {}
        group = QButtonGroup(self)
        grid = QGridLayout()
        grid.setHorizontalSpacing(18)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(0, 1)
        for kind, name, explained in _KINDS:
            button, size = QRadioButton(name), QLabel("…")
            size.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            size.setAccessibleName(f"Size: {name}")
            button.toggled.connect(self._check)
            group.addButton(button)
            row = grid.rowCount()
            grid.addWidget(button, row, 0)
            grid.addWidget(size, row, 1)
            if kind == "tokens":
                self.words = QLineEdit(" ".join(last.tokens) if last.tokens else words)
                self.words.setAccessibleName("Chosen words")
                self.words.setPlaceholderText("g0 g1 117")
                grid.addWidget(self.words, row + 1, 0, 1, 2)
            if explained:
                note = QLabel(explained)
                note.setObjectName("quiet")
                note.setWordWrap(True)
                grid.addWidget(note, grid.rowCount(), 0, 1, 2)
                button.setAccessibleDescription(explained)
            self.kinds[kind], self.sizes[kind] = button, size
        self.without_images = QCheckBox("Without the pictures; their size and SHA-256 stay")
        self.without_images.setChecked(not last.images)
        self.problem = QLabel()
        self.problem.setWordWrap(True)
        self.problem.setAccessibleName("What is wrong")
        self.buttons, self.save_button = dialog_buttons(self, "Save as…")
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(14)
        column.addLayout(grid)
        column.addWidget(self.without_images)
        column.addWidget(self.problem)
        column.addWidget(self.buttons)
        self.setMinimumWidth(460)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._measure)
        self.words.textChanged.connect(self._wait)
        self.words.textEdited.connect(lambda: self.kinds["tokens"].setChecked(True))
        self.without_images.toggled.connect(self._wait)
        self.kinds["tokens" if last.tokens else "maps" if last.maps else "full"].setChecked(True)
        self._wait()
        self._measure()

    def content(self) -> Content:
        """What is chosen. Raises VarStudioError for words that are no tokens."""
        return self._content(next(k for k, button in self.kinds.items() if button.isChecked()))

    def accept(self) -> None:
        try:
            content = self.content()
        except VarStudioError:
            return
        super().accept()
        self.chosen.emit(content)

    def done(self, result: int) -> None:
        self._timer.stop()
        if self._task is not None:
            self._task.wait()
        super().done(result)

    def _content(self, kind: str) -> Content:
        words = tuple(self.words.text().replace(",", " ").split())
        return Content(
            maps=kind == "maps",
            tokens=words if kind == "tokens" else None,
            images=not self.without_images.isChecked(),
        )

    # ------------------------------------------------------------------------------- sizes
    def _wait(self) -> None:
        for size in self.sizes.values():
            size.setText("…")
        self._found = {}
        self._check()
        self._timer.start(_PAUSE)

    def _check(self) -> None:
        chosen = next((kind for kind, button in self.kinds.items() if button.isChecked()), "full")
        problem = ""
        try:
            self._content(chosen)
        except VarStudioError as error:
            problem = error.next_step
        found = self._found.get(chosen)
        if isinstance(found, VarStudioError):
            problem = found.what
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.save_button.setEnabled(not problem)

    @Slot()
    def _measure(self) -> None:
        """Tell the sizes, in a thread: rows are read to tell that of maps."""
        self._timer.stop()
        if self._task is not None:
            self._again = True
            return
        choices: dict[str, Content] = {}
        for kind in self.kinds:
            try:
                choices[kind] = self._content(kind)
            except VarStudioError:
                continue
        task = Task(lambda _: _sizes_of(self._session, choices))
        task.succeeded.connect(self._tell)
        task.failed.connect(self._tell)
        task.finished.connect(self._measured)
        self._task = task
        task.start()

    @Slot(object)
    def _tell(self, found: Any) -> None:
        if self._again or self._timer.isActive():
            return
        self._found = found if isinstance(found, dict) else dict.fromkeys(self.kinds, found)
        for kind, size in self.sizes.items():
            told = self._found.get(kind)
            size.setText(size_in_words(told) if isinstance(told, int) else "–")
        self._check()

    @Slot()
    def _measured(self) -> None:
        self._task = None
        if self._again:
            self._again = False
            self._measure()


def _sizes_of(session: Session, choices: dict[str, Content]) -> dict[str, int | VarStudioError]:
    from var_studio.recording.session import session_size

    found: dict[str, int | VarStudioError] = {}
    for kind, content in choices.items():
        try:
            found[kind] = session_size(session, content=content)
        except VarStudioError as error:
            found[kind] = error
    return found
