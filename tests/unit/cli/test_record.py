"""`record` and `demo` with the embedded model: answers, files, bad input, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.cli.test_export_and_info import assert_refused
from var_studio import assets
from var_studio.cli.record import divergence
from var_studio.errors import VarStudioError
from var_studio.recording.interventions import interventions_from
from var_studio.recording.paths import kept_runs
from var_studio.recording.session import open_session
from var_studio.recording.tokens import Token

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def picture() -> Path:
    return assets.resource("samples", "scene-4.png")


@pytest.fixture
def ask(cli, picture, tmp_path):
    """`var-studio record` with what is always needed; options may replace any of it."""

    def run(*options: object, prompt: str = "Describe the picture."):
        given = {"--image": picture, "--prompt": prompt, "--out": tmp_path / "s.vars"}
        names = [str(option) for option in options]
        needed = [
            word for name, value in given.items() if name not in names for word in (name, value)
        ]
        return cli("record", *needed, *options)

    return run


def test_record_prints_answers_and_the_file_and_leaves_nothing_else(ask, tmp_path):
    out = tmp_path / "s.vars"
    outcome = ask("--var", "--rho", 0.5, "--max-new-tokens", 5)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[-1] == str(out)
    assert "Recording baseline" in outcome.err and "Recording VAR" in outcome.err
    assert kept_runs() == []
    with open_session(out) as session:
        baseline, var = session.runs
        assert [baseline.name, var.name] == ["baseline", "VAR"]
        assert lines[:2] == [f"baseline: {baseline.text}", f"VAR: {var.text}"]
        assert len(baseline.generated_positions) == len(var.generated_positions) == 5
        assert not baseline.interventions and var.redistribution.rho == 0.5
        # Every generated token has a row, and rows are probabilities.
        for position in baseline.generated_positions:
            row = baseline.attention(baseline.query_of(int(position)))
            np.testing.assert_allclose(row.sum(-1), 1, atol=2e-3)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], ["baseline"]),
        (["--no-var"], ["baseline"]),
        (["--var"], ["baseline", "VAR"]),
        (["--p", "0.3"], ["baseline", "VAR"]),
    ],
)
def test_the_second_run_is_recorded_where_it_is_asked_for(ask, tmp_path, options, names):
    assert ask("--max-new-tokens", 2, *options).code == 0
    with open_session(tmp_path / "s.vars") as session:
        assert session.runs.names == names


def test_a_seed_decides_what_is_sampled(ask, tmp_path):
    texts = []
    for index, seed in enumerate([1, 1, 2]):
        out = tmp_path / f"{index}.vars"
        sampling = ["--temperature", 5.0, "--seed", seed, "--max-new-tokens", 16]
        assert ask("--out", out, *sampling).code == 0
        with open_session(out) as session:
            texts.append([token.id for token in session.runs[0].tokens])
    assert texts[0] == texts[1] != texts[2]


def test_an_existing_file_is_kept_unless_told_otherwise(ask, tmp_path):
    out = tmp_path / "s.vars"
    out.write_bytes(b"precious")
    assert_refused(ask(), "exists", "--overwrite")
    assert out.read_bytes() == b"precious"
    assert ask("--overwrite", "--max-new-tokens", 1).code == 0
    with open_session(out) as session:
        assert len(session.runs) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--image", "none.png"], "There is no file none.png"),
        (["--image", "."], "folder"),
        (["--prompt", ""], "--prompt is empty"),
        (["--prompt", "  \n"], "--prompt is empty"),
        (["--out", "none/s.vars"], "There is no folder none"),
        (["--out", "."], "is a folder"),
        (["--model", "none-such-folder/x"], "none-such-folder"),
        (["--device", "abacus"], "abacus"),
        (["--dtype", "int4"], "--dtype"),
        (["--rho", "2"], "--rho is 2"),
        (["--p", "x"], "--p"),
        (["--no-var", "--tau", "3"], "--no-var"),
        (["--max-new-tokens", "0"], "--max-new-tokens is 0"),
        (["--temperature", "-1"], "--temperature is -1"),
        (["--top-p", "0"], "--top-p is 0"),
        (["--seed", "-3"], "--seed is -3"),
        (["--settings", "none.json"], "cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_code_2(ask, tmp_path, options, said):
    outcome = ask(*options)
    # Loading may have begun before the model's own checks: that is progress, not a complaint.
    complaints = [line for line in outcome.err.splitlines() if not line.startswith("Loading")]
    outcome.err = "\n".join([*complaints, ""])
    assert_refused(outcome, said)
    assert list(tmp_path.glob("*.vars")) == []


@pytest.fixture
def nothing_is_loaded(monkeypatch):
    from var_studio.models import loading

    monkeypatch.setattr(loading, "load_model", lambda *_, **__: pytest.fail("loaded"))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder closed to everyone")
def test_a_folder_that_cannot_be_written_is_refused_before_loading(ask, cli, nothing_is_loaded):
    assert_refused(ask("--out", "/proc/self/s.vars"), "Nothing can be written in /proc/self")
    assert_refused(cli("demo", "--out", "/proc/self"), "Nothing can be written in /proc/self")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder closed to everyone")
@pytest.mark.parametrize("there", [False, True], ids=["no file yet", "a file"])
def test_a_link_is_followed_before_loading(ask, tmp_path, nothing_is_loaded, there):
    link = tmp_path / "link.vars"
    link.symlink_to("/proc/self/status" if there else "/proc/self/s.vars")
    outcome = ask("--out", link, "--overwrite")
    assert_refused(outcome, "write-protected" if there else "Nothing can be written in /proc/")
    link.unlink()
    link.symlink_to(link)
    assert_refused(ask("--out", link), "can be no file")


def test_a_file_that_cannot_be_replaced_is_refused_before_loading(ask, tmp_path, nothing_is_loaded):
    path = tmp_path / "s.vars"
    path.write_bytes(b"PK")
    path.chmod(0o444)
    assert_refused(ask("--overwrite"), "is write-protected", "another name")
    assert path.read_bytes() == b"PK" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="the limit is another")
@pytest.mark.parametrize("length", [250, 300], ids=["with what saving adds", "in itself"])
def test_a_name_too_long_for_the_disk_is_refused_before_loading(
    ask, tmp_path, nothing_is_loaded, length
):
    out = tmp_path / ("a" * (length - 5) + ".vars")
    assert_refused(ask("--out", out), "the name is too long", "a shorter name")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(ask, tmp_path, nothing_is_loaded):
    os.mkfifo(tmp_path / "pipe")
    assert_refused(ask("--out", tmp_path / "pipe", "--overwrite"), "is no plain file")


def test_a_cache_that_cannot_be_written_is_refused_before_loading(
    ask, cli, tmp_path, monkeypatch, nothing_is_loaded
):
    """As on a read-only disk, which needs mounting: its place is taken by a file."""
    home = tmp_path / "home"
    home.touch()
    monkeypatch.setenv("VAR_STUDIO_HOME", str(home))
    said = "Set the environment variable VAR_STUDIO_HOME to a folder that can be written."
    assert_refused(ask(), str(home), said)
    assert_refused(cli("demo", "--out", tmp_path / "tour"), str(home), said)
    assert list(tmp_path.iterdir()) == [home]


def test_a_demo_replaces_no_files_but_those_of_a_demo(cli, tmp_path, monkeypatch):
    from var_studio.models import loading

    reached = VarStudioError("Loading has begun.")

    def load(*_, **__):
        raise reached

    monkeypatch.setattr(loading, "load_model", load)
    mine = tmp_path / "map.csv"
    mine.write_text("precious", encoding="utf-8")
    assert_refused(cli("demo", "--out", tmp_path), "map.csv", "Choose another folder")
    assert mine.read_text(encoding="utf-8") == "precious"
    # Control: beside a demo's session it is a demo's figure; other names are nobody's business.
    (tmp_path / "demo.vars").touch()
    assert str(reached) in cli("demo", "--out", tmp_path).err
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.csv").touch()
    assert str(reached) in cli("demo", "--out", other).err


def test_a_model_on_disk_is_not_called_a_download(ask):
    outcome = ask("--max-new-tokens", 1)
    assert "Loading the model: files" in outcome.err
    assert "download" not in outcome.err


@pytest.mark.parametrize("kind", ["empty", "text", "cut"])
def test_a_picture_that_is_none_is_refused_before_the_model_is_loaded(ask, tmp_path, picture, kind):
    path = tmp_path / "bad.png"
    whole = picture.read_bytes()
    path.write_bytes({"empty": b"", "text": b"hello", "cut": whole[: len(whole) // 2]}[kind])
    outcome = ask("--image", path)
    assert_refused(outcome, "bad.png")
    assert "Loading" not in outcome.err


def test_an_odd_picture_is_taken(ask, tmp_path):
    path = tmp_path / "grey.tiff"
    Image.fromarray(np.arange(90 * 70, dtype=np.uint16).reshape(90, 70)).save(path)
    assert ask("--image", path, "--max-new-tokens", 1).code == 0


def interrupt_at(monkeypatch, number: int, times: int = 1) -> None:
    """Send this process Ctrl-C when the run's token of that number is announced."""
    from var_studio.cli import record as recording
    from var_studio.engine.events import TokenProduced

    teller = recording.teller
    count = 0

    def interrupting(*given):
        tell = teller(*given)

        def told(event):
            nonlocal count
            tell(event)
            count += isinstance(event, TokenProduced)
            if isinstance(event, TokenProduced) and count == number:
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)

        return told

    monkeypatch.setattr(recording, "teller", interrupting)


