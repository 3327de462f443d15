import errno
import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from tests.synthetic import make_run
from tests.unit.recording.test_store import LAYOUT, generated, prompt, writer_in
from var_studio.recording import migrations
from var_studio.recording import session as session_module
from var_studio.recording.failures import RecordingError, SessionError, StorageError
from var_studio.recording.recording import Recording
from var_studio.recording.session import Session, open_session, save_session
from var_studio.recording.settings import Redistribution

ROOT = Path(__file__).parents[3]
SMALL = {"layers": 2, "heads": 3, "rows": 4, "cols": 5, "queries": 12}


def two_runs(folder, **changes):
    shape = {**SMALL, **changes}
    return [
        make_run(folder / "a", name="baseline", seed=1, **shape),
        make_run(folder / "b", name="VAR", seed=2, intervention=Redistribution(rho=0.5), **shape),
    ]


def same(run, other):
    """Whether two recordings hold the same, number for number."""
    described = ("id", "name", "tokens", "generation", "interventions", "provenance", "reason")
    for name in (*described, "sink_dims", "tau_default", "finished", "hidden_size"):
        assert getattr(run, name) == getattr(other, name), name
    assert np.array_equal(run.query_positions, other.query_positions)
    assert run.layout.to_json() == other.layout.to_json()
    for query in range(len(run.query_positions)):
        assert np.array_equal(run.attention(query), other.attention(query))
    assert np.array_equal(run.signed_values, other.signed_values, equal_nan=True)
    assert np.array_equal(run.value_norm(), other.value_norm(), equal_nan=True)
    for mine, its in zip(run.top_dims(), other.top_dims(), strict=True):
        assert np.array_equal(mine, its, equal_nan=True)
    assert [run.stored_image(i) for i in range(1)] == [other.stored_image(i) for i in range(1)]
    return True


def test_round_trip(tmp_path):
    runs = two_runs(tmp_path)
    view = {"panel": "heads", "layer": 1, "nested": [1, 2.5, None, "τ"]}
    path = save_session(tmp_path / "s.vars", runs=runs, notes="Grüße\nτ", view=view)
    assert path == tmp_path / "s.vars"
    with open_session(path) as session:
        assert session.notes == "Grüße\nτ" and session.view == view and session.path == path
        assert session.runs.names == ["baseline", "VAR"]
        for run, original in zip(session.runs, runs, strict=True):
            assert same(run, original) and run.path == path
        # The two runs have images of their own.
        assert [image.bytes for image in session.images] == [r.stored_image(0).bytes for r in runs]
        assert session.runs[0].image(0).size == (320, 240)
        settings = Redistribution(tau=4.0, rho=0.5)
        assert np.array_equal(
            session.runs["VAR"].redistributed(3, settings), runs[1].redistributed(3, settings)
        )
    # Lists, tuples and sessions do as well.
    assert same(open_session(save_session(tmp_path / "t.vars", runs)).runs[1], runs[1])


def test_runs_by_number_and_name(tmp_path):
    runs = Session(two_runs(tmp_path)).runs
    assert runs[0] is runs["baseline"] and runs[-1] is runs["VAR"] and len(runs) == 2
    assert runs[1:] == [runs["VAR"]] and [run.name for run in runs] == runs.names
    assert "VAR" in runs and runs[0] in runs and "other" not in runs
    with pytest.raises(RecordingError, match="'baseline', 'VAR'"):
        runs["other"]
    for number in (2, -3):
        with pytest.raises(RecordingError, match=f"no run {number}.*0 to 1, or -2 to -1"):
            runs[number]
    with pytest.raises(RecordingError, match="number or a name, not float"):
        runs[1.0]
    runs.append(runs[0])
    assert len(runs) == 2
    runs.remove(runs[0])
    assert runs.names == ["VAR"]


