"""Sessions of other schemas."""

import json
import zipfile
from pathlib import Path

import pytest

from tests.synthetic import make_run
from tests.unit.recording.session_runs import SMALL
from var_studio.recording import migrations
from var_studio.recording.content import Content
from var_studio.recording.document import LeftOut
from var_studio.recording.failures import SessionError
from var_studio.recording.session import open_session, save_session
from var_studio.recording.settings import Redistribution

OLD = Path(__file__).parent / "old"


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
    with pytest.raises(SessionError, match=r"newer version.*schema 3.*Update VAR Studio"):
        open_session(with_attributes(path, schema=3))


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
    assert open_session(with_attributes(path, schema=1, remark="old")).notes == "was old!"
    assert open_session(with_attributes(path, schema=2, text="middle")).notes == "middle!"
    with pytest.raises(SessionError, match="cannot be brought up from schema 1"):
        open_session(with_attributes(path, schema=1))


def test_a_session_of_schema_2_opens():
    """A file of runs of schema 2, when whatever was recorded was saved."""
    with open_session(OLD / "schema_2.vars") as session:
        baseline, changed = session.runs
        assert session.notes == "written with schema 2" and session.view == {"layer": 1}
        assert session.content == Content() and session.content.full
        assert [region.tokens for (region,) in session.regions.values()] == [(3, 4, 8)]
        assert changed.redistribution == Redistribution(rho=0.5)
        assert baseline.text == " the blue square is left"
        assert (baseline.left_out, baseline.keys_left_out) == (LeftOut(), None)
        # As plain zarr reads them.
        assert baseline.attention(0).sum() == pytest.approx(5.9999247)
        seen = [0.19384766, 0.01841736, 0.01960754]
        assert changed.attention(11)[1, 2, :3] == pytest.approx(seen)
        assert changed.value_norm()[1, 2, 5] == 0.67431640625
        assert len(session.images) == 2 and baseline.image().size == (320, 240)
