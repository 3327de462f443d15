"""Notices: what happened and what to do next, over the window; they block and move nothing."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QEvent, QObject, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleAnnouncementEvent,
    QEnterEvent,
    QFontDatabase,
    QHideEvent,
    QResizeEvent,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from var_studio.errors import VarStudioError
from var_studio.gui import theme
from var_studio.gui.models.problems import details
from var_studio.gui.widgets.icons import icon
from var_studio.gui.widgets.long_words import LongWords

Kind = Literal["note", "warning", "error"]

_MARGIN = 10
_WIDEST = 480
STAYS_MS = 6_000
"""How long good news stay; a letter more of them, `_LETTER_MS` longer."""
_LETTER_MS = 30


class Notice(QFrame):
    """One notice: a sentence, the next step, details on demand, a cross to close it.

    After some seconds a note that asks nothing is `over`, and a problem becomes one line; not while
    the pointer or the keyboard is on it, which shows it whole again.
    """

    over = Signal()

    def __init__(
        self,
        kind: Kind,
        what: str,
        next_step: str = "",
        more: str = "",
        action: QWidget | None = None,
    ) -> None:
        super().__init__()
        self.setObjectName("notice")
        self.kind, self.what, self.next_step, self.more = kind, what, next_step, more
        self.asks = action is not None
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._mark = QLabel()
        self._mark.setFixedSize(18, 18)
        self._text = LongWords()
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._said = f"{what} {next_step}".strip()
        self.folded = False
        self._text.say(self._said)
        self.setAccessibleName(self._said)
        self.details_button = QToolButton()
        self.details_button.setText("Details")
        self.details_button.setToolTip("What lies behind it, for a report")
        self.details_button.setAutoRaise(True)
        self.details_button.setCheckable(True)
        self.details_button.setVisible(bool(more))
        self.close_button = QToolButton()
        self.close_button.setAutoRaise(True)
        self.close_button.setToolTip("Close this notice")
        self.close_button.setAccessibleName("Close this notice")
        self._details = QPlainTextEdit(more)
        self._details.setReadOnly(True)
        self._details.setAccessibleName("Details")
        self._details.setTabChangesFocus(True)
        self._details.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._details.setFixedHeight(160)
        self._details.setVisible(False)
        self.details_button.toggled.connect(self._details.setVisible)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self._mark, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self._text, 1)
        if action is not None:
            row.addWidget(action)
        row.addWidget(self.details_button)
        row.addWidget(self.close_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 6, 8, 6)
        column.addLayout(row)
        column.addWidget(self._details)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        for button in (self.details_button, self.close_button):
            button.installEventFilter(self)
        self._timer.setInterval(STAYS_MS + _LETTER_MS * len(self.text()))
        self._timer.timeout.connect(self.over if self.passes else self._fold)
        self._paint_theme()

    @property
    def passes(self) -> bool:
        """Whether it goes away by itself."""
        return self.kind == "note" and not self.asks

    def _count_down(self) -> None:
        if not self.asks:
            self._timer.start()

    def _fold(self) -> None:
        if not self._in_use():
            self._set_folded(True)

    def _in_use(self) -> bool:
        focus = QApplication.focusWidget()
        return self.details_button.isChecked() or (focus is not None and self.isAncestorOf(focus))

    def _set_folded(self, folded: bool) -> None:
        if folded == self.folded:
            return
        self.folded = folded
        self._text.setWordWrap(not folded)
        self._elide()
        self.setToolTip(self._said if folded else "")
        self.updateGeometry()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """One line is cut to the present width."""
        super().resizeEvent(event)
        if self.folded:
            self._elide()

    def _elide(self) -> None:
        if self.folded:
            metrics, room = self._text.fontMetrics(), self._text.width()
            self._text.setText(metrics.elidedText(self._said, Qt.TextElideMode.ElideRight, room))
        else:
            self._text.say(self._said)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """The keyboard on one of the buttons shows all of it."""
        if event.type() == QEvent.Type.FocusIn:
            self._timer.stop()
            self._set_folded(False)
        elif event.type() == QEvent.Type.FocusOut:
            self._count_down()
        return False

    def showEvent(self, event: QShowEvent) -> None:
        """Only what is seen passes."""
        self._count_down()
        super().showEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        """What is out of sight waits."""
        self._timer.stop()
        super().hideEvent(event)

    def enterEvent(self, event: QEnterEvent) -> None:
        """Somebody reads it."""
        self._timer.stop()
        self._set_folded(False)
        super().enterEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        """From the beginning: it may have been read to the middle."""
        self._count_down()
        super().leaveEvent(event)

    def text(self) -> str:
        """The sentence and the next step."""
        return self._said

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange:
            self._paint_theme()
        super().changeEvent(event)

    def _paint_theme(self) -> None:
        present = theme.colours()
        colour = {
            "note": present.accent,
            "warning": present.warning,
            "error": present.error,
        }[self.kind]
        name = "note" if self.kind == "note" else "warning"
        self._mark.setPixmap(icon(name, colour).pixmap(18, 18))
        self.close_button.setIcon(icon("close"))


class NoticeBar(QWidget):
    """Notices under one another, the newest first; the same one once. At most three that stay,
    and good news that passes.

    It lies in a corner of the widget `over`, whose layout stays as it is: at the bottom right, or
    where it does not cover what has the keyboard.
    """

    most = 3

    def __init__(self, over: QWidget) -> None:
        super().__init__(over)
        self.setObjectName("noticeBar")
        self._over = over
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(4)
        self.notices: list[Notice] = []
        self._corner: Qt.Corner | None = None
        over.installEventFilter(self)
        self.hide()

    def show_error(self, error: VarStudioError) -> Notice:
        """Show an error a user can expect (or a wrapped defect), with its causes as details."""
        more = details(error) if error.__cause__ is not None else ""
        return self.show_notice("error", error.what, error.next_step, more)

    def show_notice(
        self,
        kind: Kind,
        what: str,
        next_step: str = "",
        more: str = "",
        action: QWidget | None = None,
    ) -> Notice:
        """Show a notice in place of one with the same words; a note also in place of the last
        note, for good news need not be read twice."""
        for old in list(self.notices):
            same = (old.what, old.next_step) == (what, next_step)
            if same or (kind == old.kind == "note" and action is None and not old.asks):
                self._remove(old)
        notice = Notice(kind, what, next_step, more, action)
        lasting = [old for old in self.notices if not old.passes]
        if not notice.passes and len(lasting) >= self.most:
            self._remove(lasting[-1])
        notice.close_button.clicked.connect(self._close_sender)
        notice.over.connect(self._close_sender)
        if not self.notices:
            self._corner = None
        self.notices.insert(0, notice)
        self._column.insertWidget(0, notice)
        notice.show()
        self.show()
        self._place()
        self.raise_()
        QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self, notice.text()))
        return notice

    def clear(self, kind: Kind | None = None) -> None:
        """Close all notices, or those of one kind."""
        for notice in [n for n in self.notices if kind in (None, n.kind)]:
            self._remove(notice)

    def close_notice(self, notice: Notice) -> None:
        """Close one notice, if it is still there."""
        if notice in self.notices:
            self._remove(notice)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and self.notices:
            self._place()
        return False

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:
            self._place()
        return super().event(event)

    def _place(self) -> None:
        room = self._over.width() - 2 * _MARGIN
        width = min(room, _WIDEST)
        column = self._column
        bends = column.hasHeightForWidth()  # one line does not
        height = column.totalHeightForWidth(width) if bends else column.totalSizeHint().height()
        size = QSize(width, height)
        if self._corner is None:  # once: it does not jump away from under the pointer
            self._corner = self._free_corner(size)
        self.setGeometry(self._in_corner(self._corner, size))

    def _free_corner(self, size: QSize) -> Qt.Corner:
        """The first corner where the notices leave what has the keyboard in sight."""
        focus = QApplication.focusWidget()
        corners = (
            Qt.Corner.BottomRightCorner,
            Qt.Corner.BottomLeftCorner,
            Qt.Corner.TopRightCorner,
        )
        if focus is None or not self._over.isAncestorOf(focus) or self.isAncestorOf(focus):
            return corners[0]
        busy = QRect(focus.mapTo(self._over, focus.rect().topLeft()), focus.size())
        free = (c for c in corners if not self._in_corner(c, size).intersects(busy))
        return next(free, corners[0])

    def _in_corner(self, corner: Qt.Corner, size: QSize) -> QRect:
        right = self._over.width() - _MARGIN - size.width()
        bottom = self._over.height() - _MARGIN - size.height()
        left = _MARGIN if corner == Qt.Corner.BottomLeftCorner else right
        top = _MARGIN if corner == Qt.Corner.TopRightCorner else max(bottom, _MARGIN)
        return QRect(left, top, size.width(), size.height())

    def _close_sender(self) -> None:
        sender = self.sender()
        for notice in [n for n in self.notices if sender in (n, n.close_button)]:
            self._remove(notice)

    def _remove(self, notice: Notice) -> None:
        self.notices.remove(notice)
        self._column.removeWidget(notice)
        notice.hide()
        notice.deleteLater()
        self.setVisible(bool(self.notices))
        if self.notices:
            self._place()
