"""Which part of a session is saved: rows, weights, pictures; told by plain zarr."""

import json
import zipfile

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from tests.synthetic import make_run
from tests.unit.recording.session_runs import SMALL, same, two_runs
from var_studio.recording.content import Content, map_keys
from var_studio.recording.failures import LeftOutError, SettingsError
from var_studio.recording.recording import Recording
from var_studio.recording.session import Session, open_session, save_session, session_size

CHOICES = [
    {},
    {"maps": True},
    {"tokens": ("g0", "115")},
    {"tokens": "answer"},
    {"images": False},
    {"maps": True, "tokens": ("answer",), "images": False},
]
KEYED = ("sink_dims_value", "top_dims", "top_dims_value", "value_norm")


def zarr_runs(path):
    """Name, attributes and arrays of each run of a file."""
    root = zarr.open(ZipStore(path, mode="r"), mode="r")
    for name in root.attrs["runs"]:
        group = root[f"runs/{name}"]
        yield dict(group.attrs), {array: group[array][:] for array in (*KEYED, "attention")}


def zarr_of(directory):
    group = zarr.open(str(directory), mode="r")
    return dict(group.attrs), {array: group[array][:] for array in (*KEYED, "attention")}


@pytest.fixture(scope="module", params=[12, 300], ids=["short", "long"])
def runs(request, tmp_path_factory):
    """Two runs; the long ones have more keys than a chunk of those arrays, and more rows than are
    encoded to tell a size."""
    shape = {"rows": 10, "cols": 10, "layers": 3, "heads": 2, "queries": request.param}
    return two_runs(tmp_path_factory.mktemp("runs"), **shape)


@pytest.mark.parametrize("choice", CHOICES)
def test_plain_zarr_reads_the_part_that_was_chosen(tmp_path, runs, choice):
    """Row by row against the run directories, without a line of ours."""
    path = save_session(tmp_path / "s.vars", runs, content=choice)
    for run, (attributes, arrays) in zip(runs, zarr_runs(path), strict=True):
        whole, recorded = zarr_of(run.path)
        for name in KEYED:
            assert np.array_equal(arrays[name], recorded[name], equal_nan=True)
        assert attributes["tokens"] == whole["tokens"]
        assert attributes["layout"] == whole["layout"]
        assert attributes["provenance"] == whole["provenance"]
        positions = whole["query_positions"]
        kept = positions
        if choice.get("tokens") == ("g0", "115"):
            first = run.generated_positions[0]
            kept = sorted({first - 1, first, 114, 115})
        elif "tokens" in choice:
            generated = run.generated_positions.tolist()
            kept = [generated[0] - 1, *generated]
        assert attributes["query_positions"] == kept
        assert attributes["left_out"]["rows"] == sorted(set(positions) - set(kept))
        left_out = np.zeros(run.length, bool)
        left_out[attributes["left_out"]["keys"]] = True
        assert left_out.any() == ("maps" in choice)
        assert not left_out[[0, *whole["layout"]["positions"]]].any()
        for position, row in zip(kept, arrays["attention"], strict=True):
            expected = recorded["attention"][positions.index(position)].copy()
            expected[..., left_out & (np.arange(run.length) <= position)] = np.nan
            assert np.array_equal(row, expected, equal_nan=True)


@pytest.mark.parametrize("choice", CHOICES)
def test_the_size_is_told_before(tmp_path, runs, choice):
    session = Session(runs, notes="n" * 300)
    told = session_size(session, content=choice)
    path = save_session(tmp_path / "s.vars", session.runs, notes=session.notes, content=choice)
    written = path.stat().st_size
    if "maps" in choice and len(runs[0].query_positions) > 256:
        assert told == pytest.approx(written, rel=0.01)
    else:
        assert told == written
    assert session_size(open_session(path)) == written


def test_the_size_of_very_many_members(tmp_path, monkeypatch):
    """The records of large archives, with their limit put low."""
    run = make_run(tmp_path / "run", **SMALL)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 20_000)
    told = session_size(run)
    assert told == save_session(tmp_path / "s.vars", run).stat().st_size
    monkeypatch.undo()
    assert same(open_session(tmp_path / "s.vars").runs[0], run)
    assert told != session_size(run)


def test_a_token_without_its_row(tmp_path):
    run = make_run(tmp_path / "run", **SMALL)
    part = open_session(save_session(tmp_path / "s.vars", run, content={"tokens": ("g1",)})).runs[0]
    position = int(run.generated_positions[1])
    assert part.query_positions.tolist() == [position - 1, position]
    assert part.left_out.rows == tuple(sorted({*run.query_positions} - {position - 1, position}))
    assert part.query_of(position - 2) is None
    mine, its = part.query_of(position), run.query_of(position)
    assert np.array_equal(part.attention(mine), run.attention(its))
    assert np.array_equal(part.redistributed(mine), run.redistributed(its))
    assert part.tokens == run.tokens and part.text == run.text


def test_a_picture_that_was_left_out(tmp_path):
    runs = two_runs(tmp_path)
    path = save_session(tmp_path / "s.vars", runs, content=Content(images=False))
    assert not any(name.startswith("images/") for name in zipfile.ZipFile(path).namelist())
    assert runs[0].stored_image().bytes not in path.read_bytes()
    session = open_session(path)
    part = session.runs[0]
    assert session.images == [] and part.image_entries == runs[0].image_entries
    assert part.layout.image_sizes == runs[0].layout.image_sizes
    with pytest.raises(LeftOutError, match=r"scene\.png was left out when.*SHA-256 [0-9a-f]{64}"):
        part.image()
    assert np.array_equal(part.attention(3), runs[0].attention(3))
    # Saved again, it is left out again; beside a run that has it, it is there again.
    again = open_session(save_session(tmp_path / "t.vars", session.runs))
    with pytest.raises(LeftOutError):
        again.runs[0].image()
    both = open_session(save_session(tmp_path / "u.vars", [part, runs[0]]))
    assert both.runs[0].stored_image() == runs[0].stored_image()
    assert len(both.images) == 1


