"""The script beside a figure: run as a program of its own, it draws the same bytes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.answers import answered
from tests.synthetic import make_run
from var_studio.analysis.scale import Limits
from var_studio.errors import VarStudioError
from var_studio.figures.build import FIGURES, MapOptions
from var_studio.figures.data import load_settings
from var_studio.figures.drawing import read_drawing
from var_studio.figures.export import export_figure
from var_studio.figures.names import COMPOSED
from var_studio.recording.recording import Recording
from var_studio.recording.session import Session, open_session, save_session
from var_studio.recording.settings import HeadAblation, Redistribution


@pytest.fixture(scope="module")
def session(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A baseline, and two runs of one name: in the file the second is called otherwise."""
    folder = tmp_path_factory.mktemp("script")
    shape = {"rows": 5, "cols": 8, "queries": 12, "image_size": (320, 240)}
    runs = [
        Recording.open(recorded),
        make_run(folder / "b", **shape, name="VAR", intervention=Redistribution(rho=0.4)),
        make_run(folder / "c", **shape, seed=1, name="VAR", intervention=HeadAblation()),
    ]
    return open_session(save_session(folder / "s's.vars", runs=runs))


def redraw(written: list[Path]) -> None:
    """Run the script as a researcher does, from another folder, and compare what it draws."""
    figure, script = written[0], written[-1]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], cwd="/", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    again = figure.with_name(f"{figure.stem}-redrawn{figure.suffix}")
    assert again.read_bytes() == figure.read_bytes()


def redraw_all(written: list[list[Path]]) -> None:
    """The same of many, in one program, to pay for imports once."""
    body = "import runpy, sys\nfor path in sys.argv[1:]: runpy.run_path(path)"
    done = subprocess.run(
        [sys.executable, "-c", body, *(str(files[-1]) for files in written)],
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for files in written:
        again = files[0].with_name(f"{files[0].stem}-redrawn{files[0].suffix}")
        assert again.read_bytes() == files[0].read_bytes(), files[0].name


def named(run: Recording) -> dict[str, dict]:
    """A choice of arguments for each figure, so that each kind of argument occurs."""
    pairs = [(1, 2), (2, 0), (4, 5)]
    region = Redistribution(tau=5.25, rho=0.3, p=0.45, target="region", region=(3, 4, 12))
    choices: dict[str, dict] = {name: {"layer": 2, "settings": region} for name in FIGURES}
    choices["map"] = {
        "heads": pairs,
        "layer": 4,
        "aggregate": "max",
        "settings": region,
        "width": "column",
        "options": MapOptions(
            gamma=0.5,
            quantity="contribution",
            smooth=True,
            limits=Limits(0.0, 0.1 / 3, True),
            scale_name="that of all heads of this token",
        ),
    }
    choices["heads"] = {"head": 3, "token": int(run.query_positions[2])}
    choices["scatter"] = {"token": int(run.query_positions[3]), "row_of": "produced"}
    choices["ledger"] = {"heads": "all", "layer": 5}
    return choices


@pytest.mark.slow
def test_every_figure_is_drawn_again_byte_by_byte(session, tmp_path):
    run = session.runs["baseline"]
    written = [
        export_figure(run, name, tmp_path / f"{name}.svg", with_data=True, **choice)
        for name, choice in named(run).items()
    ]
    redraw_all(written)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["pdf", "png"])
def test_a_script_alone_draws_the_same_file_and_numbers(session, tmp_path, suffix):
    run = session.runs["baseline"]
    path = tmp_path / "deep" / f"f.{suffix}"
    path.parent.mkdir()
    dpi = {"dpi": 70} if suffix == "png" else {}
    written = export_figure(run, "map", path, layer=2, head=1, with_data=True, **dpi)
    redraw(written)
    # The numbers too, and a control: other settings give other bytes.
    text = written[-1].read_text("utf-8")
    assert "layer=2" in text and "head=1" in text and "here / '../" not in text
    changed = text.replace("head=1", "head=2").replace("width=", "with_data=True, width=")
    written[-1].write_text(changed, "utf-8")
    with pytest.raises(AssertionError):
        redraw(written)
    old, new = (np.load(path.with_name(f"{name}.npz")) for name in ("f", "f-redrawn"))
    assert not np.array_equal(old["before"], new["before"])
    assert np.array_equal(old["boxes"], new["boxes"])
    assert text.count("\n") < 30 and max(map(len, text.splitlines())) <= 130


def test_a_script_finds_the_session_that_moved_with_it(session, tmp_path):
    folder = tmp_path / "paper" / "figures"
    folder.mkdir(parents=True)
    place = tmp_path / "paper" / "cup.vars"
    shutil.copy(session.path, place)
    with open_session(place) as moved:
        written = export_figure(moved.runs[0], "histogram", folder / "phi.svg", with_data=True)
    assert "here / '../cup.vars'" in written[-1].read_text("utf-8")
    (tmp_path / "paper").rename(tmp_path / "published")
    redraw([tmp_path / "published" / path.relative_to(tmp_path / "paper") for path in written])


