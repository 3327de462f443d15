"""Session files that are damaged, forged or not sessions: a clear error, never a crash.

Every file either opens and holds exactly what was saved, or is refused with a VarStudioError.
"""

import json
import os
import re
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.errors import VarStudioError
from var_studio.recording.failures import SessionError
from var_studio.recording.files import ZipFiles
from var_studio.recording.session import open_session, save_session


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    shape = {"layers": 2, "heads": 3, "rows": 4, "cols": 5, "queries": 5, "image_size": (24, 16)}
    runs = [make_run(folder / name, name=name, seed=1, **shape) for name in ("one", "two")]
    return save_session(folder / "s.vars", runs, notes="as it was", view={"a": [1]})


@pytest.fixture(scope="module")
def sound(saved):
    return everything(saved)


def everything(path):
    """All that a session holds, read in every way there is."""
    with open_session(path) as session:
        found = [session.notes, repr(session.view)]
        for run in session.runs:
            found += [run.text, repr(run.tokens), repr(run.layout.to_json()), run.name, run.id]
            found += [repr(run.provenance), run.visual.tobytes(), run.query_positions.tolist()]
            found += [run.phi().tobytes(), run.value_norm().tobytes(), run.sinks().tobytes()]
            found += [array.tobytes() for array in run.top_dims()]
            for query in range(len(run.query_positions)):
                found.append(run.attention(query).tobytes())
                found.append(run.redistributed(query).tobytes())
            found += [image.tobytes() for image in run.images]
        return found


def outcome(path):
    """ "refused" or what it holds; anything but a VarStudioError passes through and fails."""
    try:
        return everything(path)
    except VarStudioError as error:
        assert str(error).endswith(".") and len(str(error)) < 400
        return "refused"


def rebuilt(saved, folder, change):
    """The session packed anew, each member as `change(name, content)` gives it (None: left out)."""
    target = folder / "changed.vars"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            content = change(name, source.read(name))
            if content is not None:
                archive.writestr(name, content)
    return target


def edited(saved, folder, member, edit):
    """The session with the JSON of one member changed by `edit(document)`."""
    changed = []

    def change(name, content):
        if not name.endswith(member) or changed:
            return content
        changed.append(name)
        document = json.loads(content)
        edit(document)
        return json.dumps(document).encode()

    path = rebuilt(saved, folder, change)
    assert changed
    return path


def test_packing_anew_changes_nothing(saved, sound, tmp_path):
    """Negative control: the changes below are refused for what they change."""
    assert outcome(rebuilt(saved, tmp_path, lambda name, content: content)) == sound
    assert outcome(edited(saved, tmp_path, "zarr.json", lambda document: None)) == sound


# ------------------------------------------------------------------------------ bytes


def test_truncated_anywhere(saved, tmp_path):
    content = saved.read_bytes()
    rng = np.random.default_rng(0)
    cuts = {0, 1, 3, 22, len(content) - 1, len(content) - 21, len(content) - 22}
    cuts |= set(rng.integers(0, len(content), 250).tolist())
    path = tmp_path / "cut.vars"
    for cut in sorted(cuts):
        path.write_bytes(content[:cut])
        with pytest.raises(SessionError, match=r"not a session|cut short|damaged"):
            open_session(path)


def test_flipped_bytes_are_noticed_or_harmless(saved, sound, tmp_path):
    content = saved.read_bytes()
    rng = np.random.default_rng(1)
    # All over the file, and again in the list of contents at its end.
    directory = content.index(b"PK\x01\x02")
    places = rng.integers(0, len(content), 300).tolist()
    places += rng.integers(directory, len(content), 500).tolist()
    path, refused = tmp_path / "flipped.vars", 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(damaged)
        found = outcome(path)
        assert found in ("refused", sound), place
        refused += found == "refused"
    assert refused > 400