def test_plain_zarr_reads_it(tmp_path):
    runs = two_runs(tmp_path, rows=17, cols=17)
    path = save_session(tmp_path / "s.vars", runs, notes="n")
    store = ZipStore(path, mode="r")
    root = zarr.open(store, mode="r")
    assert root.attrs["kind"] == "var-studio-session" and root.attrs["schema"] == 1
    assert root.attrs["runs"] == [run.id for run in runs] and root.attrs["notes"] == "n"
    assert set(root) == {"runs", "images"} and set(root["runs"]) == {run.id for run in runs}
    for number, run in enumerate(runs):
        assert root[f"images/{number}"][:].tobytes() == run.stored_image(0).bytes
        group = root[f"runs/{run.id}"]
        assert group["attention"].shape == (12, 2, 3, run.length)
        for query in range(12):
            assert np.array_equal(group["attention"][query], run.attention(query))
        assert np.array_equal(group["sink_dims_value"][:], run.signed_values)
        assert np.array_equal(group["top_dims"][:], run.top_dims()[0])
        assert np.array_equal(group["value_norm"][:].astype(np.float32), run.value_norm())
    store.close()


def test_an_image_shared_by_runs_is_kept_once(tmp_path):
    runs = [make_run(tmp_path / name, seed=1, name=name, **SMALL) for name in ("a", "b")]
    path = save_session(tmp_path / "s.vars", runs)
    names = [n for n in zipfile.ZipFile(path).namelist() if n.startswith("images/") and "/c." in n]
    assert names == ["images/0/c.0"]
    session = open_session(path)
    assert len(session.images) == 1
    assert session.runs["b"].stored_image(0) == runs[1].stored_image(0)


def test_an_empty_session(tmp_path):
    session = open_session(save_session(tmp_path / "s.vars", Session(notes="nothing yet")))
    assert len(session.runs) == 0 and session.images == [] and session.notes == "nothing yet"


def test_the_same_run_twice_and_runs_of_one_id(tmp_path):
    run = make_run(tmp_path / "a", **SMALL)
    copy = open_session(save_session(tmp_path / "s.vars", [run])).runs[0]
    session = open_session(save_session(tmp_path / "t.vars", [run, run, copy]))
    assert len(session.runs) == 2
    assert same(session.runs[0], run) and session.runs[1].name == "baseline (2)"
    assert session.runs[1].id == run.id and session.runs[1].tokens == run.tokens


def test_runs_of_one_name_are_told_apart(tmp_path):
    names = ["baseline", "VAR", "baseline", "baseline (2)", "baseline"]
    runs = [make_run(tmp_path / str(i), name=name, seed=i, **SMALL) for i, name in enumerate(names)]
    session = Session(runs)
    told = ["baseline", "VAR", "baseline (3)", "baseline (2)", "baseline (4)"]
    assert session.runs.names == told
    assert [session.runs[name] for name in told] == runs
    assert "baseline (4)" in session.runs and "baseline (5)" not in session.runs
    assert [run.name for run in runs] == names, "the caller's runs stay as they are"

    opened = open_session(save_session(tmp_path / "s.vars", session))
    assert [run.name for run in opened.runs] == opened.runs.names == told
    for name, run in zip(told, runs, strict=True):
        assert np.array_equal(opened.runs[name].attention(5), run.attention(5))
    again = save_session(tmp_path / "t.vars", opened.runs)
    assert again.read_bytes() == (tmp_path / "s.vars").read_bytes()


def test_one_run_needs_no_list(tmp_path):
    run, _ = two_runs(tmp_path)
    for path in (
        save_session(tmp_path / "s.vars", run),
        save_session(tmp_path / "t.vars", runs=run),
    ):
        (saved,) = open_session(path).runs
        assert same(saved, run)
    assert run.in_directory, "a run that was saved stays where it is"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda path, run: save_session(path, "s.vars"), "not str"),
        (lambda path, run: save_session(path, [run, None]), "not NoneType"),
        (lambda path, run: save_session(path, 5), "not int"),
        (lambda path, run: save_session([run], path), "path comes first"),
        (lambda path, run: save_session(path, [run], notes=5), "notes"),
        (lambda path, run: save_session(path, [run], view={"a": {1, 2}}), "view"),
        (lambda path, run: save_session(path, [run], view={"a": np.nan}), "view"),
        (lambda path, run: open_session(5), "path of a session"),
        (lambda path, run: open_session(run), "path of a session"),
    ],
)
def test_what_a_session_cannot_hold(tmp_path, call, said):
    run, _ = two_runs(tmp_path)
    with pytest.raises(SessionError, match=said):
        call(tmp_path / "s.vars", run)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_the_same_session_gives_the_same_bytes(tmp_path):
    runs = two_runs(tmp_path)
    one, two = save_session(tmp_path / "1.vars", runs), save_session(tmp_path / "2.vars", runs)
    assert one.read_bytes() == two.read_bytes()


