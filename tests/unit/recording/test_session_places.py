"""Where runs are read from once they are saved, and what is left behind."""

import os

import numpy as np
import pytest

from tests.synthetic import make_run
from tests.unit.recording.session_runs import SMALL, same, two_runs
from tests.unit.recording.test_store import LAYOUT, generated, prompt, writer_in
from var_studio.recording.failures import RecordingError
from var_studio.recording.recording import Recording
from var_studio.recording.session import Session, open_session, save_session


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


@pytest.mark.skipif(os.name == "nt", reason="no locks")
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_run_that_ends_unread_is_not_let_go_of(tmp_path, when):
    """Its writer ends after the last refresh: what is saved lacks a token, the directory has it."""
    writer = writer_in(tmp_path / "a")
    writer.put_prompt(prompt(), LAYOUT)
    run = Recording.open(tmp_path / "a")
    session = Session([run])

    def end(*_):
        if not writer.document.finished:
            writer.append_token(generated(18))
            writer.finish("end")

    if when == "before":
        end()
    path = save_session(tmp_path / "s.vars", session, progress=end)
    assert writer.document.finished and open_session(path).runs[0].length == 18
    assert session.left_behind == [] and run.in_directory
    assert run.refresh() and run.length == 19
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
