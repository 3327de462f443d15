import os
import shutil

import pytest

from tests.synthetic import make_run
from tests.unit.recording.test_store import writer_in
from var_studio.recording.failures import StorageError
from var_studio.recording.paths import (
    abandoned_runs,
    check_cache,
    kept_runs,
    new_run_directory,
    runs_folder,
)


def test_run_directories_are_in_the_user_s_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VAR_STUDIO_HOME", str(tmp_path))
    assert kept_runs() == []
    first, second = new_run_directory(), new_run_directory()
    assert first != second and first.parent == runs_folder() and tmp_path in first.parents
    assert kept_runs() == []
    run = make_run(second, layers=1, heads=1, rows=2, cols=2, queries=2)
    assert kept_runs() == [second]
    run.discard()
    assert kept_runs() == [] and first.exists()


def test_a_home_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VAR_STUDIO_HOME", str(tmp_path / "file"))
    for make in (new_run_directory, check_cache):
        with pytest.raises(StorageError, match=r"Making the folder.*variable VAR_STUDIO_HOME"):
            make()
    # Control: the variable is no help where the folder is the caller's own.
    with pytest.raises(StorageError, match="Choose another folder") as error:
        new_run_directory(tmp_path / "file")
    assert "VAR_STUDIO_HOME" not in str(error.value)
    monkeypatch.setenv("VAR_STUDIO_HOME", str(tmp_path / "home"))
    check_cache()
    assert not runs_folder().exists()
    new_run_directory()
    check_cache()
    assert len(list(runs_folder().iterdir())) == 1


@pytest.mark.skipif(os.name == "nt", reason="no locks")
def test_runs_that_are_being_written_are_not_offered_back(tmp_path):
    writer = writer_in(tmp_path / "live")
    make_run(tmp_path / "dead", finish=False, layers=1, heads=1, rows=2, cols=2, queries=2)
    make_run(tmp_path / "done", layers=1, heads=1, rows=2, cols=2, queries=2)
    assert abandoned_runs(tmp_path) == [tmp_path / "dead", tmp_path / "done"]
    assert kept_runs(tmp_path) == [tmp_path / "dead", tmp_path / "done", tmp_path / "live"]
    writer.abandon()
    assert tmp_path / "live" in abandoned_runs(tmp_path)


def test_a_run_whose_removal_was_cut_off_is_no_damaged_run(tmp_path, monkeypatch):
    monkeypatch.setenv("VAR_STUDIO_HOME", str(tmp_path))
    fresh, directory = new_run_directory(), new_run_directory()
    run = make_run(directory, layers=1, heads=1, rows=2, cols=2, queries=2, finish=False)

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        run.discard()
    assert kept_runs() == [] and (directory / "attention").is_dir(), "no run, and not swept yet"
    mine = runs_folder() / "mine"
    mine.mkdir()
    begun = new_run_directory()
    make_run(begun, layers=1, heads=1, rows=2, cols=2, queries=2)
    for folder in (directory, mine, begun):
        os.utime(folder, (0, 0))
    assert kept_runs() == [begun]
    assert not directory.exists() and fresh.exists() and mine.exists()
