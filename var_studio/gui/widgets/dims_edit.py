"""A line for the sink dimensions: "141, 37", checked while it is typed; empty is the model's."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLabel, QLineEdit, QVBoxLayout, QWidget

from var_studio.gui.models.method_settings import GIVEN, NONE_FOUND, ModelFacts


def parse_dims(text: str, hidden_size: int) -> tuple[int, ...] | None:
    """The dimensions that a person typed, each once, in their order; None for an empty line.

    `hidden_size` 0: not known yet. Raises ValueError, with a sentence for that person, for anything
    else.
    """
    parts = text.replace(",", " ").replace(";", " ").split()
    wrong = [part for part in parts if not (part.isascii() and part.isdigit())]
    if wrong:
        raise ValueError(f"“{wrong[0]}” is no dimension: type whole numbers, such as 141, 37.")
    outside = [part for part in parts if 0 < hidden_size <= int(part)]
    if outside:
        raise ValueError(
            f"There is no dimension {outside[0]}: they go from 0 to {hidden_size - 1}."
        )
    return tuple(dict.fromkeys(int(part) for part in parts)) or None


class DimsEdit(QWidget):
    """The line, and under it what is wrong with it. `changed(dims or None)` once it is accepted."""

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._hidden_size = 0
        self._dims: tuple[int, ...] | None = None
        self.line = QLineEdit()
        self.wrong = QLabel()
        self.wrong.setObjectName("wrong")
        self.wrong.setWordWrap(True)
        self.wrong.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.line)
        column.addWidget(self.wrong)
        self.setFocusProxy(self.line)
        self.line.textEdited.connect(self._check)
        self.line.editingFinished.connect(self._accept)

    def set_model(self, model: ModelFacts) -> None:
        """Tell the model's own dimensions, shown faintly in an empty line, and D."""
        self._hidden_size = model.hidden_size if model.known else 0
        if not model.known or model.origin == GIVEN:
            self.line.setPlaceholderText("the model's")
        else:
            own = ", ".join(str(dim) for dim in model.sink_dims)
            none = "none found" if model.origin == NONE_FOUND else "none known"
            self.line.setPlaceholderText(f"{own} (own)" if own else none)

    def set_dims(self, dims: tuple[int, ...] | None) -> None:
        """Show these dimensions; what was typed and not accepted is dropped."""
        self._dims = dims
        text = ", ".join(str(dim) for dim in dims or ())
        if text != self.line.text():
            self.line.setText(text)
        self._check()  # they may be those of a larger model

    def _check(self) -> tuple[int, ...] | None:
        try:
            dims = parse_dims(self.line.text(), self._hidden_size)
        except ValueError as error:
            self._say(str(error))
            return self._dims
        self._say("")
        return dims

    def _accept(self) -> None:
        dims = self._check()
        if not self.wrong.text() and dims != self._dims:
            self.changed.emit(dims)

    def _say(self, text: str) -> None:
        self.wrong.setText(text)
        self.wrong.setVisible(bool(text))
        self.line.setAccessibleDescription(text)
