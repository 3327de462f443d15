"""Pipes, devices, links, odd names and write protection where a file or folder should be."""

import os
import shutil
import stat

import pytest

from tests.synthetic import make_run
from var_studio.errors import VarStudioError
from var_studio.recording import files
from var_studio.recording.failures import RecordingError, SessionError, StorageError
from var_studio.recording.locks import holder_in
from var_studio.recording.recording import Recording
from var_studio.recording.session import Session, open_session, save_session
from var_studio.recording.unsaved import UnsavedFolder, left_over, windows_folder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs pipes and links")
SMALL = {"layers": 1, "heads": 1, "rows": 2, "cols": 2, "queries": 2}


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def sparse(path):
    with open(path, "wb") as file:
        file.truncate(5 << 30)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", **SMALL)


@pytest.mark.parametrize("make", [pipe, endless])
def test_a_session_that_is_no_plain_file(run, tmp_path, make):
    path = tmp_path / "s.vars"
    make(path)
    with pytest.raises(SessionError, match=r"no plain file.*Choose"):
        open_session(path)
    with pytest.raises(StorageError, match=r"no plain file.*Choose"):
        save_session(path, [run])
    assert not stat.S_ISREG(path.stat().st_mode), "it is still there"


@pytest.mark.parametrize("name", ["journal.jsonl", "attention/zarr.json", "attention/c.1.0.0.0"])
@pytest.mark.parametrize("make", [pipe, endless, sparse])
def test_a_run_with_a_file_that_is_none(tmp_path, make, name):
    run = make_run(tmp_path / "run", **SMALL, finish=False)
    (run.path / name).unlink()
    make(run.path / name)
    with pytest.raises(RecordingError, match=r"no plain file|absurdly long|missing|damaged"):
        Recording.open(run.path).attention(1)


@pytest.mark.parametrize("make", [pipe, endless, sparse])
@pytest.mark.parametrize("name", ["journal.jsonl", "session.json"])
def test_what_is_left_over_holds_up_no_start(private_home, make, name):
    folder = UnsavedFolder()
    directory = folder.new_run()
    run = make_run(directory, **SMALL, finish=False)
    folder.write(folder.describe(Session([run])))
    folder.release()
    place = (folder.folder if name == "session.json" else directory) / name
    place.unlink()
    make(place)
    found = left_over()
    assert [left.n_runs for left in found] == ([1] if name == "session.json" else [])
    assert directory.is_dir()


def test_a_link_to_what_is_left_over_is_not_another(private_home):
    folder = UnsavedFolder()
    run = make_run(folder.new_run(), **SMALL)
    folder.write(folder.describe(Session([run])))
    folder.release()
    (windows_folder() / "link").symlink_to(folder.folder)
    (folder.folder / "again").symlink_to(run.path)
    (folder.folder / "nowhere").symlink_to("gone")
    (found,) = left_over()
    assert (found.folder, found.n_runs) == (folder.folder, 1)


@pytest.mark.parametrize("make", [pipe, endless, sparse])
def test_a_lock_that_is_no_file_names_no_holder(tmp_path, make):
    make(tmp_path / "a.lock")
    assert holder_in(tmp_path / "a.lock").pid == 0


def test_names_that_no_file_can_have(run, tmp_path):
    (tmp_path / "loop.vars").symlink_to("loop.vars")
    names = ["x" * 300 + ".vars", "x" * 245 + ".vars", "a\0b.vars", "loop.vars"]
    for name in names:
        with pytest.raises(VarStudioError, match=r"Choose|Check|Open") as caught:
            open_session(tmp_path / name)
        assert len(str(caught.value)) < 600
        with pytest.raises(StorageError, match=r"Choose (a shorter|another) name"):
            save_session(tmp_path / name, [run])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loop.vars", "run"]


def test_a_write_protected_file_is_not_replaced(run, tmp_path):
    path = save_session(tmp_path / "s.vars", [run], notes="old")
    (tmp_path / "link.vars").symlink_to(path)
    path.chmod(0o444)
    for name in (path, tmp_path / "link.vars"):
        with pytest.raises(StorageError, match=r"write-protected\. Allow writing to it, or save"):
            save_session(name, [run], notes="new")
    assert open_session(path).notes == "old"
    path.chmod(0o600)
    save_session(path, [run], notes="new")
    assert open_session(path).notes == "new"


def test_a_file_replaced_under_an_open_session_is_not_called_damaged(tmp_path):
    runs = [make_run(tmp_path / str(n), seed=n, queries=6 + n) for n in range(2)]
    path = save_session(tmp_path / "s.vars", runs)
    other = save_session(tmp_path / "other.vars", [runs[1]])
    session = open_session(path)
    session.runs[0].attention(0)
    # Into the same file, as cp does: the session has it open.
    shutil.copyfile(other, path)
    for run in session.runs:
        with pytest.raises(SessionError, match=r"replaced by another program\. Open the session"):
            run.attention(5)
    assert len(open_session(path).runs) == 1


def test_most_bytes_are_those_of_descriptions_and_of_chunks():
    assert files.most_bytes("a/journal.jsonl") == files.most_bytes("zarr.json") == 1 << 27
    assert files.most_bytes("attention/c.0.0.0.0") > 1 << 28