@pytest.mark.parametrize("options", [[], ["--var"]])
def test_ctrl_c_keeps_what_was_recorded_and_names_it(ask, tmp_path, monkeypatch, options):
    interrupt_at(monkeypatch, 3)
    outcome = ask(*options)
    out = tmp_path / "s.vars"
    assert outcome.code == 130
    assert outcome.err.splitlines()[-1] == (
        f"var-studio: Stopped; 3 tokens of baseline kept in {out}."
    )
    assert outcome.out.splitlines()[-1] == str(out)
    assert "Traceback" not in outcome.err
    with open_session(out) as session:
        (run,) = session.runs
        assert run.reason == "cancelled"
        assert len(run.generated_positions) == 3
        assert run.attention(0).sum() > 0
    assert kept_runs() == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_the_second_run_keeps_both(ask, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, 6)
    outcome = ask("--var", "--max-new-tokens", 4)
    assert outcome.code == 130
    assert "part at" not in outcome.out
    assert "in their first 2 tokens; then VAR was stopped." in outcome.out
    with open_session(tmp_path / "s.vars") as session:
        assert [(r.name, len(r.generated_positions)) for r in session.runs] == [
            ("baseline", 4),
            ("VAR", 2),
        ]


def test_a_cancelled_run_can_be_looked_at_and_drawn(ask, cli, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, 3)
    ask()
    out = tmp_path / "s.vars"
    assert cli("info", out).code == 0
    figure = ["export", out, "--figure", "map", "--out", tmp_path / "f.pdf", "--token"]
    assert cli(*figure, "g1").code == 0
    # The last token was never fed back into the model: it has no row.
    assert_refused(cli(*figure, "g2", "--overwrite"), "has no row")