@pytest.mark.parametrize("anew", [0, 1])
def test_a_script_stops_at_a_session_recorded_anew(session, tmp_path, monkeypatch, anew):
    """Under the same names, one of its two runs another."""
    first, second, _ = answered(tmp_path / "old", monkeypatch)
    place, changed = tmp_path / "cup.vars", answered(tmp_path / "new", monkeypatch)
    with open_session(save_session(place, runs=[first, second])) as opened:
        old = opened.runs
        written = export_figure(
            old[0], "map", tmp_path / "f.svg", compare_with=old[1], with_data=True
        )
    redraw(written)  # control
    again = tmp_path / "f-redrawn.svg"
    again.unlink()
    replaced = [first, second]
    replaced[anew] = changed[anew]
    save_session(place, runs=replaced)
    done = subprocess.run([sys.executable, str(written[-1])], capture_output=True, text=True)
    assert done.returncode == 1 and not again.exists()
    name = old[anew].name
    assert done.stderr.startswith(f"cup.vars holds another run {name} than the one drawn")
    assert done.stderr.count("\n") == 1


def test_a_run_as_it_was_made_and_the_second_of_one_name(session, tmp_path):
    run = session.runs[2]
    written = export_figure(run, "map", tmp_path / "f.svg", with_data=True)
    text = written[-1].read_text("utf-8")
    assert "runs['VAR (2)']" in text and "settings" not in text
    redraw(written)


def test_the_second_of_one_name_in_a_session_that_was_saved_and_not_reopened(tmp_path):
    shape = {"layers": 4, "heads": 3, "rows": 3, "cols": 4, "queries": 8, "hidden": 96}
    runs = [make_run(tmp_path / f"{n}", **shape, seed=n, name="VAR") for n in range(3)]
    saved = Session(runs)
    place = save_session(tmp_path / "s.vars", saved)
    with open_session(place) as opened:
        names = ["VAR", "VAR (2)", "VAR (3)"]
        assert [run.name for run in saved.runs] == [run.name for run in opened.runs] == names
        assert saved.runs.names == opened.runs.names == names
    written = export_figure(saved.runs[1], "map", tmp_path / "f.svg", with_data=True)
    assert "runs['VAR (2)']" in written[-1].read_text("utf-8")
    redraw(written)


@pytest.mark.slow
def test_global_maps_and_answers(tmp_path, monkeypatch):
    runs = answered(tmp_path, monkeypatch)
    with open_session(save_session(tmp_path / "pair.vars", runs=list(runs))) as opened:
        baseline, second, forced = opened.runs
        redraw(
            export_figure(
                second,
                "map",
                tmp_path / "two.svg",
                compare_with=baseline,
                layer=1,
                settings=Redistribution(tau=4.0),
                with_data=True,
            )
        )
        written = export_figure(
            baseline,
            "answers",
            tmp_path / "answers.pdf",
            compare_with=second,
            forced=forced,
            with_data=True,
        )
        redraw(written)
        assert "forced=forced" in written[-1].read_text("utf-8")


def test_a_run_in_no_session_file_yet(run, tmp_path):
    written = export_figure(run, "histogram", tmp_path / "f.svg", with_data=True)
    assert "vs.Recording.open(" in written[-1].read_text("utf-8")
    redraw(written)


def test_the_settings_file_says_every_choice(session, tmp_path):
    run = session.runs["baseline"]
    for name, choice in named(run).items():
        written = export_figure(
            run, name, tmp_path / f"{name}.png", dpi=20, with_data=True, **choice
        )
        document = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
        drawing = read_drawing(document)
        assert drawing is not None and drawing.figure == name and drawing.run == run.id
        assert drawing.options == choice.get("options")
        assert drawing.row_of == choice.get("row_of", "query")
        if "token" in choice:
            assert drawing.token == choice["token"]
        if "settings" in choice:
            assert drawing.settings == choice["settings"]
            assert load_settings(tmp_path / f"{name}.json") == choice["settings"]
        assert document["images"][0]["sha256"] == run.image_entries[0].sha256
        assert len(written) == 5


def test_a_name_that_would_break_the_script(session, tmp_path):
    path = tmp_path / 'a"""\nb\\.svg'
    redraw(export_figure(session.runs[0], "histogram", path, with_data=True))


@pytest.mark.parametrize("name", ["random", "var_studio", "numpy"])
def test_a_script_that_would_hide_a_module_is_refused(run, tmp_path, name):
    with pytest.raises(VarStudioError, match=f"hide the Python module {name}.*{name}-figure.svg"):
        export_figure(run, "histogram", tmp_path / f"{name}.svg", with_data=True)
    assert not list(tmp_path.iterdir()), "nothing is left of it, the figure neither"
    # Control: without a script the name is free.
    export_figure(run, "histogram", tmp_path / f"{name}.svg")


@pytest.mark.slow
def test_composed_figures_are_drawn_again(tmp_path, monkeypatch):
    """Those that these runs make; with words, other runs, a length and a look of the maps."""
    runs = answered(tmp_path, monkeypatch)
    figures = tmp_path / "figures"
    figures.mkdir()
    refused, written = [], []
    with open_session(save_session(tmp_path / "pair.vars", runs=list(runs))) as opened:
        baseline, second, forced = opened.runs
        words = [int(p) for p in baseline.generated_positions[:2]]
        for name in COMPOSED:
            more = {"tokens": words} if name.many else {}
            more |= {"others": [second, forced]} if name.runs else {}
            more |= {"options": MapOptions(gamma=0.6)} if name.pictures else {}
            path = figures / f"{name.key}.svg"
            try:
                written.append(
                    export_figure(
                        baseline, name.key, path, layer=3, width="120mm", with_data=True, **more
                    )
                )
            except VarStudioError:
                refused.append(name.key)
    assert set(refused) <= {"knockout"}, "that one needs a run with a knockout"
    redraw_all(written)
