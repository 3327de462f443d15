"""The desktop's view of VAR Studio: its menu entry and its file type, installed and taken away."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest

from tests.synthetic import make_run
from var_studio.recording.session import save_session

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
OLD = Path(__file__).parent / "recording" / "old"
MIME = "application/x-var-studio-session"

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="desktops that follow freedesktop.org"
)


def install(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    return subprocess.run(
        ["sh", str(PACKAGING / "install-desktop"), *map(str, arguments)],
        env=environment | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program in a folder with a space, that notes what it is asked to open."""
    path = tmp_path / "my programs" / "var-studio"
    path.parent.mkdir()
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$(dirname "$0")/asked"\n')
    path.chmod(0o755)
    return path


def installed(home: Path) -> set[str]:
    """Files of ours, without the databases that the desktop's own tools write."""
    share = home / ".local/share"
    return {
        path.relative_to(share).as_posix()
        for path in share.rglob("*")
        if path.is_file() and "var-studio" in path.name
    }


def test_installs_for_the_user_and_takes_everything_away(tmp_path: Path, program: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = install(home, "--program", program)
    assert done.returncode == 0, done.stderr
    found = installed(home)
    assert {"applications/var-studio.desktop", "mime/packages/var-studio.xml"} <= found
    for size in (16, 256):
        assert f"icons/hicolor/{size}x{size}/apps/var-studio.png" in found
        assert f"icons/hicolor/{size}x{size}/mimetypes/{MIME.replace('/', '-')}.png" in found
    entry = configparser.ConfigParser(interpolation=None)
    entry.optionxform = str  # type: ignore[assignment,method-assign]
    entry.read(home / ".local/share/applications/var-studio.desktop", encoding="utf-8")
    shown = entry["Desktop Entry"]
    assert shown["Exec"] == f'"{program}" gui %f' and shown["TryExec"] == str(program)
    assert shown["MimeType"] == f"{MIME};"
    assert install(home, "--program", program).returncode == 0  # again changes nothing
    assert installed(home) == found
    assert install(home, "--remove").returncode == 0
    assert installed(home) == set()


@pytest.mark.parametrize("wrong", ["gone", "folder", "a$b"])
def test_a_program_that_cannot_be_named_installs_nothing(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a$b").write_text("#!/bin/sh\n")
    (tmp_path / "a$b").chmod(0o755)
    done = install(tmp_path, "--program", tmp_path / wrong)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / ".local").exists()


def _has_magic(content: bytes, match: ElementTree.Element) -> bool:
    """Whether a rule of shared-mime-info holds, with one of the rules inside it."""
    wanted = match.attrib["value"].encode().decode("unicode_escape").encode("latin-1")
    first, _, last = match.attrib["offset"].partition(":")
    here = content[int(first) : int(last or first) + len(wanted)]
    return wanted in here and (len(match) == 0 or any(_has_magic(content, m) for m in match))


def test_sessions_are_known_by_their_first_bytes_and_other_zips_are_not(tmp_path: Path) -> None:
    tree = ElementTree.parse(PACKAGING / "var-studio.xml")
    (kind,) = tree.getroot()
    assert kind.attrib["type"] == MIME
    (rule,) = kind.findall("./{*}magic/{*}match")
    saved = save_session(tmp_path / "new.vars", runs=[make_run(tmp_path / "run")])
    for path in (saved, *sorted(OLD.glob("*.vars"))):
        assert _has_magic(path.read_bytes(), rule), path
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("zarr.json", '{"zarr_format":3,"node_type":"group"}')
    assert not _has_magic(other.read_bytes(), rule)


@pytest.mark.skipif(shutil.which("desktop-file-validate") is None, reason="no desktop-file-utils")
def test_the_menu_entry_is_valid(tmp_path: Path, program: Path) -> None:
    install(tmp_path, "--program", program)
    for entry in (
        PACKAGING / "var-studio.desktop",
        tmp_path / ".local/share/applications/var-studio.desktop",
    ):
        done = subprocess.run(
            ["desktop-file-validate", str(entry)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(
    shutil.which("gio") is None or shutil.which("update-mime-database") is None,
    reason="no gio, or no shared-mime-info",
)
def test_a_double_click_starts_the_program_on_the_file(tmp_path: Path, program: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    install(home, "--program", program)
    session = tmp_path / "Größe 1.vars"
    shutil.copy(next(OLD.glob("*.vars")), session)
    renamed = shutil.copy(session, tmp_path / "renamed")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    environment["HOME"] = str(home)
    for path in (session, renamed):
        told = subprocess.run(
            ["gio", "info", "--attributes=standard::content-type", str(path)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"content-type: {MIME}" in told.stdout
    default = subprocess.run(
        ["gio", "mime", MIME], env=environment, capture_output=True, text=True, check=True
    )
    assert "var-studio.desktop" in default.stdout.splitlines()[0]
    entry = home / ".local/share/applications/var-studio.desktop"
    subprocess.run(["gio", "launch", str(entry), str(session)], env=environment, check=True)
    asked = program.parent / "asked"
    until = time.monotonic() + 30
    while not (asked.exists() and asked.read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    assert asked.read_text() == f"gui\n{session}\n"