def test_ctrl_c_before_the_model_is_loaded(ask, tmp_path, monkeypatch):
    from var_studio.cli import record as recording

    def interrupting(progress, event):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(recording, "tell_loading", interrupting)
    outcome = ask()
    assert outcome.code == 130
    assert "Stopped before anything was recorded." in outcome.err
    assert "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (VarStudioError("The device is full."), 2),
        (RuntimeError("CUDA error: an illegal memory access"), 1),
        (MemoryError(), 1),
        (OSError(5, "Input/output error"), 1),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_fails_in_the_second_run_the_baseline_is_saved(
    ask, tmp_path, monkeypatch, failure, code
):
    from var_studio.engine import generation

    genuine = generation.record

    def failing(*given, **named):
        if named["intervention"] is not None:
            raise failure
        return genuine(*given, **named)

    monkeypatch.setattr(generation, "record", failing)
    outcome = ask("--var", "--max-new-tokens", 2)
    out = tmp_path / "s.vars"
    assert outcome.code == code
    assert f"The baseline is kept in {out}." in outcome.err
    assert "Traceback" not in outcome.err and outcome.out == ""
    with open_session(out) as session:
        assert [(r.name, len(r.generated_positions)) for r in session.runs] == [("baseline", 2)]
    assert kept_runs() == []


