"""`info` and `export` on a saved session, good input and every kind of bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.analysis.choice import read
from var_studio.cli.export import position_of
from var_studio.errors import VarStudioError
from var_studio.figures.data import load_settings
from var_studio.figures.words import token_line, visible
from var_studio.recording.session import open_session, save_session
from var_studio.recording.settings import Generation, Redistribution

ROOT = Path(__file__).resolve().parents[3]


def assert_refused(outcome, *said: str) -> None:
    """One line on stderr, nothing on stdout, exit code 2, never a traceback."""
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1 and outcome.err.endswith("\n")
    assert "Traceback" not in outcome.err and "bug" not in outcome.err
    assert outcome.err.startswith("var-studio: ")
    for words in said:
        assert words in outcome.err


def test_info_lists_runs_and_tokens_with_their_positions(cli, session):
    outcome = cli("info", session)
    assert outcome.code == 0 and outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0] == f"{session}: 2 runs, 2 images"
    assert "[0] baseline (end)" in lines and "[1] VAR (end)" in lines
    with open_session(session) as opened:
        run = opened.runs[0]
        first = int(run.generated_positions[0])
        listed = [line.split()[:3] for line in lines if line.strip().startswith(f"{first}*")]
        assert listed[0] == [f"{first}*", "g0", json.dumps(run.tokens[first].text).split()[0]]
    assert any("visual   12 tokens to 17" in line for line in lines)


def test_info_as_json_is_what_the_session_holds(cli, session):
    outcome = cli("info", session, "--json")
    document = json.loads(outcome.out)
    with open_session(session) as opened:
        for listed, run in zip(document["runs"], opened.runs, strict=True):
            assert listed["name"] == run.name
            assert listed["text"] == run.text
            assert listed["query_positions"] == run.query_positions.tolist()
            assert [t["text"] for t in listed["tokens"]] == [t.text for t in run.tokens]
            assert [t["position"] for t in listed["tokens"] if t["row"]] == listed[
                "query_positions"
            ]
    assert document["runs"][0]["interventions"] == []
    assert document["runs"][1]["interventions"][0]["rho"] == 0.35


@pytest.mark.parametrize("figure", ["map", "histogram", "heads"])
@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_export_writes_what_it_prints(cli, session, tmp_path, figure, suffix):
    out = tmp_path / f"f.{suffix}"
    outcome = cli("export", session, "--figure", figure, "--out", out, "--layer", 2, "--dpi", 50)
    assert outcome.code == 0
    assert outcome.out.split() == [str(out)]
    magic = {"pdf": b"%PDF-", "svg": b"<?xml", "png": b"\x89PNG"}[suffix]
    assert out.read_bytes().startswith(magic)


def test_export_draws_the_token_layer_head_run_and_row_asked_for(cli, session, tmp_path):
    out = tmp_path / "f.png"
    arguments = ["--figure", "map", "--out", out, "--dpi", 40, "--with-data"]
    chosen = ["--run", "VAR", "--token", "g2", "--layer", 2, "--head", 1]
    outcome = cli("export", session, *arguments, *chosen, "--row", "produced")
    assert outcome.out.split() == [
        str(out.with_suffix(s)) for s in (".png", ".npz", ".csv", ".json", ".py")
    ]
    with open_session(session) as opened, np.load(out.with_suffix(".npz")) as arrays:
        run = opened.runs["VAR"]
        query = run.query_of(int(run.generated_positions[2])) - 1
        expected = run.attention(query, 2, 1)[run.layout.positions]
        np.testing.assert_array_equal(arrays["before"], expected)
        # Control: neither the row of the token itself nor the other run.
        assert not np.array_equal(arrays["before"], run.attention(query + 1, 2, 1)[6:18])
        assert not np.array_equal(arrays["before"], opened.runs[0].attention(query, 2, 1)[6:18])
        # The figure names the word that was asked for, and which row stands for it.
        about = json.loads(out.with_suffix(".json").read_text("utf-8"))
        position = int(run.generated_positions[2])
        assert (about["token"]["position"], about["token"]["generated"]) == (position, 2)
        assert (about["row_of"], about["row_position"]) == ("produced", position - 1)
        assert about["drawing"]["row_of"] == "produced" and about["drawing"]["token"] == position
        reading = read(run, token=position, row_of="produced", layer=2, head=1)
        word = visible(run.tokens[position].text)
        assert token_line(reading) == (
            f"{word} (position {position}, g2), row of the step that produced it ({position - 1})"
        )
    assert load_settings(out.with_suffix(".json")).rho == 0.35


def test_numbers_name_the_word_and_whose_row_it_is(cli, session, tmp_path):
    found = []
    for row in ("query", "produced"):
        out = tmp_path / f"{row}.npz"
        chosen = ["--tokens", "g1,g2", "--layer", 2, "--row", row]
        assert cli("export", session, "--maps", *chosen, "--out", out).code == 0
        with np.load(out) as arrays:
            found.append((arrays["tokens"], arrays["before"], json.loads(str(arrays["settings"]))))
    (own, rows, about), (words, steps, told) = found
    np.testing.assert_array_equal(own, words)
    np.testing.assert_array_equal(rows[0], steps[1])
    assert not np.array_equal(rows[0], steps[0])
    assert (about["row_of"], told["row_of"]) == ("query", "produced")
    assert [token["position"] for token in told["tokens"]] == words.tolist()


def test_scale_and_smoothness_change_the_picture_and_not_the_numbers(cli, session, tmp_path):
    drawn, held = [], []
    choices = [[], ["--scale", "full"], ["--scale", "non-sinks"], ["--smooth"]]
    for index, options in enumerate(choices):
        out = tmp_path / f"{index}.png"
        chosen = ["--figure", "map", "--layer", 2, "--with-data", "--out", out, "--dpi", 60]
        assert cli("export", session, *chosen, *options).code == 0
        drawn.append(out.read_bytes())
        with np.load(out.with_suffix(".npz")) as arrays:
            held.append([arrays[name].tobytes() for name in arrays.files if name != "settings"])
    assert all(each == held[0] for each in held)
    assert len(set(drawn[1:])) == 3 and drawn[0] != drawn[3]


def test_options_go_before_the_settings_file_and_the_file_before_the_run(cli, session, tmp_path):
    kept = tmp_path / "kept.json"
    kept.write_text(Redistribution(tau=3.0, rho=0.6, p=0.1).model_dump_json())
    out = tmp_path / "f.png"
    common = ["export", session, "--figure", "ledger", "--out", out, "--dpi", 40, "--with-data"]
    common.append("--overwrite")
    for options, expected in [
        ([], (None, 0.35, 0.6)),
        (["--p", 0.25], (None, 0.35, 0.25)),
        (["--settings", kept], (3.0, 0.6, 0.1)),
        (["--settings", kept, "--tau", 0.0, "--rho", 0.9], (0.0, 0.9, 0.1)),
    ]:
        assert cli(*common, "--run", 1, *options).code == 0
        found = load_settings(out.with_suffix(".json"))
        tau = expected[0]
        with open_session(session) as opened:
            tau = opened.runs[1].tau_default if tau is None else tau
        assert (found.tau, found.rho, found.p) == (tau, *expected[1:])


@pytest.mark.parametrize("suffix", [".png", ".npz", ".csv", ".json"])
def test_no_file_that_exists_is_replaced_unless_told(cli, session, tmp_path, suffix):
    out = tmp_path / "f.png"
    precious = out.with_suffix(suffix)
    precious.write_bytes(b"precious")
    common = ["export", session, "--figure", "heads", "--out", out, "--dpi", 40]
    outcome = cli(*common, "--with-data")
    assert_refused(outcome, f"{precious} exists", "--overwrite")
    assert [path.name for path in tmp_path.iterdir()] == [precious.name]
    assert precious.read_bytes() == b"precious"
    # Control: what would not be written stands in nobody's way.
    assert cli(*common).code == (2 if suffix == ".png" else 0)
    assert cli(*common, "--with-data", "--overwrite").code == 0
    assert precious.read_bytes() != b"precious"


def test_image_and_view_reach_the_map(cli, session, tmp_path):
    common = ["export", session, "--out", tmp_path / "f.png", "--dpi", 40]
    drawing = [*common, "--figure", "map", "--overwrite"]
    for options in ([], ["--image", 1], ["--view", 0]):
        assert cli(*drawing, *options).code == 0
    assert_refused(cli(*drawing, "--image", 2), "There is no image 2. Images go from 1 to 1.")
    assert_refused(cli(*drawing, "--image", 0), "There is no image 0.")
    assert_refused(cli(*drawing, "--view", 1), "There is no view 1. Views go from 0 to 0.")
    assert_refused(cli(*drawing, "--view", 0, "--image", 1), "Leave out --image")
    heads = [*common, "--figure", "heads", "--overwrite"]
    assert_refused(cli(*heads, "--image", 1), "--image changes nothing in heads", "used by map,")


def test_tokens_are_named_by_position_or_by_number_of_the_answer(session):
    with open_session(session) as opened:
        run = opened.runs[0]
        generated = run.generated_positions
        assert position_of(run, "20") == 20
        assert position_of(run, "g0") == generated[0]
        assert position_of(run, "g3") == generated[3]
        assert position_of(run, "g-1") == generated[-1]
        for word in ("g4", "g-5"):
            with pytest.raises(VarStudioError, match="g0 to g3"):
                position_of(run, word)
        for word in ("", "cup", "g", "1.5", "g1x", "0x3"):
            with pytest.raises(VarStudioError, match=r"No token with a row|is empty"):
                position_of(run, word)


def test_a_word_that_comes_twice_is_answered_with_what_can_be_typed(cli, tmp_path):
    """Its answer begins "the blue square is left of the red": "the" is g0 and g6."""
    run = make_run(tmp_path / "a", layers=2, heads=2, rows=3, cols=3, queries=20)
    first, second = run.generated_positions[[0, 6]]
    path = save_session(tmp_path / "s.vars", [run])
    drawing = ["export", path, "--figure", "maps", "--out", tmp_path / "f.png", "--token"]
    refused = cli(*drawing, "the")
    assert_refused(refused, f"Positions {first} (g0), {second} (g6): use --token g0.")
    assert '("the", 0)' not in refused.err
    # Each of these names, typed, is the token that it is said to be.
    assert [position_of(run, name) for name in (str(first), "g0", "g6")] == [first, first, second]
    assert cli(*drawing, "g0").code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--token", "99"], "There is no token 99. It goes from 0 to 25."),
        (["--token", "0"], "Rows were recorded for 18 to 25"),
        (["--token", "7"], "Rows were recorded for 18 to 25"),
        (["--token", "g9"], "g0 to g3"),
        (["--token", "cup"], "No token with a row is “cup”"),
        (["--token", "18", "--row", "produced"], "no step that produced it"),
        (["--layer", "4"], "There is no layer 4. It goes from 0 to 3."),
        (["--layer", "-1"], "It goes from 0 to 3."),
        (["--layer", "two"], "--layer"),
        (["--head", "3"], "There is no head 3. It goes from 0 to 2."),
        (["--run", "other"], "'baseline', 'VAR'"),
        (["--run", "2"], "0 to 1"),
        (["--rho", "1.5"], "--rho is 1.5: it must be less than or equal to 1"),
        (["--p", "-0.1"], "--p is -0.1"),
        (["--tau", "-1"], "--tau is -1"),
        (["--tau", "nan"], "--tau is nan"),
        (["--tau", "high"], "--tau"),
        (["--mass-min", "2"], "--mass-min is 2"),
        (["--convention", "mine"], "--convention"),
        (["--width", "poster"], "--width"),
        (["--dpi", "0"], "10 to 2400"),
        (["--figure", "pie"], "--figure"),
        (["--row", "next"], "--row"),
        (["--scale", "log"], "--scale"),
        (["--settings", "none.json"], "cannot be read"),
        (["--settings", "."], "cannot be read"),
        (["--nonsense"], "--nonsense"),
        (["extra"], "extra"),
    ],
)
def test_a_bad_option_is_one_line_and_code_2(cli, session, tmp_path, options, said):
    out = tmp_path / "f.pdf"
    outcome = cli("export", session, "--figure", "map", "--out", out, *options)
    assert_refused(outcome, said)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("f.jpg", ".pdf, .svg or .png"),
        ("f", ".pdf, .svg or .png"),
        ("no/f.pdf", "cannot be written"),
    ],
)
def test_a_figure_that_cannot_be_written(cli, session, tmp_path, name, said):
    outcome = cli("export", session, "--figure", "histogram", "--out", tmp_path / name)
    assert_refused(outcome, said)


@pytest.mark.parametrize("command", [["info"], ["export", "--figure", "map", "--out", "f.pdf"]])
@pytest.mark.parametrize("kind", ["missing", "empty", "text", "folder", "cut", "png"])
def test_a_file_that_is_no_session(cli, session, tmp_path, command, kind):
    path = tmp_path / "bad.vars"
    content = {"empty": b"", "text": b"hello", "png": b"\x89PNG\r\n\x1a\n" + bytes(50)}
    if kind == "folder":
        path.mkdir()
    elif kind == "cut":
        whole = session.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind != "missing":
        path.write_bytes(content[kind])
    assert_refused(cli(command[0], path, *command[1:]), "bad.vars")


def test_a_session_damaged_inside_is_refused(cli, session, tmp_path):
    whole = bytearray(session.read_bytes())
    whole[len(whole) // 3 : 2 * len(whole) // 3] = bytes(len(whole) // 3)
    path = tmp_path / "damaged.vars"
    path.write_bytes(whole)
    outcome = cli("export", path, "--figure", "heads", "--out", tmp_path / "f.pdf")
    assert_refused(outcome)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "nope"),
        (["--nope"], "--nope"),
        (["info"], "S.vars"),
        (["export"], "--help"),
        (["record"], "--help"),
        (["record", "--image", "a.png"], "--prompt"),
        (["gui", "--demo", "--nope"], "--nope"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(cli, arguments, said):
    assert_refused(cli(*arguments), said, "--help")


@pytest.mark.parametrize(
    "arguments", [[], ["record"], ["info"], ["export"], ["demo"], ["gui"]], ids=lambda a: str(a)
)
def test_help_has_examples(cli, arguments):
    outcome = cli(*arguments, "--help")
    assert outcome.code == 0 and outcome.err == ""
    assert "Example" in outcome.out
    assert f"var-studio {arguments[0]}" in outcome.out if arguments else "var-studio gui"


def test_help_describes_settings_as_they_are_declared(cli):
    said = " ".join(cli("record", "--help").out.split())
    for name in ("tau", "rho", "p", "mass_min", "convention"):
        described = Redistribution.model_fields[name].description
        assert described is not None
        assert " ".join(described.partition(" Empty")[0].split()) in said


def test_help_names_the_defaults_as_they_are_declared(cli):
    def default_of(command: str, option: str) -> str:
        """What stands in [default: …] between one option and the next."""
        said = re.sub(r"\s+", " ", cli(command, "--help").out)
        found = re.search(rf" --{option} <[^>]*> (.*?)(?= --[a-z]| Examples:)", said)
        assert found is not None, option
        (default,) = re.findall(r"\[default: (.*?)\]", found[1])
        return default

    for name in ("rho", "p", "mass_min"):
        declared = Redistribution.model_fields[name].default
        for command in ("record", "export"):
            assert float(default_of(command, name.replace("_", "-"))) == declared
    for name in ("max_new_tokens", "temperature", "top_p", "seed"):
        declared = Generation.model_fields[name].default
        assert float(default_of("record", name.replace("_", "-"))) == declared
    assert default_of("record", "tau") == "the model's own default"


def test_version(cli):
    import var_studio

    assert cli("--version").out == f"var-studio {var_studio.__version__}\n"


def test_a_bug_is_one_line_and_code_1(cli, session, monkeypatch):
    from var_studio.cli import contents

    def broken(*_):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(contents, "show", broken)
    outcome = cli("info", session)
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1 and "ZeroDivisionError: division by zero" in outcome.err
    monkeypatch.setenv("VAR_STUDIO_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli("info", session)


WITHOUT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1].split(","):
            raise {error}

sys.meta_path.insert(0, Blocker())
from var_studio.cli import main
sys.exit(main(sys.argv[2:]))
"""
ABSENT = "ModuleNotFoundError(f'No module named {name!r}', name=name)"
BROKEN = "ImportError('libEGL.so.1: cannot open shared object file', name=name)"


