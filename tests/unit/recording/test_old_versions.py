"""One file of every version that ever wrote sessions, kept in `old/`; each opens, and is the same.

A file is made once, by the version whose schema it has, and never again: what plain zarr and JSON
read of it is compared with what this version reads.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from var_studio.analysis.choice import read
from var_studio.analysis.reading import Reading
from var_studio.figures.build import FIGURES, build
from var_studio.recording.migrations import (
    RUN_SCHEMA,
    RUN_STEPS,
    SESSION_SCHEMA,
    SESSION_STEPS,
)
from var_studio.recording.regions import picture_key
from var_studio.recording.session import open_session, save_session

FILES = sorted((Path(__file__).parent / "old").glob("schema_*.vars"))


def schemas(path):
    """Schema of the session and of its runs, as the file says."""
    store = ZipStore(path, mode="r")
    root = zarr.open(store, mode="r")
    found = (
        root.attrs["schema"],
        {root["runs"][name].attrs["schema"] for name in root.attrs["runs"]},
    )
    store.close()
    return found


def test_every_schema_has_its_file_and_its_step():
    sessions = {schemas(path)[0] for path in FILES}
    runs = set().union(*(schemas(path)[1] for path in FILES))
    assert sessions == set(range(1, SESSION_SCHEMA + 1))
    assert runs == set(range(1, RUN_SCHEMA + 1))
    assert sorted(SESSION_STEPS) == list(range(1, SESSION_SCHEMA))
    assert sorted(RUN_STEPS) == list(range(1, RUN_SCHEMA))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_plain_zarr_reads(path):
    store = ZipStore(path, mode="r")
    root = zarr.open(store, mode="r")
    with open_session(path) as session:
        assert session.notes == root.attrs["notes"]
        assert [run.id for run in session.runs] == root.attrs["runs"]
        for key, regions in session.regions.items():
            assert [{"name": r.name, "tokens": list(r.tokens)} for r in regions] == root.attrs[
                "regions"
            ][key]
            # A picture goes by the same key in every version.
            assert key in {picture_key(run) for run in session.runs}
        for run in session.runs:
            group = root["runs"][run.id]
            assert [token.text for token in run.tokens] == [
                t["text"] for t in group.attrs["tokens"]
            ]
            assert run.query_positions.tolist() == group.attrs["query_positions"]
            assert run.layout.positions.tolist() == group.attrs["layout"]["positions"]
            for query, row in enumerate(group["attention"][:]):
                assert np.array_equal(run.attention(query), row.astype(np.float32))
            for mine, name in (
                (run.signed_values, "sink_dims_value"),
                (run.top_dims()[0], "top_dims"),
                (run.top_dims()[1], "top_dims_value"),
                (run.value_norm(), "value_norm"),
            ):
                assert np.array_equal(mine, group[name][:].astype(mine.dtype), equal_nan=True)
            assert run.image().size == tuple(group.attrs["layout"]["image_sizes"][0])
    store.close()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_figures_are_built_and_saving_keeps_everything(path, tmp_path):
    with open_session(path) as session:
        for run in session.runs:
            reading = read(run)
            assert isinstance(reading, Reading)
            for name in FIGURES:
                assert build(name, reading).rows
        session_again = save_session(tmp_path / "again.vars", session)
    assert schemas(session_again) == (SESSION_SCHEMA, {RUN_SCHEMA})
    assert json.dumps(everything(session_again)) == json.dumps(everything(path))


def everything(path):
    with open_session(path) as session:
        regions = {key: [r.tokens for r in kept] for key, kept in session.regions.items()}
        found = [session.notes, session.view, regions]
        for run in session.runs:
            found += [run.id, run.name, run.text, run.provenance, run.layout.to_json()]
            found += [[each.model_dump(mode="json") for each in run.interventions]]
            found += [run.attention(query).tolist() for query in range(len(run.query_positions))]
            found += [repr(run.value_norm().tolist()), repr(run.phi().tolist())]
        return found
