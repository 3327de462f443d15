import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.synthetic import make_run
from var_studio.recording import locks
from var_studio.recording.locks import FileInUseError, ProgramLock, holder_in, session_lock_path
from var_studio.recording.session import open_session, save_session

HOLD = """
import sys, time
from pathlib import Path
from var_studio.recording.locks import ProgramLock
assert ProgramLock.take(Path(sys.argv[1]), "a window") is not None
print("held", flush=True)
time.sleep(600)
"""
SMALL = {"layers": 1, "heads": 1, "rows": 2, "cols": 2, "queries": 2}


@pytest.fixture
def other_program(tmp_path):
    """Starts a program that holds a lock until it is killed."""
    started = []

    def start(path: Path) -> subprocess.Popen:
        program = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
        )
        started.append(program)
        assert program.stdout.readline() == "held\n"
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()


def test_one_holder_at_a_time_and_nothing_left(tmp_path):
    path = tmp_path / "locks" / "a.lock"
    first = ProgramLock.take(path, "a window")
    assert first is not None and ProgramLock.take(path, "a script") is None
    assert holder_in(path).pid == os.getpid()
    assert f"another window of VAR Studio (process {os.getpid()}, since " in str(holder_in(path))
    first.release()
    first.release()
    assert not path.parent.exists()
    second = ProgramLock.take(path, "a script")
    assert second is not None
    second.release()


def test_a_killed_program_holds_nothing(tmp_path, other_program):
    path = tmp_path / "locks" / "a.lock"
    program = other_program(path)
    assert ProgramLock.take(path, "a window") is None and holder_in(path).pid == program.pid
    program.kill()
    program.wait()
    assert path.exists(), "the stale file is what is tested"
    lock = ProgramLock.take(path, "a window")
    assert lock is not None and holder_in(path).pid == os.getpid()
    lock.release()


def test_a_lock_whose_file_its_last_holder_removed_is_none(tmp_path, monkeypatch):
    """Between opening the file and locking it, the last holder lets go and removes it."""
    path = tmp_path / "locks" / "a.lock"
    last = ProgramLock.take(path, "a window")
    real, calls = locks.try_lock, []

    def late(file):
        calls.append(file)
        if len(calls) == 1:
            last.release()
        return real(file)

    monkeypatch.setattr(locks, "try_lock", late)
    lock = ProgramLock.take(path, "a window")
    assert len(calls) == 2 and path.exists()
    assert ProgramLock.take(path, "a window") is None
    lock.release()


@pytest.mark.skipif(os.name == "nt", reason="no such disks there")
def test_a_disk_without_locks_goes_by_the_process(tmp_path, monkeypatch, other_program):
    monkeypatch.setattr(locks, "try_lock", lambda file: None)
    path = tmp_path / "locks" / "a.lock"
    program = other_program(path)
    assert ProgramLock.take(path, "a window") is None
    program.kill()
    program.wait()
    lock = ProgramLock.take(path, "a window")
    assert lock is not None
    lock.release()
    path.parent.mkdir(exist_ok=True)
    path.write_text("no JSON")
    assert ProgramLock.take(path, "a window") is not None


def test_saving_into_a_file_that_another_program_has_open_is_refused(tmp_path, other_program):
    run = make_run(tmp_path / "run", **SMALL)
    path = save_session(tmp_path / "a.vars", [run], notes="theirs")
    (tmp_path / "link.vars").symlink_to(path)
    program = other_program(session_lock_path(path))
    before = path.read_bytes()
    for name in (path, tmp_path / "link.vars"):
        with pytest.raises(FileInUseError, match=rf"another window.*process {program.pid}"):
            save_session(name, [run], notes="mine")
    assert path.read_bytes() == before
    assert open_session(path).notes == "theirs", "reading is no matter of locks"
    save_session(tmp_path / "b.vars", [run])
    program.kill()
    program.wait()
    save_session(path, [run], notes="mine")
    assert open_session(path).notes == "mine"
    assert not (session_lock_path(path).parent).exists()


def test_whoever_holds_the_lock_saves_and_keeps_it(tmp_path):
    run = make_run(tmp_path / "run", **SMALL)
    path = tmp_path / "a.vars"
    lock = ProgramLock.take(session_lock_path(path), "a window")
    with pytest.raises(FileInUseError):
        save_session(path, [run])
    assert not path.exists()
    save_session(path, [run], held=lock)
    assert ProgramLock.take(session_lock_path(path), "a script") is None
    lock.release()


def test_the_lock_of_one_file_is_none_of_another(tmp_path, other_program):
    run = make_run(tmp_path / "run", **SMALL)
    other_program(session_lock_path(tmp_path / "theirs.vars"))
    mine = ProgramLock.take(session_lock_path(tmp_path / "mine.vars"), "a window")
    with pytest.raises(FileInUseError):
        save_session(tmp_path / "theirs.vars", [run], held=mine)
    assert not (tmp_path / "theirs.vars").exists()
    mine.release()


def test_a_cache_that_cannot_be_written_is_no_reason_not_to_save(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", **SMALL)
    (tmp_path / "home").write_text("a file")
    monkeypatch.setenv("VAR_STUDIO_HOME", str(tmp_path / "home"))
    save_session(tmp_path / "a.vars", [run])
