"""What a session holds, and what its file gives back."""

import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from tests.synthetic import make_run
from tests.unit.recording.session_runs import SMALL, same, two_runs
from var_studio.recording.failures import RecordingError, SessionError
from var_studio.recording.session import Session, open_session, save_session
from var_studio.recording.settings import Redistribution

ROOT = Path(__file__).parents[3]


def test_round_trip(tmp_path):
    runs = two_runs(tmp_path)
    view = {"panel": "heads", "layer": 1, "nested": [1, 2.5, None, "τ"]}
    path = save_session(tmp_path / "s.vars", runs=runs, notes="Grüße\nτ", view=view)
    assert path == tmp_path / "s.vars"
    with open_session(path) as session:
        assert session.notes == "Grüße\nτ" and session.view == view and session.path == path
        assert session.runs.names == ["baseline", "VAR"]
        for run, original in zip(session.runs, runs, strict=True):
            assert same(run, original) and run.path == path
        # The two runs have images of their own.
        assert [image.bytes for image in session.images] == [r.stored_image(0).bytes for r in runs]
        assert session.runs[0].image(0).size == (320, 240)
        settings = Redistribution(tau=4.0, rho=0.5)
        assert np.array_equal(
            session.runs["VAR"].redistributed(3, settings), runs[1].redistributed(3, settings)
        )
    # Lists, tuples and sessions do as well.
    assert same(open_session(save_session(tmp_path / "t.vars", runs)).runs[1], runs[1])


def test_runs_by_number_and_name(tmp_path):
    runs = Session(two_runs(tmp_path)).runs
    assert runs[0] is runs["baseline"] and runs[-1] is runs["VAR"] and len(runs) == 2
    assert runs[1:] == [runs["VAR"]] and [run.name for run in runs] == runs.names
    assert "VAR" in runs and runs[0] in runs and "other" not in runs
    with pytest.raises(RecordingError, match="'baseline', 'VAR'"):
        runs["other"]
    for number in (2, -3):
        with pytest.raises(RecordingError, match=f"no run {number}.*0 to 1, or -2 to -1"):
            runs[number]
    with pytest.raises(RecordingError, match="number or a name, not float"):
        runs[1.0]
    runs.append(runs[0])
    assert len(runs) == 2
    runs.remove(runs[0])
    assert runs.names == ["VAR"]


def test_plain_zarr_reads_it(tmp_path):
    runs = two_runs(tmp_path, rows=17, cols=17)
    path = save_session(tmp_path / "s.vars", runs, notes="n")
    store = ZipStore(path, mode="r")
    root = zarr.open(store, mode="r")
    assert root.attrs["kind"] == "var-studio-session" and root.attrs["schema"] == 2
    assert root.attrs["runs"] == [run.id for run in runs] and root.attrs["notes"] == "n"
    assert set(root) == {"runs", "images"} and set(root["runs"]) == {run.id for run in runs}
    for number, run in enumerate(runs):
        assert root[f"images/{number}"][:].tobytes() == run.stored_image(0).bytes
        group = root[f"runs/{run.id}"]
        assert group["attention"].shape == (12, 2, 3, run.length)
        for query in range(12):
            assert np.array_equal(group["attention"][query], run.attention(query))
        assert np.array_equal(group["sink_dims_value"][:], run.signed_values)
        assert np.array_equal(group["top_dims"][:], run.top_dims()[0])
        assert np.array_equal(group["value_norm"][:].astype(np.float32), run.value_norm())
    store.close()


def test_an_image_shared_by_runs_is_kept_once(tmp_path):
    runs = [make_run(tmp_path / name, seed=1, name=name, **SMALL) for name in ("a", "b")]
    path = save_session(tmp_path / "s.vars", runs)
    names = [n for n in zipfile.ZipFile(path).namelist() if n.startswith("images/") and "/c." in n]
    assert names == ["images/0/c.0"]
    session = open_session(path)
    assert len(session.images) == 1
    assert session.runs["b"].stored_image(0) == runs[1].stored_image(0)