# ---------------------------------------------------------------------- what is left where


def test_saving_over_the_file_that_is_being_read(tmp_path):
    originals = two_runs(tmp_path)
    path = save_session(tmp_path / "s.vars", originals)
    session = open_session(path)
    session.runs[0].attention(0)
    session.notes = "second"
    dropped = session.runs["VAR"]
    extra = make_run(tmp_path / "c", seed=3, name="third", **SMALL)
    session.runs.remove(dropped)
    session.runs.append(extra)
    for _ in range(2):
        # The file is not even open when it is replaced.
        session.close()
        save_session(path, session)
        assert same(session.runs["baseline"], originals[0])
        assert same(session.runs["third"], Recording.open(tmp_path / "c"))
    assert open_session(path).runs.names == ["baseline", "third"]
    assert open_session(path).notes == "second"
    if os.name != "nt":
        # A run that was taken out still reads from what was there when it was opened.
        assert same(dropped, originals[1])


def test_saving_runs_of_a_file_over_it_without_a_session(tmp_path):
    originals = two_runs(tmp_path)
    path = save_session(tmp_path / "s.vars", originals)
    run = open_session(path).runs["VAR"]
    save_session(path, [run])
    assert same(run, originals[1])
    assert open_session(path).runs.names == ["VAR"]


def test_a_saved_session_no_longer_needs_its_directories(tmp_path):
    session = Session(two_runs(tmp_path))
    copies = two_runs(tmp_path / "copies")
    path = save_session(tmp_path / "s.vars", session)
    assert session.path == path
    assert session.left_behind == [tmp_path / "a", tmp_path / "b"]
    assert (tmp_path / "a" / "zarr.json").exists()
    session.discard_left_behind()
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
    for run, copy in zip(session.runs, copies, strict=True):
        assert np.array_equal(run.attention(5), copy.attention(5))
        assert run.image(0).size == copy.image(0).size
    assert session.left_behind == []
    save_session(path, session)
    assert session.left_behind == []


def test_a_list_of_runs_stays_where_it_is(tmp_path):
    runs = two_runs(tmp_path)
    save_session(tmp_path / "s.vars", runs)
    assert [run.path for run in runs] == [tmp_path / "a", tmp_path / "b"]


def test_a_run_inside_a_session_is_not_discarded(tmp_path):
    run = open_session(save_session(tmp_path / "s.vars", [make_run(tmp_path / "a", **SMALL)])).runs[
        0
    ]
    with pytest.raises(RecordingError, match="part of"):
        run.discard()
    assert (tmp_path / "s.vars").exists()


def test_a_run_that_a_crash_cut_off_is_saved_as_far_as_it_is(tmp_path):
    run = make_run(tmp_path / "a", finish=False, **SMALL)
    copy = make_run(tmp_path / "b", finish=False, **SMALL)
    session = Session([run])
    saved = open_session(save_session(tmp_path / "s.vars", session)).runs[0]
    assert not saved.finished and not saved.growing and saved.reason is None
    assert same(saved, run)
    # Nobody writes it any more: the session has let go of the directory.
    assert session.left_behind == [tmp_path / "a"]
    session.discard_left_behind()
    assert np.array_equal(run.attention(7), copy.attention(7)) and run.tokens == copy.tokens
    assert run.refresh() is False


@pytest.mark.skipif(os.name == "nt", reason="no locks")
def test_a_run_that_is_being_written_is_followed_after_saving(tmp_path):
    writer = writer_in(tmp_path / "a")
    writer.put_prompt(prompt(), LAYOUT)
    run = Recording.open(tmp_path / "a")
    session = Session([run])
    path = save_session(tmp_path / "s.vars", session)
    assert run.live and session.left_behind == [] and run.path == tmp_path / "a"
    assert open_session(path).runs[0].length == 18
    writer.append_token(generated(18))
    assert run.refresh() and run.length == 19
    writer.finish("end")
    assert run.refresh() and not run.live
    save_session(path, session)
    assert session.left_behind == [tmp_path / "a"] and open_session(path).runs[0].length == 19


