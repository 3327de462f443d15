"""resources/session-format.md says of a session file what is in it."""

import math
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from tests.fuzzing.seeds import make_seeds
from var_studio.recording.document import TOP_DIMS, RunDocument, array_specs
from var_studio.recording.migrations import RUN_SCHEMA, SESSION_SCHEMA
from var_studio.recording.session import open_session
from var_studio.recording.session_document import SessionDocument
from var_studio.recording.settings import Generation
from var_studio.recording.store import JOURNAL, image_spec

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "resources" / "session-format.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    path = folder / "s.vars"
    path.write_bytes(make_seeds(folder)[0])
    return path


def table(heading):
    """Cells of the table under a heading, without its first two lines."""
    part = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    (section,) = (text for text in part if text.startswith(f"{heading}\n"))
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def run_document(length_max, precision, sink_dims):
    return RunDocument(
        schema=RUN_SCHEMA,
        id="a",
        name="a",
        n_layers=5,
        n_heads=7,
        hidden_size=64,
        length_max=length_max,
        sink_dims=sink_dims,
        tau_default=1.0,
        precision=precision,
        generation=Generation(),
    )


@pytest.mark.parametrize("length_max", [100, 2048, 2049])
@pytest.mark.parametrize(("precision", "dims"), [("float16", (1, 2, 3)), ("float32", ())])
def test_the_table_of_arrays(length_max, precision, dims):
    document = run_document(length_max, precision, dims)
    specs = array_specs(document, n_queries=11, length=90)
    lengths = {"query": 11, "layer": 5, "head": 7, "key": 90, "sink_dim": len(dims)}
    lengths |= {"rank": TOP_DIMS, "K": length_max if length_max <= 2048 else 1024}
    lengths |= {"B": min(256, length_max), "1": 1}
    rows = table("Arrays of a run")
    assert [row[0] for row in rows] == list(specs)
    for name, shape, chunks, dtype, fill, codecs, unit in rows:
        spec, metadata = specs[name], specs[name].metadata()
        assert shape == ", ".join(spec.dimensions) and unit
        assert tuple(lengths[word] for word in shape.split(", ")) == spec.shape
        assert tuple(max(lengths[word], 1) for word in chunks.split(", ")) == spec.chunks
        assert dtype.replace("`precision`", precision) == spec.dtype == metadata["data_type"]
        assert float(fill) == spec.fill or (math.isnan(float(fill)) and math.isnan(spec.fill))
        assert codecs.split(", ") == [codec["name"] for codec in metadata["codecs"]]


def test_the_tables_of_attributes():
    told = [name for row in table("Attributes of the root") for name in row[0].split(", ")]
    assert sorted(told) == sorted(names(SessionDocument))
    told = [name for row in table("Attributes of a run") for name in row[0].split(", ")]
    assert sorted(told) == sorted(names(RunDocument))
    assert f"run schema {RUN_SCHEMA} and session schema {SESSION_SCHEMA}" in TEXT
    assert f"`var-studio-session`, {SESSION_SCHEMA} " in TEXT
    assert f"`var-studio-run`, {RUN_SCHEMA} " in TEXT
    assert JOURNAL in TEXT


def names(model):
    return [field.alias or name for name, field in model.model_fields.items()]


def test_plain_zarr_finds_what_the_table_says(path):
    store = ZipStore(path, mode="r")
    root = zarr.open(store, mode="r")
    assert sorted(root.attrs) == sorted(names(SessionDocument))
    for name in root.attrs["runs"]:
        run = root["runs"][name]
        assert sorted(run.attrs) == sorted(names(RunDocument))
        assert sorted(run) == sorted(row[0] for row in table("Arrays of a run"))
        for array, shape, *_ in table("Arrays of a run"):
            assert ", ".join(run[array].metadata.dimension_names) == shape
    image = root["images/0"]
    assert image.metadata.dimension_names == ("byte",) and image.dtype == np.uint8
    assert image.shape == image.chunks == image_spec(0, image.shape[0]).chunks
    store.close()


def test_the_example_runs_as_it_stands(path):
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(example.splitlines()) <= 12 and "var_studio" not in example
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with open_session(path) as session:
        run = session.runs[0]
        last = len(run.query_positions) - 1
        visual = run.layout.positions
        mass = run.attention(last)[:, :, visual].sum(-1).mean()
        sinks = int(run.sinks()[:, visual].sum())
        text = run.tokens[int(run.query_positions[last])].text
        assert sinks > 0
        assert done.stdout.split() == [repr(text), *map(str, (mass, sinks)), *session.notes.split()]


def test_an_unpacked_file_packed_again_opens(path, tmp_path):
    again = tmp_path / "again.vars"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(again, "w") as new:
        for member in sorted(old.namelist(), reverse=True):
            new.writestr(member, old.read(member))
    with open_session(path) as one, open_session(again) as two:
        assert np.array_equal(one.runs[0].attention(3), two.runs[0].attention(3))
