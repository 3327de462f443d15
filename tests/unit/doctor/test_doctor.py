"""The doctor tells of what is broken, whatever it is, and takes no harm from it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from var_studio.doctor import places, probes, report, versions
from var_studio.doctor.devices import check_torch
from var_studio.doctor.imports import check_imports
from var_studio.doctor.libraries import install_command, named_in
from var_studio.doctor.probes import Probed

ROOT = Path(__file__).resolve().parents[3]


def run(*arguments: str, fakes: Path | None = None, **variables: str) -> tuple[int, Any, str]:
    """The command in a process of its own; modules in `fakes` go before those installed."""
    path = os.pathsep.join(filter(None, (str(fakes or ""), str(ROOT))))
    done = subprocess.run(
        [sys.executable, "-m", "var_studio", "doctor", "--json", *arguments],
        env={**os.environ, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """A broken torch, a Qt that aborts in a release that must not be used, no command line."""
    folder = tmp_path / "fakes"
    folder.mkdir()
    (folder / "torch.py").write_text(
        "raise ImportError('libcudart.so.12: cannot open shared object file')"
    )
    (folder / "PySide6.py").write_text("import os, sys; sys.stderr.write('no xcb'); os.abort()")
    for broken in ("typer", "pydantic", "matplotlib"):
        (folder / f"{broken}.py").write_text("raise ImportError('half a package')")
    for name, version in (("PySide6_Essentials", "6.11.0"), ("shiboken6", "6.10.2")):
        release = folder / f"{name}-{version}.dist-info"
        release.mkdir()
        (release / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
        )
    return folder


def test_a_broken_installation_is_told_not_raised(fakes: Path) -> None:
    code, document, err = run(fakes=fakes)
    assert code == 1 and document["ok"] is False, err
    assert "Traceback" not in err
    checks = {check["id"]: check for check in document["checks"]}
    for package in ("typer", "pydantic"):
        assert checks[f"loads.{package}"]["state"] == "bad"
    torch = checks["torch"]
    assert torch["state"] == "bad" and "libcudart.so.12" in torch["says"]
    assert torch["fix"].startswith("pip install --force-reinstall torch")
    window = checks["window"]
    assert window["state"] == "bad" and "SIGABRT" in window["says"]
    assert window["facts"]["stderr"] == "no xcb"
    qt = checks["package.pyside6-essentials"]
    assert qt["state"] == "bad" and "known to break" in qt["says"]
    assert "!=6.11.0" in qt["fix"] and qt["facts"]["version"] == "6.11.0"
    assert checks["package.shiboken6"]["state"] == "bad"
    assert checks["fonts"]["state"] == "bad" and "half a package" in checks["fonts"]["says"]
    assert checks["folder.cache"]["state"] in ("ok", "warn")


BROKEN = {
    "numpy": "numpy", "numcodecs": "numcodecs", "zarr": "zarr", "pydantic": "pydantic",
    "typer": "typer", "platformdirs": "platformdirs", "PIL": "pillow",
    "array_api_compat": "array-api-compat",
}  # fmt: skip


@pytest.mark.parametrize(("module", "package"), BROKEN.items())
def test_each_package_that_is_broken_is_named(tmp_path: Path, module: str, package: str) -> None:
    """Those that need it are not: they are sound."""
    (tmp_path / f"{module}.py").write_text("raise ImportError('half a package')")
    code, document, err = run(fakes=tmp_path)
    assert code == 1 and document["ok"] is False and "Traceback" not in err
    bad = {c["id"]: c for c in document["checks"] if c["state"] == "bad"}
    found = bad[f"loads.{package}"]
    assert "half a package" in found["says"] and f"--force-reinstall {package}==" in found["fix"]
    loads = {key for key in bad if key.startswith("loads.")} - {"loads.transformers"}
    assert loads - {"loads.accelerate"} == {f"loads.{package}"}
    if "fonts" in bad:
        assert f"--force-reinstall {package}==" in bad["fonts"]["fix"]


def test_every_package_that_is_declared_is_tried() -> None:
    from var_studio.doctor import imports

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {re.split(r"[<>=!; \[]", line)[0].lower() for line in project["dependencies"]}
    elsewhere = {
        "accelerate", "torch", "transformers", "matplotlib", "pyqtgraph", "pyside6-essentials",
    }  # fmt: skip
    tried = {imports.LIBRARIES.get(name, name).lower() for name in imports.NEEDED}
    assert named == tried | elsewhere


@pytest.mark.qt
def test_a_broken_pyqtgraph_is_not_qts_fault(tmp_path: Path) -> None:
    (tmp_path / "pyqtgraph.py").write_text("raise ImportError('half a package')")
    _, document, _ = run(fakes=tmp_path, QT_QPA_PLATFORM="offscreen")
    (window,) = [c for c in document["checks"] if c["id"] == "window"]
    assert window["state"] == "bad" and "pyqtgraph does not load" in window["says"]
    assert "--force-reinstall pyqtgraph==" in window["fix"]


@pytest.mark.torch
def test_what_hangs_beside_torch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, start = tmp_path / "there", probes._start
    (tmp_path / "transformers.py").write_text(
        f"import time\nopen({str(there)!r}, 'w').close()\ntime.sleep(600)"
    )
    (tmp_path / "zarr.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(ROOT))))

    def started(name: str) -> Any:
        """As always, but the time counts from where they hang, however long torch takes there."""
        process = start(name)
        if name == "packages":
            until = time.monotonic() + 120
            while not there.exists() or process.poll() is None:  # type: ignore[union-attr]
                assert time.monotonic() < until
                time.sleep(0.02)
        return process

    assert list(probes.PROBES)[-1] == "packages", "all others have been started before it"
    monkeypatch.setattr(probes, "_start", started)
    found = probes.run_all(seconds=2)
    (check,) = check_torch(found["torch"])
    assert check.id == "loads.transformers" and check.state == "bad"
    assert "no answer within 2 seconds" in check.says and "transformers==" in check.fix
    (packages,) = check_imports(found["packages"])
    assert packages.id == "loads.zarr" and "SIGABRT" in packages.says


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.qt
def test_this_machine_is_fit() -> None:
    code, document, err = run(QT_QPA_PLATFORM="offscreen")
    assert code == 0, (document, err)
    assert set(document) == {"schema", "var_studio", "ok", "checks"}
    for check in document["checks"]:
        assert set(check) == {"id", "state", "says", "fix", "facts"}
        assert check["state"] in ("ok", "warn") and check["says"].endswith(".")
    found = {check["id"]: check for check in document["checks"]}
    assert found["kernels"]["facts"]["sdpa"] and found["kernels"]["facts"]["eager"]
    assert found["device"]["facts"]["torch"]
    assert "hub" not in found


def test_a_probe_that_never_ends_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("torch", "PySide6", "matplotlib", "zarr"):
        (tmp_path / f"{module}.py").write_text("import time; time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(ROOT))))
    found = probes.run_all(seconds=4)
    assert {name: probed.failure for name, probed in found.items()} == dict.fromkeys(
        probes.PROBES, "no answer within 4 seconds"
    )


def test_every_declared_package_is_in_the_table() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {re.split(r"[<>=!; \[]", line)[0].lower() for line in project["dependencies"]}
    checks = {check.id: check for check in versions.check_packages()}
    assert {f"package.{name}" for name in named} <= set(checks)
    extras = project["optional-dependencies"]
    for extra in versions.EXTRAS:
        for line in extras[extra]:
            check = checks[f"package.{re.split(r'[<>=!]', line)[0].lower()}"]
            assert check.facts["optional"] and check.state == "ok"


@pytest.mark.parametrize(
    ("version", "state"),
    [("2.10.0", "bad"), ("2.11.0", "ok"), ("2.13.0+cpu", "ok"), (None, "warn")],
)
def test_a_version_is_held_against_its_range(
    monkeypatch: pytest.MonkeyPatch, version: str | None, state: str
) -> None:
    monkeypatch.setattr(versions, "installed", lambda name: version)
    monkeypatch.setattr(versions, "declared", lambda: (["torch>=2.11"], {}))
    (check,) = versions.check_packages()
    assert check.state == state
    assert check.fix == ("" if state == "ok" else 'pip install "torch>=2.11"')


def test_what_is_known_bad_is_excluded_in_the_declaration_too() -> None:
    from packaging.requirements import Requirement

    needed, _ = versions.declared()
    assert versions.known_bad("pyside6-essentials", "6.12.0", (3, 11))
    assert not versions.known_bad("pyside6-essentials", "6.12.0", (3, 12))
    for name, numbers, before, _ in versions.KNOWN_BAD:
        python = "3.11" if before == (0, 0) else f"{before[0]}.{before[1] - 1}"
        ranges = [
            each.specifier
            for each in map(Requirement, needed)
            if each.name.lower() == name
            and (each.marker is None or each.marker.evaluate({"python_version": python}))
        ]
        for number in numbers:
            assert not all(allowed.contains(number) for allowed in ranges)


def test_a_machine_without_torch_qt_or_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("devices", "places"):
        monkeypatch.setattr(f"var_studio.doctor.{module}.installed", lambda name: None)
    gone = Probed({}, "ModuleNotFoundError: No module named 'torch'")
    assert [c.state for c in check_torch(gone)] == ["warn"]
    assert [c.state for c in places.check_window(gone)] == ["warn"]
    monkeypatch.setattr(places, "installed", lambda name: "6.11.3")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(places.sys, "platform", "linux")
    monkeypatch.setattr(places, "missing_libraries", lambda platform: [])
    died = Probed({}, "the process died (SIGABRT)", "could not connect to display")
    (check,) = places.check_window(died)
    assert check.state == "warn" and "no display" in check.says
    monkeypatch.setenv("DISPLAY", ":0")
    assert places.check_window(died)[0].state == "bad"
    monkeypatch.setattr(places, "missing_libraries", lambda platform: ["libxcb-cursor.so.0"])
    (check,) = places.check_window(died)
    assert check.state == "bad" and check.fix == "sudo apt-get install libxcb-cursor0"


def healthy() -> dict[str, Any]:
    """What the probe of torch finds on a plain machine."""
    works = dict.fromkeys(("eager", "sdpa", "sdpa_math"), True)
    loads = {"version": "1.0", "error": None}
    return {
        "torch": "2.13.0+cpu", "cuda_build": None, "gpus": [], "mps": False, "threads": 2,
        "kernels": works, "torchvision": {"version": None, "error": None}, "bitsandbytes": loads,
        "transformers": loads, "accelerate": loads,
    }  # fmt: skip


def test_devices_and_what_must_load_beside_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("var_studio.doctor.devices._nvidia_gpus", lambda: ["NVIDIA H200"])
    found = healthy()
    checks = {c.id: c for c in check_torch(Probed(found))}
    assert checks["device"].state == "warn" and "H200" in checks["device"].says
    assert "torch==2.13.0 " in checks["device"].fix
    gpu = {"name": "NVIDIA H200", "total": 140 << 30, "free": 70 << 30, "capability": "9.0"}
    checks = {c.id: c for c in check_torch(Probed(found | {"gpus": [gpu]}))}
    assert checks["device"].state == "ok" and "70.0 GiB of 140.0 GiB" in checks["device"].says
    broken = {"version": None, "error": "RuntimeError: operator torchvision::nms does not exist"}
    checks = {c.id: c for c in check_torch(Probed(found | {"torchvision": broken}))}
    assert checks["torchvision"].state == "bad" and "nms" in checks["torchvision"].says
    checks = {c.id: c for c in check_torch(Probed(found | {"transformers": broken}))}
    assert checks["loads.transformers"].state == "bad"


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("libEGL.so.1: cannot open shared object file", "sudo apt-get install libegl1"),
        ("libGL.so.1 => not found", "sudo apt-get install libgl1"),
        ("libxkbcommon-x11.so.0 => not found", "sudo apt-get install libxkbcommon-x11-0"),
        ("libdbus-1.so.3 => not found", "sudo apt-get install libdbus-1-3"),
        ("libglib-2.0.so.0 => not found", "sudo apt-get install libglib2.0-0"),
        ("all is well", ""),
    ],
)
def test_missing_libraries_become_debian_packages(said: str, command: str) -> None:
    """The names are those of packaging/debian-packages.txt."""
    assert install_command(named_in(said)) == command
    listed = (ROOT / "packaging" / "debian-packages.txt").read_text(encoding="utf-8").split()
    assert not command or command.split()[-1] in listed


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a file"
    place.write_text("")
    monkeypatch.setenv("VAR_STUDIO_HOME", str(place))
    checks = {check.id: check for check in places.check_folders()}
    assert checks["folder.cache"].state == "bad" and "VAR_STUDIO_HOME" in checks["folder.cache"].fix
    monkeypatch.setenv("HF_HOME", str(place))
    hub = {check.id: check for check in places.check_folders()}["folder.hub"]
    assert hub.state == "warn" and hub.facts["path"] == str(place / "hub")


def test_a_check_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("nobody thought of this")

    gone = Probed({}, "no answer")
    monkeypatch.setattr(probes, "run_all", lambda seconds: dict.fromkeys(probes.PROBES, gone))
    monkeypatch.setattr(versions, "check_packages", broken)
    found = report.examine()
    states = {check.id: check for check in found.checks}
    assert "nobody thought of this" in states["packages"].says
    assert "folder.cache" in states and not found.ok
    assert "-> " in found.to_text()


def test_the_hub_is_asked_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "run_all", lambda s: dict.fromkeys(probes.PROBES, Probed({}, "x")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "hub" not in {check.id for check in report.examine().checks}
    assert "hub" in {check.id for check in report.examine(online=True).checks}
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert places.check_hub().state == "warn"
