"""Saving on disks that are really full, small or read-only, and saves that are stopped."""

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.synthetic import make_run
from tests.unit.recording.failing_disk import refusing
from tests.unit.recording.session_runs import SMALL, same, two_runs
from var_studio.recording import packing, replacing
from var_studio.recording.content import Content
from var_studio.recording.failures import StoppedError, StorageError
from var_studio.recording.paths import check_cache
from var_studio.recording.session import Session, open_session, save_session, session_size

ROOT = Path(__file__).parents[3]
LARGER = {**SMALL, "rows": 24, "cols": 24, "layers": 6, "heads": 6, "queries": 60}
unix = pytest.mark.skipif(os.name == "nt", reason="not for Windows")


@contextlib.contextmanager
def small_disk(folder, options):
    """A disk of its own in memory; skips where mounting is not allowed."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def left(folder):
    """What lies in a folder, locks apart: these stay while a program has a file open."""
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


@unix
@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_a_disk_that_is_really_full(tmp_path):
    small = two_runs(tmp_path)
    large = make_run(tmp_path / "large", name="large", **LARGER)
    disk = tmp_path / "disk"
    with small_disk(disk, "size=1m"):
        path = save_session(disk / "s.vars", small, notes="old")
        before = path.read_bytes()
        session = open_session(path)
        assert session_size([*small, large]) > 2 << 20
        for target in (path, disk / "new.vars"):
            with pytest.raises(StorageError, match=r"disk is full.*Free some space"):
                save_session(target, [*session.runs, large])
            assert left(disk) == ["s.vars"] and path.read_bytes() == before
        assert same(session.runs[1], small[1])
        # As soon as there is room it works, with the same objects.
        session.runs.append(large)
        remount(disk, "size=16m")
        save_session(path, session)
        assert same(open_session(path).runs[2], large) and left(disk) == ["s.vars"]
        session.close()


@unix
@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_a_disk_that_is_really_read_only(tmp_path):
    runs = two_runs(tmp_path)
    disk = tmp_path / "disk"
    with small_disk(disk, "size=4m"):
        path = save_session(disk / "s.vars", runs)
        before = path.read_bytes()
        session = open_session(path)
        remount(disk, "ro")
        with pytest.raises(StorageError, match=r"read-only.*unchanged.*another folder"):
            save_session(path, session)
        assert path.read_bytes() == before and left(disk) == ["s.vars"]
        # Elsewhere it can be saved all the same.
        elsewhere = save_session(tmp_path / "e.vars", session)
        assert same(open_session(elsewhere).runs[0], runs[0])
        session.close()


@unix
@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_a_cache_on_a_disk_that_is_really_read_only(tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    monkeypatch.setenv("VAR_STUDIO_HOME", str(disk / "home"))
    with small_disk(disk, "size=1m"):
        check_cache()
        remount(disk, "ro")
        with pytest.raises(StorageError, match=r"disk is read-only.*VAR_STUDIO_HOME"):
            check_cache()


_LIMITED = """
import resource, sys
from pathlib import Path
from var_studio.recording.failures import StorageError
from var_studio.recording.recording import Recording
from var_studio.recording.session import open_session, save_session
path, directory, most = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
session = open_session(path)
session.runs.append(Recording.open(directory))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
try:
    save_session(path, session)
except StorageError as error:
    print(error)
else:
    sys.exit(5)