def test_a_picture_that_is_missing_is_no_picture_that_was_left_out(tmp_path):
    from var_studio.recording.failures import SessionError

    path = save_session(tmp_path / "s.vars", make_run(tmp_path / "a", **SMALL))
    damaged = tmp_path / "d.vars"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(damaged, "w") as new:
        for name in old.namelist():
            if not name.startswith("images/"):
                new.writestr(name, old.read(name))
    with pytest.raises(SessionError, match="damaged"), open_session(damaged) as session:
        session.runs[0].image()


def test_what_is_left_out_adds_up(tmp_path):
    """A part of a part, in either order, is what the two choices make together."""
    run = make_run(tmp_path / "run", queries=40)
    first, second = Content(maps=True), Content(tokens=("g0", "g1"))
    at_once = save_session(
        tmp_path / "1.vars", run, content=Content(maps=True, tokens=("g0", "g1"))
    )
    expected = next(zarr_runs(at_once))
    for number, (one, other) in enumerate([(first, second), (second, first)]):
        half = open_session(save_session(tmp_path / f"a{number}.vars", run, content=one))
        path = save_session(tmp_path / f"b{number}.vars", half.runs, content=other)
        attributes, arrays = next(zarr_runs(path))
        assert attributes == expected[0]
        assert np.array_equal(arrays["attention"], expected[1]["attention"], equal_nan=True)
    whole = open_session(save_session(tmp_path / "c.vars", open_session(path).runs, content={}))
    assert whole.content.full and whole.runs[0].keys_left_out.any()


def test_a_session_keeps_to_its_choice(tmp_path):
    runs = two_runs(tmp_path)
    session = Session(runs)
    path = save_session(tmp_path / "s.vars", session, content=Content(tokens=("g0",)))
    # All there is stays at hand, and on the disk.
    assert session.left_behind == [] and session.path == path
    assert all(run.in_directory and len(run.query_positions) == 12 for run in session.runs)
    save_session(path, session)
    opened = open_session(path)
    assert opened.content == session.content == Content(tokens=("g0",))
    assert len(opened.runs[0].query_positions) == 2
    save_session(path, session, content=Content())
    assert open_session(path).content.full and len(session.left_behind) == 2
    assert same(open_session(path).runs[0], Recording.open(session.left_behind[0]))


def test_over_the_file_that_it_is_read_from(tmp_path):
    """What is left out of the only file there is is gone, and the runs do not pretend otherwise."""
    runs = two_runs(tmp_path)
    path = save_session(tmp_path / "s.vars", runs)
    session = open_session(path)
    before = session.runs[0].attention(11)
    save_session(path, session, content=Content(tokens=("g-1",), images=False))
    run = session.runs[0]
    assert run.reads_from(path) and len(run.query_positions) == 2
    assert np.array_equal(run.attention(1), before) and run.left_out.rows
    with pytest.raises(LeftOutError):
        run.stored_image()
    session.close()
    assert np.array_equal(run.attention(1), before)


def test_map_keys_hold_every_sink_down_to_half_of_tau(tmp_path):
    run = make_run(tmp_path / "run", queries=40)
    kept = map_keys(run)
    assert kept[run.layout.positions].all() and kept[0] and not kept.all()
    for tau in (run.tau_default / 2, run.tau_default):
        for convention in ("paper", "released-code"):
            assert not run.sinks(tau=tau, convention=convention)[:, ~kept].any()
    assert run.sinks(tau=run.tau_default / 6)[:, ~kept].any()


@pytest.mark.parametrize("tokens", ["g99", "-1", 5000, 3, ("g0", "g40")])
def test_a_token_that_no_run_has(tmp_path, tokens):
    runs = two_runs(tmp_path)
    with pytest.raises(SettingsError, match="No run has a row of token"):
        save_session(tmp_path / "s.vars", runs, content=Content(tokens=tokens))
    assert not (tmp_path / "s.vars").exists()


@pytest.mark.parametrize("tokens", ["", "first", "g", "g1:g4", [], "1.5", ["g0", "x"], [None]])
def test_what_is_no_token(tokens):
    with pytest.raises(SettingsError, match="positions such as 117"):
        Content(tokens=tokens)


@pytest.mark.parametrize("content", [{"pictures": False}, 5, "full", {"maps": "perhaps"}])
def test_what_is_no_choice(tmp_path, content):
    with pytest.raises(SettingsError):
        save_session(tmp_path / "s.vars", two_runs(tmp_path), content=content)


@pytest.mark.parametrize(
    "left_out", [{"rows": [10**6]}, {"keys": [-1]}, {"rows": "all"}, {"keys": [38]}, {"rows": [31]}]
)
def test_forged_lists_of_what_was_left_out(tmp_path, left_out):
    from var_studio.recording.failures import SessionError

    path = save_session(tmp_path / "s.vars", make_run(tmp_path / "a", **SMALL))
    forged = tmp_path / "forged.vars"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(forged, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            document = json.loads(content) if name.endswith("zarr.json") else {}
            if "left_out" in document.get("attributes", {}):
                document["attributes"]["left_out"] = left_out
                content = json.dumps(document).encode()
            new.writestr(name, content)
    with pytest.raises(SessionError, match="damaged"):
        open_session(forged)