def test_an_empty_session(tmp_path):
    session = open_session(save_session(tmp_path / "s.vars", Session(notes="nothing yet")))
    assert len(session.runs) == 0 and session.images == [] and session.notes == "nothing yet"


def test_the_same_run_twice_and_runs_of_one_id(tmp_path):
    run = make_run(tmp_path / "a", **SMALL)
    copy = open_session(save_session(tmp_path / "s.vars", [run])).runs[0]
    session = open_session(save_session(tmp_path / "t.vars", [run, run, copy]))
    assert len(session.runs) == 2
    assert same(session.runs[0], run) and session.runs[1].name == "baseline (2)"
    assert session.runs[1].id == run.id and session.runs[1].tokens == run.tokens


def test_runs_of_one_name_are_told_apart(tmp_path):
    names = ["baseline", "VAR", "baseline", "baseline (2)", "baseline"]
    runs = [make_run(tmp_path / str(i), name=name, seed=i, **SMALL) for i, name in enumerate(names)]
    session = Session(runs)
    told = ["baseline", "VAR", "baseline (3)", "baseline (2)", "baseline (4)"]
    assert session.runs.names == told
    assert [session.runs[name] for name in told] == runs
    assert "baseline (4)" in session.runs and "baseline (5)" not in session.runs
    assert [run.name for run in runs] == names, "the caller's runs stay as they are"

    opened = open_session(save_session(tmp_path / "s.vars", session))
    assert [run.name for run in opened.runs] == opened.runs.names == told
    for name, run in zip(told, runs, strict=True):
        assert np.array_equal(opened.runs[name].attention(5), run.attention(5))
    again = save_session(tmp_path / "t.vars", opened.runs)
    assert again.read_bytes() == (tmp_path / "s.vars").read_bytes()


def test_one_run_needs_no_list(tmp_path):
    run, _ = two_runs(tmp_path)
    for path in (
        save_session(tmp_path / "s.vars", run),
        save_session(tmp_path / "t.vars", runs=run),
    ):
        (saved,) = open_session(path).runs
        assert same(saved, run)
    assert run.in_directory, "a run that was saved stays where it is"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda path, run: save_session(path, "s.vars"), "not str"),
        (lambda path, run: save_session(path, [run, None]), "not NoneType"),
        (lambda path, run: save_session(path, 5), "not int"),
        (lambda path, run: save_session([run], path), "path comes first"),
        (lambda path, run: save_session(path, [run], notes=5), "notes"),
        (lambda path, run: save_session(path, [run], view={"a": {1, 2}}), "view"),
        (lambda path, run: save_session(path, [run], view={"a": np.nan}), "view"),
        (lambda path, run: open_session(5), "path of a session"),
        (lambda path, run: open_session(run), "path of a session"),
    ],
)
def test_what_a_session_cannot_hold(tmp_path, call, said):
    run, _ = two_runs(tmp_path)
    with pytest.raises(SessionError, match=said):
        call(tmp_path / "s.vars", run)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_the_same_session_gives_the_same_bytes(tmp_path):
    runs = two_runs(tmp_path)
    one, two = save_session(tmp_path / "1.vars", runs), save_session(tmp_path / "2.vars", runs)
    assert one.read_bytes() == two.read_bytes()


def test_torch_and_qt_are_not_needed(tmp_path):
    path = save_session(tmp_path / "s.vars", [make_run(tmp_path / "a", **SMALL)])
    script = textwrap.dedent(
        """
        import sys
        for name in ("torch", "transformers", "matplotlib", "PySide6", "zarr"):
            sys.modules[name] = None
        from var_studio.recording.session import open_session
        run = open_session(sys.argv[1]).runs[0]
        run.redistributed(0), run.image(0), run.contribution(1)
        print(run.text)
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script, path], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "the blue square is left"
