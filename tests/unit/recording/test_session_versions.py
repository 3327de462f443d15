"""Sessions of other schemas."""

import json
import zipfile

import pytest

from tests.synthetic import make_run
from tests.unit.recording.session_runs import SMALL
from var_studio.recording import migrations
from var_studio.recording.failures import SessionError
from var_studio.recording.session import open_session, save_session


def with_attributes(path, **changes):
    """The same session with another description at its root."""
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
