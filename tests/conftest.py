"""What every test gets: guards, a private home folder, no network, one thread, no screen.

Folders that need Qt or torch are left out where these are not installed; a test elsewhere that
needs one of them is marked ``qt`` or ``torch`` and is skipped there.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from tests.guards import (  # noqa: F401  (fixtures and hooks, by being here)
    monkeypatch_starts,
    no_stray_qthread,
    no_stray_thread,
    no_stray_timer,
    pytest_addoption,
    pytest_sessionfinish,
)

# Before anything imports NumPy, torch, transformers, matplotlib or Qt.
_HOME = Path(tempfile.mkdtemp(prefix="var-studio-tests-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ["VAR_STUDIO_HOME"] = str(_HOME / "home")
# Where it is set, pytest shows all that two files differ in: minutes for the bytes of a figure.
os.environ.pop("CI", None)
os.environ["HF_HOME"] = str(_HOME / "huggingface")
os.environ["MPLCONFIGDIR"] = str(_HOME / "matplotlib")
for _kind in ("CACHE", "CONFIG", "DATA", "STATE"):
    os.environ[f"XDG_{_kind}_HOME"] = str(_HOME / "xdg" / _kind.lower())
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No window pops up on a developer's screen; the X server job asks for xcb by name.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# Qt would take this instead, and warn of it in whichever test is the first with a window.
if os.environ.get("LC_ALL") in ("C", "POSIX"):
    os.environ["LC_ALL"] = "C.UTF-8"

# A shell has its jobs in the background ignore Ctrl-C, and what they start does so too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


HAS_QT = _installed("PySide6") and _installed("pytestqt")
HAS_TORCH = _installed("torch") and _installed("transformers")

collect_ignore: list[str] = []
if not HAS_QT:
    collect_ignore += ["gui"]
if not HAS_TORCH:
    collect_ignore += ["models", "gpu", "benchmarks"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``qt`` or ``torch`` where that is not installed.

    A test that takes the fixture ``demo``, the window with the demo model loaded, needs torch too.
    """
    for name, there in (("qt", HAS_QT), ("torch", HAS_TORCH)):
        if there:
            continue
        for item in items:
            loads_model = name == "torch" and "demo" in getattr(item, "fixturenames", ())
            if loads_model or item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=f"{name} is not installed"))


@pytest.fixture(autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a home folder of its own, so that settings do not leak between tests."""
    home = tmp_path_factory.getbasetemp() / "homes" / str(next(_home_numbers))
    monkeypatch.setenv("VAR_STUDIO_HOME", str(home))
    return home


_home_numbers = iter(range(10**9))
