"""The guards themselves: each bad test must fail, and its well-behaved twin must pass."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from var_studio.assets import ResourceMissingError, resource, user_folder
from var_studio.errors import VarStudioError

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
from tests.guards import monkeypatch_starts, no_stray_qthread, no_stray_thread, no_stray_timer
from tests.guards import pytest_addoption, pytest_sessionfinish
"""


@pytest.fixture
def guarded(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project of its own that has nothing but our guards and our way to treat Qt warnings."""
    pytester.makeconftest(CONFTEST)
    pytester.makeini(
        f"""
        [pytest]
        pythonpath = {ROOT}
        markers =
            leaves_threads: as in pyproject.toml
            leaves_timers: as in pyproject.toml
        qt_api = pyside6
        qt_log_level_fail = WARNING
        """
    )
    return pytester


THREAD = """
    import threading
    {mark}
    def test_thread(request):
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait, args=(60,), daemon=True)
        thread.start()  # the culprit
        {ending}
"""


@pytest.mark.parametrize(
    ("mark", "ending", "fails"),
    [
        ("", "pass", True),
        ("", "stop.set()", False),
        ("import pytest\n    @pytest.mark.leaves_threads", "pass", False),
    ],
    ids=["left running", "ended", "allowed"],
)
def test_stray_thread(guarded: pytest.Pytester, mark: str, ending: str, fails: bool) -> None:
    guarded.makepyfile(THREAD.format(mark=mark, ending=ending))
    result = guarded.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=int(fails))
    if fails:
        result.stdout.fnmatch_lines(
            ["*stray thread left running*started at*in test_thread: thread.start()*"]
        )


def test_stray_pool_names_the_line_that_submitted(guarded: pytest.Pytester) -> None:
    guarded.makepyfile(
        """
        import threading
        from concurrent.futures import ThreadPoolExecutor

        import pytest

        stop = threading.Event()

        @pytest.fixture(scope="session", autouse=True)
        def ended_so_that_python_can_exit():
            yield
            stop.set()

        def test_pool():
            pool = ThreadPoolExecutor(1)
            pool.submit(stop.wait, 60)
        """
    )
    result = guarded.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*stray thread left running*in test_pool: pool.submit*"])


TIMER = """
    from PySide6 import QtCore

    def test_timer(qapp):
        timer = QtCore.QTimer()
        qapp.kept = timer
        timer.start(60_000)
        {ending}

    def test_next_one_does_not_answer_for_it(qapp):
        pass
"""


@pytest.mark.qt
@pytest.mark.parametrize(("ending", "fails"), [("pass", True), ("timer.stop()", False)])
def test_stray_timer(guarded: pytest.Pytester, ending: str, fails: bool) -> None:
    guarded.makepyfile(TIMER.format(ending=ending))
    result = guarded.runpytest_subprocess()
    result.assert_outcomes(passed=2, errors=int(fails))
    if fails:
        result.stdout.fnmatch_lines(
            ["*stray QTimer still active*started at*in test_timer: timer.start(60_000)*"]
        )


QTHREAD = """
    from PySide6 import QtCore

    def test_qthread(qapp):
        thread = QtCore.QThread()
        qapp.kept = thread
        thread.start()
        {ending}
"""


@pytest.mark.qt
@pytest.mark.parametrize(("ending", "fails"), [("pass", True), ("thread.quit()", False)])
def test_stray_qthread(guarded: pytest.Pytester, ending: str, fails: bool) -> None:
    guarded.makepyfile(QTHREAD.format(ending=ending))
    result = guarded.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=int(fails))
    if fails:
        result.stdout.fnmatch_lines(
            ["*stray QThread left running*in test_qthread: thread.start()*"]
        )


@pytest.mark.qt
@pytest.mark.parametrize(("level", "fails"), [("qWarning", True), ("qDebug", False)])
def test_qt_warning(guarded: pytest.Pytester, level: str, fails: bool) -> None:
    guarded.makepyfile(
        f"""
        from PySide6 import QtCore

        def test_warning(qapp):
            QtCore.{level}("something is off")
        """
    )
    result = guarded.runpytest_subprocess()
    result.assert_outcomes(passed=int(not fails), failed=int(fails))


@pytest.mark.qt
def test_they_hold_in_this_project(request: pytest.FixtureRequest) -> None:
    """The tests above try the guards elsewhere: here they are in force too."""
    guards = {"no_stray_thread", "no_stray_qthread", "no_stray_timer", "monkeypatch_starts"}
    assert guards <= set(request.fixturenames)
    assert request.config.getini("qt_log_level_fail") == "WARNING"
    assert request.config.getini("qt_log_ignore") == ["propagateSizeHints"]


@pytest.mark.qt
def test_stray_window(guarded: pytest.Pytester) -> None:
    gui_conftest = (ROOT / "tests/gui/conftest.py").read_text(encoding="utf-8")
    guarded.makeconftest(gui_conftest)
    guarded.makepyfile(
        """
        from PySide6 import QtWidgets

        def test_left_open(qapp):
            qapp.kept = QtWidgets.QLabel("open")
            qapp.kept.show()

        def test_closed(qtbot):
            label = QtWidgets.QLabel("closed at the end")
            qtbot.addWidget(label)
            label.show()
        """
    )
    result = guarded.runpytest_subprocess()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*stray window left open: QLabel*"])


@pytest.mark.parametrize(("wanted", "code"), [(1, 0), (2, 1)])
def test_a_run_with_too_few_tests_fails(guarded: pytest.Pytester, wanted: int, code: int) -> None:
    guarded.makepyfile(
        """
        import pytest

        def test_runs():
            pass

        @pytest.mark.skip
        def test_skipped():
            pass
        """
    )
    result = guarded.runpytest_subprocess("--at-least", str(wanted))
    assert result.ret == code
    if code:
        result.stdout.fnmatch_lines(["*only 1 tests passed; --at-least asks for 2*"])


@pytest.mark.parametrize("module", ["PySide6", "torch"])
def test_guards_need_neither_qt_nor_torch(guarded: pytest.Pytester, module: str) -> None:
    guarded.makepyfile(
        f"""
        import sys

        def test_rests():
            assert not [m for m in sys.modules if m.split(".")[0] == {module!r}]
        """
    )
    guarded.runpytest_subprocess("-p", "no:pytest-qt").assert_outcomes(passed=1)


def test_home_is_private(private_home: Path) -> None:
    assert user_folder("config") == private_home / "config"
    assert not private_home.exists()
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_user_folder_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAR_STUDIO_HOME")
    folders = {user_folder(kind) for kind in ("config", "cache", "data", "log")}
    assert all(folder.is_absolute() and "var-studio" in str(folder) for folder in folders)
    assert user_folder("config") != user_folder("cache")


def test_resource_is_found_or_named() -> None:
    assert resource("demo-model", "config.json").is_file()
    with pytest.raises(ResourceMissingError, match=r"resources/no/such is missing.*Reinstall"):
        resource("no", "such")


def test_error_says_what_and_next() -> None:
    error = VarStudioError("It broke.", "Mend it.")
    assert (str(error), error.what, error.next_step) == (
        "It broke. Mend it.",
        "It broke.",
        "Mend it.",
    )
    assert str(VarStudioError("It broke.")) == "It broke."