"""


@unix
@pytest.mark.parametrize("most", [0, 1, 4097, 300_000])
def test_no_file_may_grow_beyond_a_limit(tmp_path, most):
    """What a quota does: the system itself cuts a write short, then refuses the next."""
    path = save_session(tmp_path / "s.vars", two_runs(tmp_path))
    run = make_run(tmp_path / "large", **LARGER)
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, path, run.path, str(most)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "File too large" in done.stdout and "unchanged" in done.stdout
    assert path.read_bytes() == before
    assert left(tmp_path) == ["a", "b", "large", "s.vars"]


def test_a_write_that_fails_at_any_byte(tmp_path, monkeypatch):
    originals = two_runs(tmp_path)
    path = save_session(tmp_path / "s.vars", originals)
    before, session = path.read_bytes(), open_session(path)
    rng = random.Random(7)
    places = [0, 1, len(before) - 1, *(rng.randrange(len(before)) for _ in range(60))]
    for number, room in enumerate(places):
        code = (errno.ENOSPC, errno.EDQUOT, errno.EIO)[number % 3]
        with monkeypatch.context() as patch:
            patch.setattr(replacing, "open", refusing(room, code), raising=False)
            with pytest.raises(StorageError, match="unchanged"):
                save_session(path, session)
        assert path.read_bytes() == before, room
        assert left(tmp_path) == ["a", "b", "s.vars"]
    assert same(session.runs[0], originals[0])
    # A control: with room for all of it nothing fails.
    monkeypatch.setattr(replacing, "open", refusing(2 * len(before), 5), raising=False)
    save_session(path, session)
    assert path.read_bytes() == before


@pytest.mark.parametrize("at", [0, 1, 5, 30, "last"])
def test_stopping_at_any_time(tmp_path, at):
    runs = two_runs(tmp_path)
    path = save_session(tmp_path / "s.vars", runs, notes="old")
    before, cancel, told = path.read_bytes(), threading.Event(), []
    session = Session(runs, notes="new")

    def progress(done, total):
        told.append((done, total))
        if len(told) - 1 == at or (at == "last" and done == total):
            cancel.set()

    with pytest.raises(StoppedError, match="stopped"):
        save_session(path, session, progress=progress, cancel=cancel)
    assert path.read_bytes() == before and left(tmp_path) == ["a", "b", "s.vars"]
    assert session.left_behind == [] and session.path is None
    assert all(run.in_directory for run in session.runs)
    cancel.clear()
    save_session(path, session, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] and open_session(path).notes == "new"
    # Told in bytes: all of the file but the records of the zip.
    assert 0.8 * path.stat().st_size < told[-1][1] < path.stat().st_size


def test_a_large_piece_is_stopped_within_a_few_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "_BLOCK", 1000)
    cancel, seen = threading.Event(), []

    def progress(done, total):
        seen.append(done)
        if done > 50_000:
            cancel.set()

    pieces = [packing.of_bytes("large", bytes(10_000_000))]
    with open(tmp_path / "f", "wb") as file, pytest.raises(StoppedError):
        packing.write_file(file, pieces, progress, cancel)
    assert (tmp_path / "f").stat().st_size < 200_000


_INTERRUPTED = """
import sys, time
from var_studio.recording import packing
from var_studio.cli import main
add = packing._Told.add
def slow(told, size):
    add(told, size)
    print("block", flush=True, file=sys.stderr)
    time.sleep(0.02)
    if told._done > 0.6 * told._total:
        told._cancel.wait(20)  # however late the stop comes, it comes before the end
packing._Told.add = slow
sys.exit(main(["pack", sys.argv[1], "--out", sys.argv[2], "--overwrite"]))
"""


@unix
@pytest.mark.parametrize("seed", range(4))
def test_ctrl_c_at_random_moments_of_a_process_of_its_own(tmp_path, seed):
    path = save_session(tmp_path / "s.vars", make_run(tmp_path / "run", **LARGER))
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "o.vars"
    out.write_bytes(b"as it was")
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, path, out],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # pytest in the background may have it ignored, and a child inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    while "block" not in process.stderr.readline():
        pass
    time.sleep(random.Random(seed).uniform(0, 0.8))
    assert left(tmp_path / "out") != ["o.vars"]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Stopped; nothing was written." in said
    assert left(tmp_path / "out") == ["o.vars"] and out.read_bytes() == b"as it was"


@unix
def test_whoever_could_read_the_old_file_can_read_the_new_one(tmp_path):
    path = save_session(tmp_path / "s.vars", two_runs(tmp_path))
    path.chmod(0o640)
    save_session(path, open_session(path), content=Content(images=False))
    assert path.stat().st_mode & 0o777 == 0o640
