"""Several figures at once, maps and masks, from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from var_studio.errors import VarStudioError
from var_studio.figures.batch import tokens_named
from var_studio.recording.session import open_session, save_session

DPI = ("--dpi", 30, "--format", "png")


def index_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "index.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_tokens_one_file_each_and_one_without_a_row(cli, session, tmp_path):
    out = tmp_path / "new" / "folder"
    outcome = cli("export", session, "--figure", "heads", "--tokens", "all", "--out", out, *DPI)
    assert outcome.code == 0
    with open_session(session) as opened:
        run = opened.runs[0]
        text = [t.position for t in run.tokens if t.position >= run.query_positions[0]]
        rows = [p for p in text if run.query_of(p) is not None]
        lines = index_of(out)
        assert [int(line["position"]) for line in lines] == text
        for line in lines:
            position = int(line["position"])
            assert (line["state"] == "written") == (position in rows)
            assert line["text"] == run.tokens[position].text
            assert line["run_id"] == run.id
            if line["state"] == "written":
                assert f"-t{position:03d}" in line["file"]
                with Image.open(out / line["file"]) as png:
                    assert json.loads(png.text["Description"])["token"]["position"] == position
    files = [Path(line) for line in outcome.out.split()]
    assert files == sorted(files), "names sort as the tokens do"
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [path.name for path in files] + ["index.csv"]
    )
    missing = len(text) - len(rows)
    assert outcome.err.startswith("Drawing\n")
    assert ("no row" in outcome.err) == bool(missing)


@pytest.mark.slow
def test_figures_layers_heads_and_runs_in_names_that_say_so(cli, session, tmp_path):
    out = tmp_path / "f"
    figures = ["--figure", "map", "--figure", "histogram", "--figure", "shares"]
    axes = ["--tokens", "g0-g1", "--layers", "1-2", "--heads", "all", "--runs", "all"]
    outcome = cli("export", session, *figures, *axes, "--out", out, *DPI, "--json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    named = [Path(each["file"]).name for each in document["figures"]]
    # 2 runs × 2 tokens × 2 layers × 3 heads; φ has layers alone; shares are of a run.
    assert len(named) == len(set(named)) == 2 * (2 * 2 * 3 + 2 + 1)
    assert named[-3:] == [
        "histogram-VAR-L02.png",
        "shares-baseline.png",
        "shares-VAR.png",
    ]
    assert any(name.startswith("map-VAR-t") and name.endswith("-L02-H01.png") for name in named)
    for each in document["figures"]:
        with Image.open(out / each["file"]) as png:
            about = json.loads(png.text["Description"])
        assert about["run_id"] == each["run_id"] and about["figure"] == each["figure"]
        if each["figure"] == "map":
            assert about["heads"] == [[each["layer"], each["head"]]]
            assert about["token"]["position"] == each["position"]


def test_nothing_is_replaced_without_being_asked(cli, session, tmp_path):
    arguments = ["--figure", "histogram", "--layers", "0,1", "--out", tmp_path, *DPI]
    (tmp_path / "histogram-L01.png").write_text("mine")
    outcome = cli("export", session, *arguments)
    assert outcome.code == 2 and "histogram-L01.png exists" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["histogram-L01.png"]
    assert (tmp_path / "histogram-L01.png").read_text() == "mine"
    assert cli("export", session, *arguments, "--overwrite").code == 0
    assert (tmp_path / "histogram-L01.png").read_bytes().startswith(b"\x89PNG")
    again = cli("export", session, *arguments)
    assert again.code == 2 and "index.csv" in again.err


def test_a_batch_of_tokens_without_rows_says_that_nothing_was_drawn(cli, session, tmp_path):
    outcome = cli("export", session, "--figure", "map", "--tokens", "0-2", "--out", tmp_path, *DPI)
    assert outcome.code == 2 and outcome.out == ""
    assert "3 tokens have no row" in outcome.err and "Traceback" not in outcome.err
    assert [line["state"] for line in index_of(tmp_path)] == ["no row"] * 3


def test_data_and_scripts_of_a_batch(cli, session, tmp_path):
    options = ["--layers", "1,2", "--with-data", "--format", "svg", "--format", "png"]
    outcome = cli("export", session, "--figure", "map", *options, "--dpi", 30, "--out", tmp_path)
    assert outcome.code == 0
    suffixes = {".svg", ".npz", ".csv", ".json", ".py", ".png"}
    for layer in (1, 2):
        found = {path.suffix for path in tmp_path.glob(f"map-L{layer:02d}.*")}
        assert found == suffixes
        document = json.loads((tmp_path / f"map-L{layer:02d}.json").read_text("utf-8"))
        assert document["layer"] == layer


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--figure", "map", "--tokens", "nowhere"], "no word 'nowhere'"),
        (["--figure", "map", "--tokens", "9999"], "no token 9999"),
        (["--figure", "map", "--tokens", "g1-g0"], "ends before it begins"),
        (["--figure", "map", "--tokens", ","], "No token is named"),
        (["--figure", "map", "--tokens", "g0", "--token", "g0"], "both given"),
        (["--figure", "map", "--layers", "7"], "goes from 0 to 3"),
        (["--figure", "map", "--layers", "x"], "--layers is x"),
        (["--figure", "map", "--runs", "none such"], "no run named"),
        (["--figure", "sofa"], "sofa"),
        ([], "No figure is named"),
        (["--figure", "map", "--format", "svg"], "that of a batch"),
        (["--maps", "--masks"], "two files"),
        (["--maps", "--figure", "map"], "go with no figure"),
        (["--masks", "--token", "g0"], "--token changes nothing in --masks"),
    ],
)
def test_a_bad_choice_is_one_line(cli, session, tmp_path, options, said):
    out = tmp_path / "out"
    outcome = cli("export", session, *options, "--out", out)
    assert outcome.code == 2 and outcome.out == "" and said in outcome.err
    assert outcome.err.count("\n") == 1
    assert not out.exists()


def test_a_folder_that_is_named_like_a_file(cli, session, tmp_path):
    outcome = cli(
        "export", session, "--figure", "map", "--tokens", "g0", "--out", tmp_path / "a.pdf"
    )
    assert outcome.code == 2 and "into a folder" in outcome.err


def test_words_and_ranges_name_tokens(session):
    with open_session(session) as opened:
        run = opened.runs[0]
        answer = run.generated_positions.tolist()
        assert tokens_named(run, "generated") == answer
        assert tokens_named(run, "g1-g2, g0") == answer[:3]
        assert tokens_named(run, f"{answer[0]}-{answer[1]},{answer[1]}") == answer[:2]
        word = run.tokens[answer[1]].text.strip()
        named = tokens_named(run, word.upper())
        assert answer[1] in named
        for position in named:
            assert run.tokens[position].text.strip().casefold() == word.casefold()
        with pytest.raises(VarStudioError, match="no word '12'"):
            tokens_named(run, "=12")


def test_maps_and_masks(cli, session, tmp_path):
    out = tmp_path / "maps.npz"
    chosen = ["--tokens", "generated", "--layers", "2-3", "--head", 1, "--rho", 0.4]
    outcome = cli("export", session, "--maps", *chosen, "--out", out)
    assert outcome.code == 0 and outcome.out.split() == [str(out)]
    with open_session(session) as opened, np.load(out) as arrays:
        run = opened.runs[0]
        about = json.loads(str(arrays["settings"]))
        assert about["rho"] == 0.4 and about["head"] == 1
        for n, position in enumerate(arrays["tokens"]):
            expected = run.attention(run.query_of(int(position)))[2:4, 1][:, run.layout.positions]
            np.testing.assert_array_equal(arrays["before"][n, :, 0], expected)
    assert cli("export", session, "--maps", *chosen, "--out", out).code == 2
    outcome = cli("export", session, "--masks", "--layer", 2, "--out", tmp_path / "m.png", "--json")
    assert outcome.code == 0
    files = [Path(each).name for each in json.loads(outcome.out)["files"]]
    assert files == ["m-L02.png", "m.json"]


@pytest.mark.parametrize(
    ("figure", "option"),
    [
        ("hidden_tokens", ["--quantity", "contribution"]),
        ("heads", ["--quantity", "attention"]),
        ("heads", ["--smooth"]),
        ("maps", ["--quantity", "contribution"]),
        ("histogram", ["--head", 1]),
        ("histogram", ["--rho", 0.4]),
        ("sorted_heads", ["--head", 1]),
        ("sorted_heads", ["--layer", 1]),
        ("text_shares", ["--layer", 1]),
        ("answers", ["--token", "g0"]),
        ("heads", ["--compare-with", "VAR"]),
    ],
)
def test_an_option_that_changes_nothing_is_refused(cli, session, tmp_path, figure, option):
    asked = ["export", session, "--figure", figure, *option]
    outcome = cli(*asked, "--out", tmp_path / "f.png")
    assert outcome.code == 2 and not list(tmp_path.iterdir())
    assert f"{option[0]} changes nothing in {figure}." in outcome.err
    used_by = outcome.err.partition("it is used by ")[2]
    assert used_by and figure not in used_by.replace(",", "").split()
    # In a batch one figure that uses it is enough.
    user = "histogram" if option[0] == "--layer" else "map"
    beside = cli(*asked, "--figure", user, "--out", tmp_path / "many", *DPI)
    assert "changes nothing" not in beside.err


def test_what_of_a_style_has_no_effect_is_said(cli, session, tmp_path):
    style = tmp_path / "lab.mplstyle"
    style.write_text("axes.linewidth: 2\ntext.usetex: True\npdf.fonttype: 3\n")
    drawing = ["export", session, "--figure", "heads", "--out", tmp_path / "f.pdf"]
    outcome = cli(*drawing, "--style", style)
    assert outcome.code == 0 and f"pdf.fonttype, text.usetex of {style} stayed" in outcome.err
    style.write_text("axes.linewidth: 2\npdf.fonttype: 42\n")
    assert cli(*drawing, "--style", style, "--overwrite").err == ""


@pytest.fixture
def alone(session, tmp_path) -> Path:
    """A session of one run: nothing to compare with."""
    with open_session(session) as opened:
        return save_session(tmp_path / "alone.vars", runs=[opened.runs[0]])


def test_a_figure_that_cannot_be_made_stops_no_other(cli, alone, tmp_path):
    figures = [word for f in ("answers", "heads", "knockout") for word in ("--figure", f)]
    outcome = cli("export", alone, *figures, "--out", tmp_path / "many", *DPI)
    assert outcome.code == 3
    states = {line["figure"]: line["state"] for line in index_of(tmp_path / "many")}
    assert states == {"answers": "failed", "heads": "written", "knockout": "failed"}
    assert [Path(line).stem for line in outcome.out.split()] == ["heads"]
    for name in ("answers", "knockout"):
        assert f"{name}.png was not drawn: " in outcome.err
    assert "2 of 3 figures were not drawn." in outcome.err
    # Where nothing can be, nothing is.
    outcome = cli("export", alone, *figures[:2], *figures[4:], "--out", tmp_path / "none", *DPI)
    assert outcome.code == 2 and outcome.out == ""


def test_a_word_that_one_run_lacks_stops_no_other_run(cli, session, tmp_path, monkeypatch):
    from var_studio.cli import batch

    def named(run, text):
        if run.name == "VAR":
            raise VarStudioError("The run VAR has no word 'cup'.")
        return tokens_named(run, text)

    monkeypatch.setattr(batch, "tokens_named", named)
    axes = ["--tokens", "g0", "--runs", "all", "--out", tmp_path / "f"]
    outcome = cli("export", session, "--figure", "heads", *axes, *DPI)
    assert outcome.code == 3 and "has no word 'cup'" in outcome.err
    assert [line["state"] for line in index_of(tmp_path / "f")] == ["written", "failed"]


@pytest.mark.parametrize("after", [0, 2])
def test_ctrl_c_says_how_far_a_batch_got(cli, session, tmp_path, monkeypatch, after):
    from var_studio.figures import batch

    export_figure, count = batch.export_figure, iter(range(99))

    def interrupted(*arguments, **choice):
        if next(count) == after:
            raise KeyboardInterrupt
        return export_figure(*arguments, **choice)

    monkeypatch.setattr(batch, "export_figure", interrupted)
    axes = ["--tokens", "g0-g2", "--out", tmp_path / "f"]
    outcome = cli("export", session, "--figure", "ledger", *axes, *DPI)
    assert outcome.code == 130
    assert outcome.err.endswith(f"var-studio: Stopped: {after} of 3 figures written.\n")
    assert len((tmp_path / "f" / "index.csv").read_text().splitlines()) == after + 1


def test_ctrl_c_ends_any_command_with_a_word(cli, session, tmp_path, monkeypatch):
    from var_studio.cli import gallery

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(gallery, "save_gallery", interrupted)
    outcome = cli("gallery", session, "--out", tmp_path / "g.html")
    assert outcome.code == 130 and outcome.err == "var-studio: Stopped.\n"


def test_what_is_wrong_with_an_option_ends_with_a_full_stop(cli, session, tmp_path):
    outcome = cli("export", session, "--figure", "heads", "--layer", "x", "--out", tmp_path / "f")
    assert outcome.code == 2 and outcome.err.endswith(". Try --help.\n")
    assert "integer Try" not in outcome.err
