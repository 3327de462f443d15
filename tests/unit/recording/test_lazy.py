"""A session opens without reading what it does not show: its size does not matter."""

import gc
import io
import warnings
from pathlib import PurePath

import pytest

from tests.unit.recording.session_runs import two_runs
from var_studio.recording.files import ZipFiles
from var_studio.recording.session import open_session, save_session


@pytest.fixture
def members_read(monkeypatch):
    """Names of the members that were read, in order."""
    names, read = [], ZipFiles.read

    def noted(files, name, offset=0):
        names.append(name)
        return read(files, name, offset)

    monkeypatch.setattr(ZipFiles, "read", noted)
    return names


def chunks(names):
    """Array and number of each chunk among the members."""
    return [PurePath(name).parts[-2:] for name in names if "/c." in name]


def test_chunks_are_read_when_they_are_asked_for(tmp_path, members_read):
    path = save_session(tmp_path / "s.vars", two_runs(tmp_path))
    members_read.clear()
    with open_session(path) as session:
        assert members_read[0] == "zarr.json" and chunks(members_read) == []
        run = session.runs[1]
        assert run.text and run.tokens and run.layout.count and run.provenance
        assert chunks(members_read) == []
        run.attention(4)
        assert chunks(members_read) == [("attention", "c.4.0.0.0")]
        run.attention(4), run.sinks()
        assert chunks(members_read)[1:] == [("sink_dims_value", "c.0.0.0")]
        members_read.clear()
        run.phi(), run.sinks(tau=1.0), run.attention(4)
        assert members_read == []


def files_open_at(path):
    """Open files of this name."""
    # Not isinstance: it asks the object too, and some of torch's warn that they are old.
    files = [file for file in gc.get_objects() if type(file) is io.FileIO]
    return [file for file in files if not file.closed and file.name == str(path)]


def test_the_file_of_a_forgotten_session_is_closed(tmp_path):
    path = save_session(tmp_path / "s.vars", two_runs(tmp_path))
    session = open_session(path)
    session.view["circle"] = session  # collected, not counted down
    (file,) = files_open_at(path)
    gc.collect()  # what is held at this moment is finalized before the others later on
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        del session, file
        gc.collect()
    assert said == [] and files_open_at(path) == []
