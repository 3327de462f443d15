"""What every panel is: a title with three corner buttons, a body, a sentence while it is empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QGuiApplication, QPixmap, QShowEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from var_studio.errors import VarStudioError
from var_studio.gui.panels import PANELS
from var_studio.gui.widgets.icons import icon

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.gui.models.workspace import Workspace


class PanelHeader(QWidget):
    """Title on the left, the panel's own controls (`add_control`), three buttons on the right.

    It is the title bar of the panel's dock, so it must let mouse events through.
    """

    def __init__(self, panel: Panel) -> None:
        super().__init__()
        self.setObjectName("panelHeader")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(10, 4, 6, 4)
        self._row.setSpacing(4)
        self.title = QLabel(panel.title)
        self.title.setObjectName("panelTitle")
        self._row.addWidget(self.title)
        self._row.addSpacing(8)
        self._row.addStretch(1)
        self.copy_button = self._button("copy", "Copy picture", panel.copy_picture)
        self.export_button = self._button("export", "Export…", panel.request_export)
        self.help_button = self._button("help", "What is this? (F1)", panel.request_help)
        self.export_button.setVisible(panel.figure_name is not None or bool(panel.data_file))
        if panel.figure_name is None:
            self.export_button.setToolTip(f"Save as {panel.data_file.rpartition('.')[2].upper()}…")
        for button, what in (
            (self.copy_button, "Copy picture of"),
            (self.export_button, "Export"),
            (self.help_button, "Help on"),
        ):
            button.setAccessibleName(f"{what} {panel.title}")

    def add_control(self, widget: QWidget) -> None:
        """Put a small control between the title and the corner buttons."""
        self._row.insertWidget(self._row.count() - 3, widget)

    def _button(self, name: str, tip: str, slot: object) -> QToolButton:
        button = QToolButton()
        button.setAutoRaise(True)
        button.setIcon(icon(name))
        button.setProperty("iconName", name)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.clicked.connect(slot)
        self._row.addWidget(button)
        return button

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange:
            for button in (self.copy_button, self.export_button, self.help_button):
                button.setIcon(icon(button.property("iconName")))
        super().changeEvent(event)


class Panel(QWidget):
    """Base of all panels. A subclass sets the class variables, builds its widgets in `__init__`,
    hands its body to `set_body`, and repaints in `refresh`.

    `refresh(reading)` is called in the GUI thread, at most once per turn of the event loop and
    only while the panel is visible; a panel that was hidden is refreshed when shown. `reading` is
    None while there is nothing to show: then the base shows `empty_text` in place of the body.
    """

    name: ClassVar[str] = "panel"  # both as in PANELS
    title: ClassVar[str] = "Panel"
    help_text: ClassVar[str] = ""  # shown by F1 and the ? button; plain sentences
    empty_text: ClassVar[str] = "Nothing to show yet."
    figure_name: ClassVar[str | None] = None  # for export, in figures.FIGURES; None: no
    data_file: ClassVar[str] = ""  # what to call the file of `data_text`, where there is no figure

    export_requested = Signal(object)  # this panel
    help_requested = Signal(object)  # this panel

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for entry in PANELS:
            if entry.class_name == cls.__name__:
                cls.name, cls.title = entry.name, entry.title

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(f"panel.{self.name}")
        self.setAccessibleName(self.title)
        self.workspace: Workspace | None = None
        self._stale = True
        self.header = PanelHeader(self)
        self._stack = QStackedWidget()
        self._empty = QLabel(self.empty_text)
        self._empty.setObjectName("emptyState")
        self._empty.setWordWrap(True)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setMargin(24)
        self._empty.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self._stack.addWidget(self._empty)
        self._body: QWidget | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._stack)

    # ---------------------------------------------------------------- for subclasses to use
    def set_body(self, body: QWidget) -> None:
        """Give the widget that shows the panel's content."""
        self._body = body
        self._stack.addWidget(body)

    @property
    def body(self) -> QWidget | None:
        """The widget given to `set_body`."""
        return self._body

    def show_empty(self, text: str | None = None) -> None:
        """Show a sentence (`empty_text` by default) in place of the body."""
        self._empty.setText(self.empty_text if text is None else text)
        self._stack.setCurrentWidget(self._empty)

    def show_body(self) -> None:
        """Show the body."""
        if self._body is not None:
            self._stack.setCurrentWidget(self._body)

    # ------------------------------------------------------------ for subclasses to override
    def set_workspace(self, workspace: Workspace) -> None:
        """Connect to the workspace; called once. Call super() first."""
        self.workspace = workspace
        workspace.reading_changed.connect(self._reading_changed)

    def prepare(self) -> None:
        """Called once after the window's first paint: load now what the first `refresh` would
        otherwise wait for, e.g. a plotting library."""

    def refresh(self, reading: Reading | None) -> None:
        """Repaint for this reading (None: nothing to show). Override; no need to call super."""

    def data_text(self) -> str:
        """What the panel shows as the text of a file, CSV or JSON as `data_file` says. Raises
        VarStudioError where there is nothing to save."""
        raise NotImplementedError

    def picture(self) -> QPixmap:
        """What "copy picture" copies: the body as it is on screen."""
        return (self._body or self).grab()

    # ------------------------------------------------------------------------------- buttons
    def copy_picture(self) -> None:
        """Put the panel's picture on the clipboard."""
        QGuiApplication.clipboard().setPixmap(self.picture())

    def request_export(self) -> None:
        """Ask the window to export this panel's figure."""
        self.export_requested.emit(self)

    def request_help(self) -> None:
        """Ask the window to show this panel's help."""
        self.help_requested.emit(self)

    # ------------------------------------------------------------------------------ plumbing
    def _reading_changed(self, reading: Reading | None) -> None:
        if self.isVisible():
            self._refresh(reading)
        else:
            self._stale = True

    def _refresh(self, reading: Reading | None) -> None:
        self._stale = False
        if reading is None:
            self.show_empty()
        else:
            self.show_body()
        try:
            self.refresh(reading)
        except VarStudioError as error:
            # Readings are lazy: a damaged array may show only here. The other panels go on.
            self.show_empty(str(error))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._stale and self.workspace is not None:
            self._refresh(self.workspace.reading)