def without(modules: str, *arguments: object, error: str = ABSENT) -> subprocess.CompletedProcess:
    script = WITHOUT.replace("{error}", error)
    return subprocess.run(
        [sys.executable, "-c", script, modules, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_says_what_to_install(done: subprocess.CompletedProcess, *said: str) -> None:
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("Loading")]
    assert done.returncode == 2, done.stderr
    assert done.stdout == "" and len(complaints) == 1
    assert "bug" not in done.stderr and "Traceback" not in done.stderr
    for words in said:
        assert words in complaints[0]


@pytest.mark.parametrize("arguments", [[], ["gui"], ["gui", "--demo"]], ids=str)
def test_the_window_without_qt_is_refused_in_one_line(arguments):
    done = without("PySide6,shiboken6", *arguments)
    assert_says_what_to_install(
        done, "needs PySide6", "pip install PySide6-Essentials", "var-studio demo"
    )
    done = without("PySide6,shiboken6", *arguments, error=BROKEN)
    assert_says_what_to_install(done, "PySide6", "libEGL.so.1", "var-studio demo")


def test_a_figure_without_matplotlib_says_what_to_install(session, tmp_path):
    done = without(
        "matplotlib", "export", session, "--figure", "heads", "--out", tmp_path / "f.pdf"
    )
    assert_says_what_to_install(done, "needs matplotlib", "pip install matplotlib")


@pytest.mark.torch  # each is missing while the other is there
@pytest.mark.parametrize("module", ["torch", "transformers"])
def test_a_recording_without_torch_says_what_to_install(tmp_path, module):
    picture = ROOT / "resources" / "samples" / "scene-4.png"
    done = without(
        module, "record", "--image", picture, "--prompt", "What?", "--out", tmp_path / "s.vars"
    )
    assert_says_what_to_install(done, module, "not installed", "nstall it")
    done = without(module, "demo", "--out", tmp_path)
    assert_says_what_to_install(done, module, "not installed", "nstall it")


def test_a_missing_module_of_our_own_stays_a_bug(session):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['var_studio.cli.contents'] = None\n"
            "from var_studio.cli import main; sys.exit(main(sys.argv[1:]))",
            "info",
            str(session),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "This is a bug" in done.stderr


def test_a_terminal_without_unicode_is_no_reason_to_stop(session):
    def run(*arguments: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "var_studio", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            check=False,
        )

    plain = run("info", session)
    assert plain.returncode == 0 and plain.stderr == b""
    assert b"4 layers \\xd7 3 heads" in plain.stdout
    as_json = run("info", session, "--json")
    assert as_json.returncode == 0
    with open_session(session) as opened:
        assert json.loads(as_json.stdout)["runs"][0]["text"] == opened.runs[0].text
    helped = run("export", "--help")
    assert helped.returncode == 0 and b"--rho" in helped.stdout
    wrong = run("export", session, "--figure", "map", "--out", "f.pdf", "--run", "ρ")
    assert wrong.returncode == 2 and b"bug" not in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ([], False, False)),
        (["gui"], ([], False, False)),
        (["gui", "a.vars"], (["a.vars"], False, False)),
        (["gui", "--demo", "--quit-after-first-paint"], ([], True, True)),
        (["gui", "--demo", "a.vars"], (["a.vars"], True, False)),
        (["gui", "--", "a.vars"], (["a.vars"], False, False)),
    ],
)
def test_the_window_gets_its_arguments_and_its_code_is_returned(
    cli, monkeypatch, arguments, expected
):
    import var_studio.cli

    asked = []
    monkeypatch.setattr(var_studio.cli, "open_window", lambda *given: asked.append(given) or 7)
    assert cli(*arguments).code == 7
    assert [(list(names), *flags) for names, *flags in asked] == [expected]


def test_the_window_is_not_opened_on_a_missing_file(cli, tmp_path):
    assert_refused(cli("gui", tmp_path / "none.vars"), "There is no file")
    assert_refused(cli("gui", "--", tmp_path / "none.vars"), "There is no file")


def test_whoever_reads_may_go_away(session):
    """`var-studio info … | head -1` ends quietly."""
    reader = subprocess.run(
        f'"{sys.executable}" -m var_studio info "{session}" | head -n 1',
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert reader.stdout == f"{session}: 2 runs, 2 images\n"
    assert reader.stderr == ""


def test_looking_at_a_session_imports_neither_torch_nor_qt_nor_matplotlib(session):
    script = (
        "import sys; from var_studio.cli import main; main(['info', sys.argv[1]]);"
        "print([m for m in ('torch', 'transformers', 'matplotlib', 'PySide6') if m in sys.modules],"
        " file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(session)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "[]\n"