def test_a_second_ctrl_c_stops_at_once(ask, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, 2, times=2)
    outcome = ask()
    assert outcome.code == 130
    assert "Traceback" not in outcome.err
    (kept,) = kept_runs()
    assert str(kept) in outcome.err


def test_a_recording_that_cannot_be_saved_is_kept_and_named(ask, monkeypatch):
    import os as system

    def full(*_):
        raise OSError(28, "No space left on device")

    from var_studio.recording import session as sessions

    with monkeypatch.context() as patch:
        patch.setattr(sessions.os, "fsync", full)
        assert sessions.os is system
        outcome = ask("--max-new-tokens", 2)
    assert outcome.code == 2 and "Traceback" not in outcome.err
    (kept,) = kept_runs()
    assert f"kept in {kept}." in outcome.err
    assert outcome.err.endswith("To save it elsewhere, open it: var-studio gui FOLDER\n")


@pytest.mark.slow
def test_demo_shows_the_whole_path(cli, tmp_path):
    folder = tmp_path / "out"
    outcome = cli("demo", "--out", folder)
    assert outcome.code == 0, outcome.err
    for name in ("demo.vars", "map.pdf", "map.png", "histogram.pdf", "heads.pdf", "heads.svg"):
        assert str(folder / name) in outcome.out
        assert (folder / name).stat().st_size > 1000
    assert "no evidence that VAR helps" in outcome.out
    with open_session(folder / "demo.vars") as session:
        assert len(session.runs) == 8
        assert {not run.interventions for run in session.runs} == {True, False}
    assert kept_runs() == []
    assert cli("demo", "--out", folder / "demo.vars").code == 2
    names = sorted(path.name for path in folder.iterdir())
    again = cli("demo", "--out", folder)
    assert again.code == 0 and again.out == outcome.out
    assert sorted(path.name for path in folder.iterdir()) == names


@dataclass
class Answer:
    """What `divergence` needs of a run."""

    tokens: tuple[Token, ...]
    reason: str | None
    name: str = "baseline"

    @property
    def finished(self) -> bool:
        return self.reason is not None


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        (("cat", "end"), ("cat", "end"), "Both answers are the same."),
        (("cat", "end"), ("car", "cancelled"), "The answers part at generated token g2."),
        (("cat", "end"), ("cats", "length"), "The answers part at generated token g3."),
        (("cats", "end"), ("cat", "cancelled"), "first 3 tokens; then VAR was stopped."),
        (("c", "length"), ("cat", "end"), "first 1 token; then baseline reached the limit of new"),
        (("cat", "end"), ("cat", "cancelled"), "first 3 tokens; then VAR was stopped."),
        (("cat", "length"), ("cat", "length"), "3 tokens; then both reached the limit of new"),
        (("cat", "end"), ("c", None), "first 1 token; then VAR was cut short."),
        (("cat", "end"), ("", "cancelled"), "nothing to compare: VAR was stopped before"),
    ],
)
def test_a_stopped_answer_is_not_called_a_divergence(left, right, said):
    def run(text, reason, name):
        tokens = tuple(Token(i, ord(c), c, "generated") for i, c in enumerate(text))
        return Answer(tokens, reason, name)

    assert said in divergence(run(*left, "baseline"), run(*right, "VAR"))


