"""Rows of several chunks, one of which is gone: said, never read as zeros."""

import zipfile

import pytest

from tests.synthetic import make_run
from var_studio.recording.failures import RecordingError
from var_studio.recording.recording import Recording
from var_studio.recording.session import open_session, save_session

LONG = {"layers": 1, "heads": 1, "rows": 46, "cols": 46, "queries": 4}


@pytest.fixture
def run(tmp_path):
    run = make_run(tmp_path / "run", **LONG)
    assert run.reader.specs["attention"].chunks[3] == 1024 and run.query_positions[2] > 2048
    return run


@pytest.mark.parametrize("index", [0, 1, 2])
def test_in_a_session_file(run, tmp_path, index):
    path = save_session(tmp_path / "s.vars", [run])
    with open_session(path) as session:
        assert session.runs[0].attention(2).sum() == pytest.approx(1, abs=2e-3)
    changed = tmp_path / "changed.vars"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            if not name.endswith(f"attention/c.2.0.0.{index}"):
                target.writestr(name, source.read(name))
    with pytest.raises(RecordingError, match=rf"damaged.*c\.2\.0\.0\.{index} is missing"):
        open_session(changed)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_in_a_directory(run, tmp_path, index):
    (run.path / f"attention/c.2.0.0.{index}").unlink()
    missing = rf"damaged.*c\.2\.0\.0\.{index} is missing"
    with pytest.raises(RecordingError, match=missing):
        run.attention(2)
    with pytest.raises(RecordingError, match=missing):
        save_session(tmp_path / "s.vars", [run])
    with pytest.raises(RecordingError, match=missing):
        Recording.open(run.path)


def test_in_a_run_that_goes_on(tmp_path):
    run = make_run(tmp_path / "run", **LONG, finish=False)
    (run.path / "attention/c.2.0.0.1").unlink()
    with Recording.open(run.path) as again, pytest.raises(RecordingError, match="is missing"):
        again.attention(2)
