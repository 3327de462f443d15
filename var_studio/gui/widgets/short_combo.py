"""A choice that says less where there is little room, in place of half a word."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

SHORT = QtCore.Qt.ItemDataRole.UserRole + 7
"""Role of an item's shorter text."""
_SPARE = 2


class ShortCombo(QtWidgets.QComboBox):
    """A combo box as wide as its texts, that a narrow place may squeeze down to their short forms
    (the role `SHORT`). Its tooltip begins with the whole text where that is not shown."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToContents)

    def set_short(self, index: int, text: str) -> None:
        """What an item says where its text has no room."""
        self.setItemData(index, text, SHORT)

    def shown_text(self) -> str:
        """What the closed box says in its present width."""
        option = QtWidgets.QStyleOptionComboBox()
        self.initStyleOption(option)
        part = QtWidgets.QStyle.SubControl.SC_ComboBoxEditField
        control = QtWidgets.QStyle.ComplexControl.CC_ComboBox
        room = self.style().subControlRect(control, option, part, self).width() - _SPARE
        metrics, text = self.fontMetrics(), self.currentText()
        if metrics.horizontalAdvance(text) <= room:
            return text
        short = self.currentData(SHORT) or text
        return metrics.elidedText(short, QtCore.Qt.TextElideMode.ElideRight, room)

    def minimumSizeHint(self) -> QtCore.QSize:
        """Room for the present short text."""
        hint, metrics = self.sizeHint(), self.fontMetrics()
        texts = [self.itemText(index) for index in range(self.count())]
        widest = max((metrics.horizontalAdvance(text) for text in texts), default=0)
        short = metrics.horizontalAdvance(self.currentData(SHORT) or self.currentText())
        return QtCore.QSize(hint.width() - max(widest - short, 0), hint.height())

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the box with the text that fits."""
        option = QtWidgets.QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.shown_text()  # type: ignore[attr-defined]
        painter = QtWidgets.QStylePainter(self)
        painter.drawComplexControl(QtWidgets.QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_ComboBoxLabel, option)

    def event(self, event: QtCore.QEvent) -> bool:
        """Tell the whole text before the tooltip where it is cut."""
        if event.type() == QtCore.QEvent.Type.ToolTip and self.shown_text() != self.currentText():
            assert isinstance(event, QtGui.QHelpEvent)
            tip = f"{self.currentText()}\n{self.toolTip()}"
            QtWidgets.QToolTip.showText(event.globalPos(), tip, self)
            return True
        return super().event(event)
