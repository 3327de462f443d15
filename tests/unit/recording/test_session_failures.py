"""What stops a session from being saved leaves the old file."""

import errno
import os
import stat
import threading
import time
import zipfile

import numpy as np
import pytest

from tests.synthetic import make_run
from tests.unit.recording.failing_disk import refusing
from tests.unit.recording.session_runs import SMALL, same, two_runs
from var_studio.recording import files, packing, replacing
from var_studio.recording import session as session_module
from var_studio.recording.failures import SessionError, StoppedError, StorageError
from var_studio.recording.session import open_session, save_session


@pytest.mark.parametrize("room", [0, 100, 5_000, 30_000])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, room):
    originals = two_runs(tmp_path)
    path = save_session(tmp_path / "s.vars", originals, notes="old")
    before, session = path.read_bytes(), open_session(path)
    assert len(before) > 30_000
    session.notes = "new"

    with monkeypatch.context() as patch:
        patch.setattr(replacing, "open", refusing(room, errno.ENOSPC), raising=False)
        with pytest.raises(StorageError, match="disk is full") as caught:
            save_session(path, session)
    assert "unchanged" in str(caught.value) and "Free some space" in str(caught.value)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "s.vars"]
    assert same(session.runs[1], originals[1])
    save_session(path, session)
    assert open_session(path).notes == "new"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_at_the_last_step_leaves_the_old_file(tmp_path, monkeypatch, step):
    originals = two_runs(tmp_path)
    path = save_session(tmp_path / "s.vars", originals)
    before, session = path.read_bytes(), open_session(path)

    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(StorageError, match="Input/output"):
            save_session(path, session)
    assert path.read_bytes() == before and same(session.runs[0], originals[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "s.vars"]


def test_a_read_only_folder(tmp_path, monkeypatch):
    path = save_session(tmp_path / "s.vars", two_runs(tmp_path))
    session = open_session(path)
    before = path.read_bytes()

    def refuse(name, *rest):
        # The mode bits of a folder do not stop the administrator, as whom tests may run.
        raise PermissionError(errno.EACCES, "Permission denied", name)

    monkeypatch.setattr(replacing, "open", refuse, raising=False)
    with pytest.raises(StorageError, match=r"may not be written.*unchanged.*another folder"):
        save_session(path, session)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs an ordinary user")
def test_a_folder_without_write_permission(tmp_path):
    folder = tmp_path / "folder"
    run = make_run(tmp_path / "a", **SMALL)
    folder.mkdir(mode=0o500)
    with pytest.raises(StorageError, match="may not be written"):
        save_session(folder / "s.vars", [run])


def test_saving_where_nothing_can_be(tmp_path):
    run = make_run(tmp_path / "a", **SMALL)
    with pytest.raises(StorageError, match="is a folder"):
        save_session(tmp_path, [run])
    with pytest.raises(StorageError, match="No such file"):
        save_session(tmp_path / "none" / "s.vars", [run])


def test_cancelling_leaves_the_old_file(tmp_path):
    path = save_session(tmp_path / "s.vars", two_runs(tmp_path))
    before, seen = path.read_bytes(), []

    class Cancelled(Exception):
        pass

    def progress(done, total):
        seen.append((done, total))
        if done > total / 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        save_session(path, open_session(path), progress=progress)
    assert seen[0][0] == 0 and len(seen) > 10 and path.read_bytes() == before
    assert {total for _, total in seen} == {seen[0][1]}
    assert sorted(done for done, _ in seen) == [done for done, _ in seen]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "s.vars"]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_saving_through_a_link_replaces_what_it_points_to(tmp_path):
    run = make_run(tmp_path / "a", **SMALL)
    (tmp_path / "real").mkdir()
    real = save_session(tmp_path / "real" / "s.vars", [run])
    link = tmp_path / "link.vars"
    link.symlink_to(real)
    session = open_session(link)
    session.notes = "through"
    save_session(link, session)
    assert link.is_symlink() and open_session(real).notes == "through"
    assert same(session.runs[0], run)


def test_a_file_changed_by_another_program(tmp_path):
    runs = two_runs(tmp_path)
    path = save_session(tmp_path / "s.vars", runs)
    session = open_session(path)
    session.close()
    save_session(path, [runs[1]])
    os.utime(path, ns=(1, 1))
    with pytest.raises(SessionError, match="replaced by another program"):
        session.runs[0].attention(0)