def test_scrambled_stretches(saved, sound, tmp_path):
    content = saved.read_bytes()
    rng = np.random.default_rng(2)
    path = tmp_path / "scrambled.vars"
    for _ in range(150):
        start = int(rng.integers(0, len(content)))
        length = int(rng.integers(1, 300))
        kind = rng.integers(0, 3)
        if kind == 0:
            damaged = content[:start] + rng.bytes(length) + content[start + length :]
        elif kind == 1:
            damaged = content[:start] + content[start + length :]
        else:
            damaged = content[:start] + rng.bytes(length) + content[start:]
        path.write_bytes(damaged)
        assert outcome(path) in ("refused", sound)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x05\x06" + bytes(18), os.urandom(5000), b"PK\x03\x04" * 99]
)
def test_other_files(tmp_path, content):
    path = tmp_path / "other.vars"
    path.write_bytes(content)
    with pytest.raises(SessionError, match="not a session"):
        open_session(path)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(SessionError, match="no file"):
        open_session(tmp_path / "none.vars")
    with pytest.raises(SessionError, match="folder"):
        open_session(tmp_path)


# ------------------------------------------------------------------------- description

ODD = [
    None,
    True,
    -1,
    0,
    3,
    2**31,
    10**12,
    10**400,
    1.5,
    1e300,
    "",
    "../../etc/passwd",
    "\x00",
    "x" * 1000,
    [],
    [[]],
    [None],
    [10**12],
    ["../up"],
    {},
    {"a": 1},
]


@pytest.mark.parametrize("member", ["zarr.json", "one-run", "attention/zarr.json"])
def test_odd_values_in_every_field(saved, tmp_path, member):
    """No field, whatever it says, makes anything but an answer or a VarStudioError."""
    with zipfile.ZipFile(saved) as archive:
        names = [n for n in archive.namelist() if n.endswith("/zarr.json") and n.count("/") == 2]
        run = next(n for n in names if n.startswith("runs/"))
        name = {"one-run": run, "zarr.json": "zarr.json"}.get(member) or run.replace(
            "zarr.json", "attention/zarr.json"
        )
        document = json.loads(archive.read(name))
    fields = list(paths_in(document))
    rng = np.random.default_rng(3)
    chosen = [fields[i] for i in rng.permutation(len(fields))[:60]]
    for path in chosen:
        for odd in [ODD[i] for i in rng.permutation(len(ODD))[:7]]:
            changed = json.loads(json.dumps(document))
            holder = changed
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = odd

            def change(member_name, content, changed=changed):
                return json.dumps(changed).encode() if member_name == name else content

            outcome(rebuilt(saved, tmp_path, change))