@pytest.mark.parametrize(
    ("options", "name", "interventions"),
    [
        (
            ["--knockout", "visual-sinks", "--tau", 2.5],
            "knockout",
            [{"kind": "knockout", "tau": 2.5}],
        ),
        (
            ["--positions", "0,40-42", "--first-layer", 1],
            "knockout",
            [
                {
                    "kind": "knockout",
                    "tokens": "chosen",
                    "positions": (0, 40, 41, 42),
                    "first_layer": 1,
                }
            ],
        ),
        (
            [
                "--knockout",
                "random-visual",
                "--intervention-seed",
                7,
                "--var",
                "--tau",
                2,
                "--rho",
                0.5,
            ],
            "knockout + VAR",
            [
                {"kind": "knockout", "tokens": "random-visual", "seed": 7, "tau": 2.0},
                {"tau": 2.0, "rho": 0.5},
            ],
        ),
        (
            ["--ablate-heads", "random", "--rho", 0.5, "--last-layer", 2],
            "head ablation",
            [{"kind": "head-ablation", "heads": "random", "rho": 0.5, "last_layer": 2}],
        ),
        (
            ["--region", "3,5", "--heads", "all", "--source", "text"],
            "VAR",
            [{"target": "region", "region": (3, 5), "heads": "all", "source": "text"}],
        ),
    ],
    ids=str,
)
def test_the_second_run_is_made_with_what_is_asked_for(ask, tmp_path, options, name, interventions):
    outcome = ask("--max-new-tokens", 1, *options)
    assert outcome.code == 0, outcome.err
    with open_session(tmp_path / "s.vars") as session:
        assert session.runs.names == ["baseline", name]
        assert session.runs[1].interventions == interventions_from(interventions)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--knockout", "eyes"], "--knockout"),
        (["--knockout", "chosen"], "--knockout chosen needs --positions."),
        (["--target", "region"], "--target region needs --region."),
        (["--first-layer", "2", "--last-layer", "1"], "before the first layer, 2"),
        (["--positions", "5-x"], "--positions is 5-x"),
        (["--positions", "9-5"], "range 9-5"),
        (["--knockout", "visual-sinks", "--positions", "3"], "goes with --knockout chosen alone"),
        (["--knockout", "visual-sinks", "--rho", "0.5"], "--rho belongs to nothing"),
        (["--intervention-seed", "3"], "--intervention-seed belongs to nothing"),
        (["--contrast", "-1"], "--contrast is -1"),
        (["--ablate-heads", "random", "--var"], "does not go with redistribution"),
        (["--ablate-heads", "random", "--intervention-seed", "-1"], "--intervention-seed is -1"),
        (["--no-var", "--source", "text"], "--no-var"),
    ],
)
def test_an_intervention_that_makes_no_sense_is_refused(ask, options, said):
    assert_refused(ask("--max-new-tokens", 1, *options), said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--region", "99999"], "visual token 99999"),
        (["--positions", "99999"], "position 99999"),
        (["--var", "--last-layer", "99"], "layer 99"),
    ],
)
def test_what_does_not_fit_the_question_is_refused_before_the_baseline(
    ask, tmp_path, options, said
):
    outcome = ask("--max-new-tokens", 1, *options)
    assert outcome.code == 2 and "Traceback" not in outcome.err
    assert said in outcome.err and "Recording" not in outcome.err
    assert list(tmp_path.iterdir()) == [] and kept_runs() == []


def test_both_knockouts_of_one_question_make_the_figure_of_both(ask, cli, tmp_path):
    knockouts = ["--knockout", "visual-sinks", "--knockout", "random-visual"]
    outcome = ask(*knockouts, "--pair", "--max-new-tokens", 3)
    assert outcome.code == 0, outcome.err
    out = tmp_path / "s.vars"
    with open_session(out) as session:
        baseline, *others = session.runs
        hidden = [run.interventions[0].tokens for run in others]
        assert hidden == ["visual-sinks", "visual-sinks", "random-visual", "random-visual"]
        assert [run.teacher for run in others] == [None, baseline.id] * 2
        names = session.runs.names
        assert names[1::2] == ["knockout, visual-sinks", "knockout, random-visual"]
        assert names[2::2] == [f"{name}, teacher-forced" for name in names[1::2]]
    said = outcome.out.splitlines()
    assert [line.partition(": ")[0] for line in said[:5]] == ["baseline", *names[1::2] * 2]
    assert sum(line.startswith("The answer of baseline under knockout, ") for line in said) == 2
    drawn = cli("export", out, "--figure", "knockout", "--with-data", "--out", tmp_path / "k.png")
    assert drawn.code == 0, drawn.err
    about = json.loads((tmp_path / "k.json").read_text(encoding="utf-8"))
    assert set(about["mean_change"]) == {"visual-sinks", "random-visual"}
