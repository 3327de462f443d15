"""Guards: a test that leaves a thread or a timer running fails and names where it was started.

tests/conftest.py makes them apply to every test. Nothing here imports Qt or torch,
so the guards work, and the Qt ones rest, where those are not installed.
"""

from __future__ import annotations

import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import thread as futures_thread
from typing import Any

import pytest

GRACE_SECONDS = 2.0
# zarr keeps one event loop and one pool for the life of the process, asyncio its default executor
# inside that loop; tqdm watches its progress bars the same way. None of them is ours to end.
_LASTING_NAMES = ("asyncio_", "fsspecIO", "pytest_timeout", "zarr_")
_LASTING_MODULES = ("tqdm.",)
_NOT_THE_CULPRIT = (__file__, threading.__file__, futures_thread.__file__)

_started_at: weakref.WeakKeyDictionary[Any, traceback.StackSummary]
_started_at = weakref.WeakKeyDictionary()


def _remember_start(started: object) -> None:
    # Frame 2 is the caller of start(); source lines are read only if the guard reports.
    frame = sys._getframe(2)
    _started_at[started] = traceback.StackSummary.extract(
        traceback.walk_stack(frame), limit=12, lookup_lines=False
    )


def _where_started(started: object) -> str:
    """Return "started at FILE:LINE in FUNCTION" and the calls that led there, innermost first."""
    frames = [f for f in _started_at.get(started, []) if f.filename not in _NOT_THE_CULPRIT]
    if not frames:
        return "started at an unknown place (not from Python)"
    first, *others = frames[:6]
    lines = [f"started at {first.filename}:{first.lineno} in {first.name}: {first.line}"]
    lines += [f"    called from {f.filename}:{f.lineno} in {f.name}" for f in others]
    return "\n".join(lines)


def _remembering(start: Callable[..., Any]) -> Callable[..., Any]:
    def start_and_remember(self: Any, *args: Any, **kwargs: Any) -> Any:
        _remember_start(self)
        return start(self, *args, **kwargs)

    return start_and_remember


# ------------------------------------------------------------------------------- threads
def _lasts(thread: threading.Thread) -> bool:
    # A _DummyThread stands for a thread that Python did not start; QThreads have their own guard.
    return (
        isinstance(thread, threading._DummyThread)
        or thread.name.startswith(_LASTING_NAMES)
        or type(thread).__module__.startswith(_LASTING_MODULES)
    )


@pytest.fixture(autouse=True)
def no_stray_thread(request: pytest.FixtureRequest, monkeypatch_starts: None) -> Iterator[None]:
    """Fail the test if a threading.Thread that it started still runs after it."""
    before = set(threading.enumerate())
    yield
    if request.node.get_closest_marker("leaves_threads"):
        return
    stray = [t for t in threading.enumerate() if t not in before and not _lasts(t)]
    for thread in stray:
        thread.join(GRACE_SECONDS)
    stray = [t for t in stray if t.is_alive()]
    if stray:
        report = "\n".join(f"{t.name!r}, {_where_started(t)}" for t in stray)
        pytest.fail(f"stray thread left running: {report}", pytrace=False)


# ---------------------------------------------------------------------------- Qt threads
def _alive_in_qt(qt_object: Any) -> bool:
    shiboken = sys.modules.get("shiboken6")
    return shiboken is not None and bool(shiboken.isValid(qt_object))


def _started(kind: type) -> list[Any]:
    return [o for o in list(_started_at) if isinstance(o, kind) and _alive_in_qt(o)]


@pytest.fixture(autouse=True)
def no_stray_qthread(request: pytest.FixtureRequest, monkeypatch_starts: None) -> Iterator[None]:
    """Fail the test if a QThread that it started still runs after it."""
    yield
    core = sys.modules.get("PySide6.QtCore")
    if core is None or request.node.get_closest_marker("leaves_threads"):
        return
    stray = [t for t in _started(core.QThread) if t.isRunning()]
    for thread in stray:
        thread.wait(int(GRACE_SECONDS * 1000))
    stray = [t for t in stray if t.isRunning()]
    if stray:
        report = "\n".join(f"{t!r}, {_where_started(t)}" for t in stray)
        for thread in stray:  # A running QThread that Python collects aborts the process.
            thread.quit()
            if not thread.wait(int(GRACE_SECONDS * 1000)):
                _kept_alive.append(thread)
        pytest.fail(f"stray QThread left running: {report}", pytrace=False)


_kept_alive: list[Any] = []


# -------------------------------------------------------------------------------- timers
@pytest.fixture(autouse=True)
def no_stray_timer(request: pytest.FixtureRequest, monkeypatch_starts: None) -> Iterator[None]:
    """Fail the test if a QTimer that it started is still active after it."""
    yield
    core = sys.modules.get("PySide6.QtCore")
    if core is None:
        return
    stray = [t for t in _started(core.QTimer) if t.isActive()]
    report = "\n".join(f"{t!r} every {t.interval()} ms, {_where_started(t)}" for t in stray)
    for timer in stray:
        if timer.thread() == core.QThread.currentThread():
            timer.stop()  # The next test should not answer for it.
    if stray and not request.node.get_closest_marker("leaves_timers"):
        pytest.fail(f"stray QTimer still active: {report}", pytrace=False)


# ------------------------------------------------------------------------ remember starts
@pytest.fixture(autouse=True)
def monkeypatch_starts() -> Iterator[None]:
    """Note where threads and timers start while a test runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", _remembering(threading.Thread.start))
        core = sys.modules.get("PySide6.QtCore")
        if core is not None:
            patch.setattr(core.QThread, "start", _remembering(core.QThread.start))
            patch.setattr(core.QTimer, "start", _remembering(core.QTimer.start))
        yield
    _started_at.clear()


# ------------------------------------------------------------------------- tests that ran
def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--at-least",
        type=int,
        default=0,
        metavar="N",
        help="fail unless N tests pass: a job that collected nothing has checked nothing",
    )


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn a run in which fewer tests passed than --at-least asks for into a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    wanted = session.config.getoption("--at-least")
    passed = len(reporter.stats.get("passed", [])) if reporter else 0
    if passed < wanted and not session.config.option.collectonly:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if reporter:
            reporter.write_line("")
            reporter.write_line(
                f"only {passed} tests passed; --at-least asks for {wanted}", red=True
            )
