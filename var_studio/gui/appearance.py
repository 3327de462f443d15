"""Light, dark, or as the desktop has it: applied to the application, remembered, switchable."""

from __future__ import annotations

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from var_studio.gui import memory, theme

SCHEMES: tuple[theme.Scheme, ...] = ("system", "light", "dark")


class Appearance(QObject):
    """The theme of the application."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        remembered = str(memory.settings().value("theme", "system"))
        self.scheme: theme.Scheme = next((s for s in SCHEMES if s == remembered), "system")
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._system_changed)

    def apply(self) -> None:
        """Give the application its palette and style sheet."""
        self.apply_palette()
        self.apply_sheet()

    def apply_palette(self) -> None:
        """The colours: before widgets are made, which look at them."""
        app = _application()
        app.setPalette(theme.palette(self.scheme))
        # PySide takes no bytes here, whatever its stubs say.
        app.setPalette(theme.box_palette(self.scheme), "QCheckBox")  # type: ignore[arg-type]

    def apply_sheet(self) -> None:
        """The style sheet: once widgets are made, for each is polished anew at every new parent."""
        _application().setStyleSheet(theme.stylesheet(theme.resolve(self.scheme)))

    def choose(self, scheme: theme.Scheme) -> None:
        """Switch, and remember it."""
        self.scheme = scheme
        memory.settings().setValue("theme", scheme)
        self.apply()

    @Slot()
    def _system_changed(self) -> None:
        if self.scheme == "system":
            self.apply()


def _application() -> QApplication:
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    return app