def test_the_directory_of_a_run_opens_as_a_session(tmp_path):
    run = make_run(tmp_path / "a", **SMALL)
    assert same(open_session(tmp_path / "a").runs[0], run)


def test_closing_keeps_the_file_readable(tmp_path):
    path = save_session(tmp_path / "s.vars", two_runs(tmp_path))
    session = open_session(path)
    row = session.runs[0].attention(2).copy()
    session.close()
    assert np.array_equal(session.runs[0].attention(2), row)


# ------------------------------------------------------------------------------- failures


class FullDisk:
    """A file that takes so many bytes, then no more."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, content):
        self.room -= len(content)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(content)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


@pytest.mark.parametrize("room", [0, 100, 5_000, 30_000])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, room):
    originals = two_runs(tmp_path)
    path = save_session(tmp_path / "s.vars", originals, notes="old")
    before, session = path.read_bytes(), open_session(path)
    assert len(before) > 30_000
    session.notes = "new"

    def almost_full(*arguments):
        return FullDisk(open(*arguments), room)

    with monkeypatch.context() as patch:
        patch.setattr(session_module, "open", almost_full, raising=False)
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

    monkeypatch.setattr(session_module, "open", refuse, raising=False)
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
        if done == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        save_session(path, open_session(path), progress=progress)
    assert seen == [(0, 2), (1, 2)] and path.read_bytes() == before
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
    with pytest.raises(SessionError, match="changed by another program"):
        session.runs[0].attention(0)


# ---------------------------------------------------------------------------- versions


def with_attributes(path, **changes):
    """The same session with another description at its root."""
    import json

    source = zipfile.ZipFile(path)
    target = path.with_name("changed.vars")
    with zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            if name == "zarr.json":
                document = json.loads(content)
                document["attributes"].update(changes)
                content = json.dumps(document).encode()
            archive.writestr(name, content)
    return target


def test_a_newer_session_is_refused_politely(tmp_path):
    path = save_session(tmp_path / "s.vars", [make_run(tmp_path / "a", **SMALL)])
    assert open_session(with_attributes(path, added_later=1)).runs.names == ["baseline"]
    with pytest.raises(SessionError, match=r"newer version.*schema 2.*Update VAR Studio"):
        open_session(with_attributes(path, schema=2))


@pytest.mark.parametrize("schema", [None, "1", 0, -1, 1.0, True])
def test_a_schema_that_is_none(tmp_path, schema):
    path = save_session(tmp_path / "s.vars", [make_run(tmp_path / "a", **SMALL)])
    with pytest.raises(SessionError, match="damaged"):
        open_session(with_attributes(path, schema=schema))


def test_older_sessions_are_brought_up_step_by_step(tmp_path, monkeypatch):
    path = save_session(tmp_path / "s.vars", [make_run(tmp_path / "a", **SMALL)])

    def first(document):
        return {**document, "text": "was " + document["remark"]}

    def second(document):
        return {**document, "notes": document["text"] + "!"}

    monkeypatch.setattr(migrations, "SESSION_SCHEMA", 3)
    monkeypatch.setattr(migrations, "SESSION_STEPS", {1: first, 2: second})
    assert open_session(with_attributes(path, remark="old")).notes == "was old!"
    assert open_session(with_attributes(path, schema=2, text="middle")).notes == "middle!"
    with pytest.raises(SessionError, match="cannot be brought up from schema 1"):
        open_session(path)


def test_torch_and_qt_are_not_needed(tmp_path):
    path = save_session(tmp_path / "s.vars", [make_run(tmp_path / "a", **SMALL)])
    script = textwrap.dedent(
        """
        import sys
        for name in ("torch", "transformers", "matplotlib", "PySide6", "zarr"):
            sys.modules[name] = None
        from var_studio.recording.session import open_session
        run = open_session(sys.argv[1]).runs[0]
        run.redistributed(0), run.image(0), run.contribution(1)
        print(run.text)
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script, path], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "the blue square is left"