def paths_in(value, path=()):
    """The way to every value in a JSON document, the document itself left out."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, dict | list):
        for key, item in list(items)[:6]:
            yield from (
                paths_in(item, (*path, key)) if isinstance(item, dict | list) else [(*path, key)]
            )


def attributes(**changes):
    return lambda document: document["attributes"].update(changes)


@pytest.mark.parametrize(
    ("member", "edit"),
    [
        ("attention/zarr.json", lambda d: d.update(shape=[10**6, 10**4, 10**4, 10**6])),
        ("attention/zarr.json", lambda d: d.update(data_type="string")),
        ("attention/zarr.json", lambda d: d.update(data_type="complex128")),
        ("attention/zarr.json", lambda d: d.update(codecs=[{"name": "numcodecs.pickle"}])),
        ("attention/zarr.json", lambda d: d.update(codecs=[])),
        ("attention/zarr.json", lambda d: chunks(d, [1, 2, 3, 10**12])),
        ("attention/zarr.json", lambda d: chunks(d, [1, 2, 3, 0])),
        ("attention/zarr.json", lambda d: chunks(d, [1, 2, 3, "9"])),
        ("attention/zarr.json", lambda d: chunks(d, [])),
        ("attention/zarr.json", lambda d: d.pop("chunk_grid")),
        ("value_norm/zarr.json", lambda d: d.update(data_type="float64")),
        ("value_norm/zarr.json", lambda d: chunks(d, [2, 3, 10**12])),
    ],
)
def test_forged_arrays(saved, tmp_path, member, edit):
    with pytest.raises(SessionError, match="damaged"):
        open_session(edited(saved, tmp_path, member, edit))


def test_chunks_that_are_longer_than_they_are(saved, tmp_path):
    for member in ("attention", "value_norm", "top_dims"):
        shape = {"attention": [1, 2, 3, 10**6], "value_norm": [2, 3, 10**6]}.get(
            member, [2, 10**6, 16]
        )
        path = edited(saved, tmp_path, f"{member}/zarr.json", lambda d, s=shape: chunks(d, s))
        tracemalloc.start()
        try:
            assert outcome(path) == "refused"
            assert tracemalloc.get_traced_memory()[1] < 30 << 20
        finally:
            tracemalloc.stop()


def chunks(document, shape):
    document["chunk_grid"]["configuration"]["chunk_shape"] = shape


def run_description(saved):
    with zipfile.ZipFile(saved) as archive:
        names = archive.namelist()
    return next(n for n in names if n.startswith("runs/") and n.count("/") == 2)


@pytest.mark.parametrize(
    "edit",
    [
        attributes(n_layers=10**12),
        attributes(n_layers=4096, n_heads=4096, n_keys=0),
        attributes(n_layers=4096, n_heads=4096, hidden_size=10**9),
        attributes(n_heads=4),
        attributes(n_layers=-2),
        attributes(n_layers=2.5),
        attributes(length_max=10**18),
        attributes(sink_dims=list(range(100_000))),
        attributes(sink_dims=[-1, -2]),
        attributes(n_keys=10**9),
        attributes(precision="object"),
        attributes(tokens="many"),
        attributes(tokens=[1, 2]),
        attributes(tokens=[]),
        attributes(query_positions=[10**15]),
        attributes(query_positions=list(range(6))),
        attributes(query_positions=[0, 0, 0, 0, 0]),
        attributes(layout={"positions": [10**15]}),
        attributes(layout=[]),
        attributes(images=[{"sha256": "0" * 64, "media_type": "image/png", "name": "n"}]),
        attributes(images=[{"sha256": "../../x", "media_type": "image/png", "name": "n"}]),
        attributes(generation={"max_new_tokens": -5}),
        attributes(interventions=[{"kind": "exec", "code": "1"}]),
        attributes(interventions="all"),
        attributes(kind="something-else"),
        attributes(schema=4),
        attributes(id="../../../up"),
    ],
)
def test_forged_runs(saved, tmp_path, edit):
    with pytest.raises(SessionError):
        open_session(edited(saved, tmp_path, run_description(saved), edit))


@pytest.mark.parametrize(
    "edit",
    [
        attributes(runs=["../../../etc"]),
        attributes(runs=["/etc/passwd"]),
        attributes(runs=["none"]),
        attributes(runs=[".."]),
        attributes(runs=5),
        attributes(kind="other"),
        attributes(images=[{}]),
        attributes(images=[]),
        attributes(view=[]),
        lambda document: document.pop("attributes"),
        lambda document: document.update(attributes=[1]),
        lambda document: document["attributes"]["runs"].append(document["attributes"]["runs"][0]),
    ],
)
def test_forged_sessions(saved, tmp_path, edit):
    with pytest.raises(SessionError):
        open_session(edited(saved, tmp_path, "zarr.json", edit))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"attributes": {"kind": "var-studio-session", "schema": NaN}}',
        b'{"attributes": {"kind": "var-studio-session", "schema": ' + b"9" * 5000 + b"}}",
    ],
)
@pytest.mark.parametrize("where", ["root", "run", "array"])
def test_descriptions_that_are_no_json(saved, tmp_path, content, where):
    run = run_description(saved)
    name = {"root": "zarr.json", "run": run, "array": run.replace("zarr", "top_dims/zarr")}[where]
    path = rebuilt(saved, tmp_path, lambda n, c: content if n == name else c)
    with pytest.raises(SessionError):
        open_session(path)


# ----------------------------------------------------------------------------- members


def test_every_member_is_needed_and_told(saved, sound, tmp_path):
    with zipfile.ZipFile(saved) as archive:
        names = archive.namelist()
    groups_only = {"images/zarr.json", "runs/zarr.json", "images/0/zarr.json"}
    for name in names:
        path = rebuilt(saved, tmp_path, lambda n, c, name=name: None if n == name else c)
        assert outcome(path) == (sound if name in groups_only else "refused"), name


def test_swapped_and_emptied_chunks(saved, tmp_path):
    with zipfile.ZipFile(saved) as archive:
        names = [n for n in archive.namelist() if "/c." in n]
        other = archive.read(names[-1])
    for name in names:
        for content in (b"", b"\0" * 16, b"\xff" * 40, os.urandom(500), other[:-1]):
            path = rebuilt(saved, tmp_path, lambda n, c, x=content, m=name: x if n == m else c)
            assert outcome(path) == "refused", name


def test_a_blosc_header_that_asks_for_memory(saved, tmp_path):
    def change(name, content):
        if "/attention/c." not in name:
            return content
        return content[:4] + (2**31 - 1).to_bytes(4, "little") + content[8:]

    path = rebuilt(saved, tmp_path, change)
    tracemalloc.start()
    try:
        assert outcome(path) == "refused"
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_random_blosc_streams_behind_a_valid_header(saved, tmp_path):
    """A right checksum and right sizes around garbage: the decoder itself must hold."""
    rng = np.random.default_rng(4)

    def change(name, content):
        if "/attention/c." not in name:
            return content
        damaged = bytearray(content)
        for at in rng.integers(16, len(content), 4):
            damaged[at] = int(rng.integers(0, 256))
        return bytes(damaged)

    for _ in range(60):
        outcome(rebuilt(saved, tmp_path, change))


@pytest.mark.parametrize(
    "name",
    ["../up", "/etc/passwd", "runs/../../up", "C:\\x", "C:/x", "a\\..\\b", "..", "runs/x/.."],
)
def test_names_that_lead_outside(saved, tmp_path, name):
    path = rebuilt(saved, tmp_path, lambda n, c: c)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(SessionError, match="unsafe"):
        open_session(path)
    assert not (tmp_path.parent / "up").exists()


def test_doubled_names(saved, tmp_path):
    path = rebuilt(saved, tmp_path, lambda n, c: c)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("zarr.json", b"{}")
    with pytest.raises(SessionError, match="doubled"):
        open_session(path)


def test_zip_bombs_are_not_unpacked(saved, tmp_path):
    path = rebuilt(saved, tmp_path, lambda n, c: None if n == "zarr.json" else c)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", b" " * (200 << 20))
    assert path.stat().st_size < 2 << 20
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(SessionError, match="compression"):
            open_session(path)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - start < 30


def test_a_forged_member_size_is_not_allocated(saved, tmp_path):
    """Every stored size in the list of contents raised to 2 GB."""
    content = bytearray(saved.read_bytes())
    at = content.index(b"PK\x01\x02")
    while content[at : at + 4] == b"PK\x01\x02":
        content[at + 20 : at + 28] = (2**31 - 1).to_bytes(4, "little") * 2
        lengths = [int.from_bytes(content[at + k : at + k + 2], "little") for k in (28, 30, 32)]
        at += 46 + sum(lengths)
    path = tmp_path / "sizes.vars"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(SessionError, match="over one another"):
            open_session(path)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def test_a_member_that_reaches_past_the_end_by_its_header_alone(saved, tmp_path):
    """Its size fits behind its offset, and no more behind the header that lies there."""
    content = bytearray(saved.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    name_length = int.from_bytes(content[entry + 28 : entry + 30], "little")
    name = content[entry + 46 : entry + 46 + name_length].decode()
    offset = int.from_bytes(content[entry + 42 : entry + 46], "little")
    path = tmp_path / "s.vars"
    path.write_bytes(content)
    files = ZipFiles(path)
    # As if the list of contents had said so: `__init__` refuses members over one another.
    files._members[name].file_size = len(content) - offset - 30
    with pytest.raises(SessionError, match="it is cut short"):
        files.read(name)


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run["layout"]["positions"].__setitem__(1, run["layout"]["positions"][0]),
        lambda run: run["layout"]["positions"].reverse(),
        lambda run: run["tokens"][-1].__setitem__("logprob", 0.5),
        lambda run: run["tokens"][-1]["top"][0].__setitem__(2, "inf"),
        lambda run: run["sink_dims"].__setitem__(1, run["sink_dims"][0]),
    ],
)
def test_what_no_writer_can_have_made(saved, tmp_path, change):
    with zipfile.ZipFile(saved) as archive:
        names = [n for n in archive.namelist() if re.fullmatch(r"runs/[^/]+/zarr\.json", n)]
    path = edited(saved, tmp_path, names[0], lambda document: change(document["attributes"]))
    with pytest.raises(SessionError, match="damaged"):
        open_session(path)
