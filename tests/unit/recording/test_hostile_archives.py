"""What a hostile file can do beside lying about its arrays: the archive, texts, nesting, numbers.

The cases that random mutation (tests/benchmarks/fuzz_sessions.py) found, made small.
"""

import json
import struct
import tracemalloc
from itertools import pairwise

import numcodecs
import numpy as np
import pytest

from tests.fuzzing.exercise import exercise
from tests.fuzzing.mutations import members_of, mutate, packed
from tests.fuzzing.seeds import SMALL, make_seeds
from tests.synthetic import make_run
from var_studio.analysis.choice import read
from var_studio.errors import VarStudioError
from var_studio.figures.build import FIGURES, build
from var_studio.recording import files
from var_studio.recording.document import MAX_NESTED
from var_studio.recording.failures import SessionError
from var_studio.recording.session import Session, open_session, save_session


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    return make_seeds(tmp_path_factory.mktemp("seeds"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "case.vars"


@pytest.mark.slow
def test_mutated_files(seeds, path, tmp_path):
    """Each opens and can be read in every way, or is refused in words."""
    outcomes = []
    for case in range(180):
        rng = np.random.default_rng([7, case])
        path.write_bytes(mutate(seeds[case % len(seeds)], rng))
        with np.errstate(all="ignore"):
            outcomes.append(exercise(path, rng, tmp_path))
    assert min(outcomes.count("opened"), outcomes.count("refused")) > 40


def test_the_exercise_reads_a_sound_file(seeds, path, tmp_path, monkeypatch):
    """Negative control: a crash anywhere in the analysis is a crash of the exercise."""
    path.write_bytes(seeds[0])
    assert exercise(path, np.random.default_rng(0), tmp_path) == "opened"
    monkeypatch.setattr("tests.fuzzing.exercise.layer_profile", lambda reading: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        exercise(path, np.random.default_rng(0), tmp_path)


def edited(content, edit, name="zarr.json"):
    """The file with the attributes of one group changed."""
    members = members_of(content)
    document = json.loads(members[name])
    edit(document["attributes"])
    return packed({**members, name: json.dumps(document).encode()})


def first_run(content):
    return f"runs/{json.loads(members_of(content)['zarr.json'])['attributes']['runs'][0]}"


# ------------------------------------------------------------------------------ the archive


def test_members_on_the_same_bytes(seeds, path):
    content = bytearray(seeds[0])
    end = content.rfind(b"PK\x05\x06")
    at, entries = struct.unpack_from("<I", content, end + 16)[0], []
    while content[at : at + 4] == b"PK\x01\x02":
        entries.append(at)
        at += 46 + sum(struct.unpack_from("<3H", content, at + 28))
    chunks = [e for e in entries if b"/attention/c." in content[e : e + 120]]
    for one, two in pairwise(chunks[:3]):
        # Checksum, sizes and offset: the second is the first again.
        content[two + 16 : two + 28] = content[one + 16 : one + 28]
        content[two + 42 : two + 46] = content[one + 42 : one + 46]
    path.write_bytes(content)
    with pytest.raises(SessionError, match="over one another"):
        open_session(path)


def test_a_huge_list_of_contents(path):
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *[20, 20, 0, 0, 0, 0], *[0] * 10) + b"x"
    entry = entry[:28] + struct.pack("<H", 1) + entry[30:]
    directory = entry * (files.MAX_DIRECTORY_BYTES // len(entry) + 2)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 9, 9, len(directory), 0, 0)
    path.write_bytes(directory + end)
    with traced(40 << 20), pytest.raises(SessionError, match="absurdly long"):
        open_session(path)


class traced:
    """Fails if more bytes than these are allocated meanwhile."""

    def __init__(self, most):
        self.most = most

    def __enter__(self):
        tracemalloc.start()

    def __exit__(self, kind, error, traceback):
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < self.most


def test_encrypted_members(seeds, path):
    content = bytearray(seeds[0])
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(SessionError, match="damaged"):
        open_session(path)


def test_members_that_nobody_asked_for_are_left_alone(seeds, path):
    path.write_bytes(packed({**members_of(seeds[0]), "__MACOSX/é": b"x", "a/b": b""}))
    with open_session(path) as session:
        assert session.runs.names == ["baseline", "VAR"]


# ------------------------------------------------------------------------- texts and nesting


def test_a_description_of_countless_values(seeds, path):
    members = members_of(seeds[0])
    members["zarr.json"] = b'{"attributes":{},"x":[' + b"[]," * 9_000_000 + b"0]}"
    path.write_bytes(packed(members))
    with traced(200 << 20), pytest.raises(SessionError, match="absurdly long"):
        open_session(path)


@pytest.mark.parametrize("where", ["view", "provenance"])
def test_nesting_that_could_not_be_saved_again(seeds, path, where):
    def nest(depth):
        value = 0
        for _ in range(depth):
            value = {"a": value}
        name = "zarr.json" if where == "view" else f"{first_run(seeds[0])}/zarr.json"
        return edited(seeds[0], lambda attributes: attributes.update({where: value}), name)

    path.write_bytes(nest(MAX_NESTED))
    with open_session(path) as session:
        save_session(path.with_name("again.vars"), list(session.runs), view=session.view)
    for depth in (MAX_NESTED + 1, 300, 900):
        path.write_bytes(nest(depth))
        with pytest.raises(SessionError, match=f"wrong at {where}"):
            open_session(path)


def test_a_view_nested_too_deeply_is_not_saved(tmp_path):
    view = {}
    for _ in range(MAX_NESTED + 1):
        view = {"a": view}
    with pytest.raises(SessionError, match="nested more than"):
        save_session(tmp_path / "s.vars", Session([make_run(tmp_path / "a", **SMALL)], view=view))
    assert not (tmp_path / "s.vars").exists()


def test_half_characters_become_whole_ones(seeds, path):
    """A lone surrogate can be neither printed nor shown; 😀 is written as a pair of them."""
    path.write_bytes(
        edited(seeds[0], lambda attributes: attributes.update(notes="a\ud83d😀\udcffb"))
    )
    with open_session(path) as session:
        assert session.notes == "a\ufffd😀\ufffdb"


def test_messages_stay_short(seeds, path):
    def rename(attributes):
        attributes["images"][0]["name"] = "x" * 10_000

    members = members_of(edited(seeds[0], rename, f"{first_run(seeds[0])}/zarr.json"))
    members["images/0/c.0"] = b"other"
    path.write_bytes(packed(members))
    with open_session(path) as session, pytest.raises(SessionError, match="…") as told:
        session.runs[0].image()
    assert len(str(told.value)) < 500


# ------------------------------------------------------------------------------ the content


def test_an_exchanged_image_is_noticed(seeds, path):
    from tests.fuzzing.mutations import png

    path.write_bytes(packed({**members_of(seeds[0]), "images/0/c.0": png(24, 16, rows=16)}))
    with open_session(path) as session, pytest.raises(SessionError, match="not the recorded one"):
        session.runs[0].image()


def test_views_without_visual_tokens(seeds, path):
    def strip(attributes):
        attributes["layout"].update(positions=[], boxes=[])
        attributes["layout"]["views"][0]["tokens"] = [[-1, -1]]

    path.write_bytes(edited(seeds[0], strip, f"{first_run(seeds[0])}/zarr.json"))
    with pytest.raises(SessionError, match="layout"):
        open_session(path)


def test_a_run_that_saw_nothing_has_empty_maps(seeds, path):
    """As a question without a picture."""

    def blind(attributes):
        attributes["layout"].update(positions=[], boxes=[], views=[], known=False)

    path.write_bytes(edited(seeds[0], blind, f"{first_run(seeds[0])}/zarr.json"))
    with open_session(path) as session:
        assert np.isnan(read(session.runs[0]).head_maps()).all()


KINDS = {"attention": "<f2", "value_norm": "<f2", "top_dims": "<i4"}


def with_chunks(content, array, value):
    """The file with every number of one array replaced."""
    members = members_of(content)
    blosc = numcodecs.Blosc("lz4", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE)
    kind = np.dtype(KINDS.get(array, "<f4"))
    for name, chunk in members.items():
        if f"/{array}/c." in name:
            plain = blosc.decode(chunk) if array == "attention" else chunk
            plain = np.full(len(plain) // kind.itemsize, value, kind)
            members[name] = bytes(blosc.encode(plain)) if array == "attention" else plain.tobytes()
    return packed(members)


def read_all(run):
    return run.attention(0), run.phi(), run.top_dims(), run.value_norm()


@pytest.mark.parametrize(
    ("array", "values"),
    [
        ("attention", [np.inf, -np.inf, -0.25, 1.5]),
        ("value_norm", [np.inf, -np.inf, -1]),
        ("sink_dims_value", [np.inf, -np.inf, 2e9, -1e30]),
        ("top_dims_value", [np.inf, -np.inf, 2e9, -1e30]),
        ("top_dims", [-2, 2**22, 2**31 - 1]),
    ],
)
def test_numbers_that_no_model_makes(seeds, path, array, values):
    for value in values:
        path.write_bytes(with_chunks(seeds[0], array, value))
        told = pytest.raises(SessionError, match=f"{array} holds impossible numbers")
        with open_session(path) as session, told:
            read_all(session.runs[0])


@pytest.mark.parametrize(
    ("array", "values"),
    [
        ("attention", [np.nan, 0, -0.0, 1]),
        ("value_norm", [np.nan, 0, 65504]),
        ("sink_dims_value", [np.nan, 0, -9.7, 9.7]),
        ("top_dims_value", [np.nan, 0]),
        ("top_dims", [-1, 95]),
    ],
)
def test_numbers_at_the_bounds_and_none(seeds, path, array, values):
    """Figures are built of what a model may just give, and of nothing but NaN."""
    for value in values:
        path.write_bytes(with_chunks(seeds[0], array, value))
        built = []
        with open_session(path) as session, np.errstate(all="ignore"):
            read_all(session.runs[0])
            for name in FIGURES:
                try:
                    built.append(build(name, read(session.runs[0])))
                except VarStudioError as error:
                    assert len(str(error)) < 300
        assert len(built) > 3


@pytest.mark.parametrize(
    "change",
    [
        {"image_sizes": [[10**9, 10**9]]},
        {"image_sizes": [[0, 5]]},
        {"image_sizes": [[-24, 16]]},
        {"box": [0, 0, 1e300, 1e300]},
        {"box": [5, 0, 5, 9]},
        {"box": [9, 0, 5, 9]},
        {"unseen": [[[0, 0, 1e300, 1]]]},
        {"boxes": [[0, 0, 1e300, 1]] * 20},
    ],
)
def test_layouts_that_lie_nowhere(seeds, path, change):
    def move(attributes):
        layout = attributes["layout"]
        (layout["views"][0] if "box" in change else layout).update(change)

    path.write_bytes(edited(seeds[0], move, f"{first_run(seeds[0])}/zarr.json"))
    with pytest.raises(SessionError, match="layout"):
        open_session(path)
