import pytest

from tests.synthetic import make_run
from var_studio.recording.failures import StorageError
from var_studio.recording.paths import kept_runs, new_run_directory, runs_folder


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
    with pytest.raises(StorageError, match="Making the folder"):
        new_run_directory()