def test_more_rows_than_a_file_is_opened_with(tmp_path, monkeypatch):
    """Refused before anything is written; at the limit, saved and opened again."""
    run = make_run(tmp_path / "run")
    path = save_session(tmp_path / "a.vars", [run])
    with zipfile.ZipFile(path) as archive:
        end = path.read_bytes().rindex(b"PK\x05\x06")
        length = end - archive.start_dir
    for module in (files, packing):
        monkeypatch.setattr(module, "MAX_DIRECTORY_BYTES", length)
    assert len(open_session(save_session(path, [run])).runs) == 1
    for module in (files, packing):
        monkeypatch.setattr(module, "MAX_DIRECTORY_BYTES", length - 1)
    before = path.read_bytes()
    with pytest.raises(SessionError, match="so many rows"):
        save_session(path, [run])
    assert path.read_bytes() == before
    with pytest.raises(SessionError, match="absurdly long"):
        open_session(path)


def test_what_a_killed_saving_left_is_removed_later(tmp_path):
    run = make_run(tmp_path / "run")
    names = [".a.vars.0123abcd.part", ".a.vars.99999999.part", ".a.vars.notours.part"]
    others = [".b.vars.0123abcd.part"]
    for name in names + others:
        (tmp_path / name).write_bytes(b"cut off")
    long_ago = time.time() - 7200
    for name in [names[0], names[2], *others]:
        os.utime(tmp_path / name, (long_ago, long_ago))
    save_session(tmp_path / "a.vars", [run])
    assert sorted(p.name for p in tmp_path.glob(".*.part")) == sorted(names[1:] + others)


@pytest.mark.skipif(os.name == "nt", reason="folders are not synced there")
@pytest.mark.parametrize("step", ["open", "fsync"])
def test_a_folder_that_cannot_be_synced_is_no_failed_save(tmp_path, monkeypatch, step):
    """As one that may be written and not read: the file is replaced all the same."""
    originals = two_runs(tmp_path)
    path = save_session(tmp_path / "s.vars", originals, notes="old")
    whole = getattr(os, step)

    def fail(what, *rest):
        folder = os.path.isdir(what) if step == "open" else stat.S_ISDIR(os.fstat(what).st_mode)
        if folder:
            raise PermissionError(errno.EACCES, "Permission denied")
        return whole(what, *rest)

    session = open_session(path)
    session.notes = "new"
    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        save_session(path, session)
    assert open_session(path).notes == "new" and same(session.runs[0], originals[0])


def test_all_bytes_are_on_the_disk_before_the_file_is_replaced(tmp_path, monkeypatch):
    path = save_session(tmp_path / "s.vars", two_runs(tmp_path))
    size, done = path.stat().st_size, []
    sync, replace = os.fsync, os.replace

    def synced(file):
        found = os.fstat(file)
        if stat.S_ISREG(found.st_mode):
            done.append(("synced", found.st_size))
        sync(file)

    def replaced(*names):
        done.append(("replaced", os.stat(names[0]).st_size))
        replace(*names)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    save_session(path, open_session(path))
    assert done == [("synced", size), ("replaced", size)]


def test_stopping_at_the_very_last_byte_still_stops(tmp_path):
    path = save_session(tmp_path / "s.vars", two_runs(tmp_path))
    before, cancel = path.read_bytes(), threading.Event()
    session = open_session(path)
    session.notes = "new"

    def tell(done, total):
        if done == total:
            cancel.set()

    with pytest.raises(StoppedError):
        save_session(path, session, progress=tell, cancel=cancel)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="no such modes")
def test_who_could_read_the_old_file_can_read_the_new_one(tmp_path):
    path = save_session(tmp_path / "s.vars", two_runs(tmp_path))
    for mode in (0o640, 0o666, 0o600):
        path.chmod(mode)
        save_session(path, open_session(path))
        assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be replaced there")
def test_another_thread_reads_on_while_the_file_is_replaced(tmp_path, monkeypatch):
    originals = two_runs(tmp_path)
    path = save_session(tmp_path / "s.vars", originals)
    session = open_session(path)
    session.close()
    session.notes, seen, replace = "longer than it was", [], os.replace

    def replaced(*names):
        # Nothing is open when the saving begins to replace; the rows were never read.
        replace(*names)
        seen.extend(run.attention(1) for run in session.runs)

    pieces = session_module.write_file

    def written(*arguments):
        pieces(*arguments)
        session.close()

    monkeypatch.setattr(session_module, "write_file", written)
    monkeypatch.setattr(os, "replace", replaced)
    save_session(path, session)
    for row, run in zip(seen, originals, strict=True):
        assert np.array_equal(row, run.attention(1))


def test_a_row_that_comes_while_its_run_is_packed_is_left_for_the_next_save(tmp_path, monkeypatch):
    """The tokens were taken before it came: its query would lie after the last of them."""
    run = make_run(tmp_path / "run", finish=False, **SMALL)
    rows, queries = packing.kept_rows, run.reader.queries
    before = len(queries)

    def meanwhile(*arguments):
        queries.append(run.length)
        return rows(*arguments)

    monkeypatch.setattr(packing, "kept_rows", meanwhile)
    with open_session(save_session(tmp_path / "s.vars", [run])) as session:
        assert session.runs[0].query_positions.tolist() == queries[:before]
