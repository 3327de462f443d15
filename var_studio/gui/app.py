"""Starting the window: the application, its exceptions, its garbage, its first paint."""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from PySide6.QtCore import QCoreApplication, QEvent, QObject, QSize, QTimer, Signal, Slot
from PySide6.QtGui import QFileOpenEvent, QIcon
from PySide6.QtWidgets import QApplication

from var_studio.assets import resource, user_folder
from var_studio.errors import VarStudioError
from var_studio.gui.appearance import Appearance
from var_studio.gui.collector import Collector
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.problems import as_known

ICON_SIZES = (16, 32, 48, 64, 128, 256)
"""Widths of the icon's pictures, in pixels."""

_IMPORTED = time.monotonic()


class NoDisplayError(VarStudioError):
    """There is no screen."""


def main(
    files: Sequence[Path] = (),
    demo: bool = False,
    quit_after_first_paint: bool = False,
) -> int:
    """Open the window; return the exit code.

    `files`: a session, images, a recording's or a model's folder to open. `demo`: start with the
    demo model whatever was used last (it is what starts anyway). `quit_after_first_paint`: print
    one JSON line with the time since the process started, and leave.
    """
    app = application()
    collector = Collector(app)
    collector.start()
    window = MainWindow(Appearance(app))
    hooks = ExceptionHooks(window)
    hooks.install()
    crash_log = _log_crashes()

    def painted() -> None:
        if quit_after_first_paint:
            seconds = round(seconds_since_start(), 3)
            line = {"seconds_to_first_paint": seconds, "torch_loaded": "torch" in sys.modules}
            print(json.dumps(line), flush=True)
            window.close()
            return
        window.controller.state_changed.connect(collector.follow)
        wanted = [*files, *(app.take_asked_for() if isinstance(app, Application) else ())]
        model = next((str(path) for path in wanted[:1] if _is_model(path)), None)
        window.start("demo" if demo or model is None else model)
        if model is None:
            window.intake.take_files(wanted)
        if isinstance(app, Application):
            app.asked_for.connect(window.intake.take_files)

    window.first_painted.connect(painted)
    window.show()
    try:
        return app.exec()
    finally:
        hooks.remove()
        collector.stop()
        if crash_log is not None:
            faulthandler.disable()
            crash_log.close()
        if not window.controller.shutdown(timeout_ms=1000):
            # A call into a library that does not return: what was recorded is on disk.
            os._exit(0)
        window.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def application() -> QApplication:
    """The QApplication, made on first use. Raises NoDisplayError: Qt itself would abort."""
    existing = QCoreApplication.instance()
    if isinstance(existing, QApplication):
        return existing
    if not _has_display():
        raise NoDisplayError(
            "There is no screen to open the window on.",
            "Set DISPLAY, or use `var-studio record` and `var-studio export`, which need none.",
        )
    app = Application(sys.argv[:1])
    app.setApplicationName("VAR Studio")
    app.setApplicationDisplayName("VAR Studio")
    app.setOrganizationName("var-studio")
    app.setDesktopFileName("var-studio")
    app.setWindowIcon(_icon())
    app.setStyle("Fusion")
    return app


class Application(QApplication):
    """Takes the files that macOS asks a running program to open; others name them in arguments."""

    asked_for = Signal(list)
    """The paths that were asked for at one time."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self._waiting: list[Path] = []
        # Several files of one double click come one by one.
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self._tell)
        self._listened_to = False

    def take_asked_for(self) -> list[Path]:
        """What was asked for before there was a window; from now on `asked_for` tells."""
        self._listened_to = True
        asked, self._waiting = self._waiting, []
        return asked

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QFileOpenEvent):
            self._waiting.append(Path(event.file()))
            if self._listened_to:
                self._soon.start()
            return True
        return super().event(event)

    @Slot()
    def _tell(self) -> None:
        self.asked_for.emit(self.take_asked_for())


def _icon() -> QIcon:
    icon = QIcon()
    for size in ICON_SIZES:
        icon.addFile(str(resource("icons", f"var-studio-{size}.png")), QSize(size, size))
    return icon


class ExceptionHooks(QObject):
    """What nobody caught, in any thread, becomes a notice; the program goes on."""

    _caught = Signal(object)

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._caught.connect(window.show_problem)
        self._before: tuple[Any, Any] | None = None

    def install(self) -> None:
        """Take sys.excepthook and threading.excepthook."""
        self._before = (sys.excepthook, threading.excepthook)
        sys.excepthook = self._hook
        threading.excepthook = self._thread_hook

    def remove(self) -> None:
        """Give them back."""
        if self._before is not None:
            sys.excepthook, threading.excepthook = self._before
            self._before = None

    def _hook(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, Exception):  # Ctrl-C in the terminal, SystemExit
            QCoreApplication.quit()
            return
        sys.__excepthook__(kind, error, trace)
        self._caught.emit(as_known(error))

    def _thread_hook(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            self._hook(args.exc_type, args.exc_value, args.exc_traceback)


def seconds_since_start() -> float:
    """Seconds since the process started; where /proc is missing, since this was imported."""
    try:
        # Field 22 of /proc/self/stat, counted after the command in brackets.
        stat = Path("/proc/self/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        started = int(stat[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic() - _IMPORTED


def _has_display() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    if os.environ.get("QT_QPA_PLATFORM", "xcb").split(":")[0] not in ("xcb", "wayland"):
        return True  # offscreen, vnc, ...: asked for by name
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _is_model(path: Path) -> bool:
    return (path / "config.json").is_file()


def _log_crashes() -> IO[str] | None:
    """A crash of native code leaves its stack in the user's log folder."""
    if faulthandler.is_enabled():
        return None  # by whoever started us, with a log of their own
    folder = user_folder("log")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = open(folder / "crash.log", "a", encoding="utf-8")  # noqa: SIM115  open till the end
        faulthandler.enable(log)
    except (OSError, ValueError):
        return None
    return log
