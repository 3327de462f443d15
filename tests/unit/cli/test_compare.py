"""`record --pair`, `record --follow-up` and `compare`, with the embedded model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.unit.cli.test_export_and_info import assert_refused
from var_studio import assets
from var_studio.recording.paths import kept_runs
from var_studio.recording.session import open_session

pytestmark = pytest.mark.torch

ASKED = ["--image", "PICTURE", "--prompt", "Describe the picture.", "--max-new-tokens", 4]


@pytest.fixture(scope="module")
def picture() -> Path:
    return assets.resource("samples", "scene-4.png")


@pytest.fixture(scope="module")
def pair(picture, tmp_path_factory) -> Path:
    """A session with a baseline, VAR and the forced run, hot enough for scores to change."""
    from var_studio.cli import main

    out = tmp_path_factory.mktemp("pair") / "pair.vars"
    words = [picture if word == "PICTURE" else word for word in ASKED]
    options = [*words, "--out", out, "--pair", "--heads", "all", "--p", 1, "--temperature", 5]
    assert main(["record", *map(str, options)]) == 0
    return out


def test_a_pair_is_three_runs(pair):
    with open_session(pair) as session:
        assert session.runs.names == ["baseline", "VAR", "VAR, teacher-forced"]
        baseline, free, forced = session.runs
        assert forced.teacher == baseline.id and free.teacher is None
        assert forced.interventions == free.interventions != ()
        assert forced.text == baseline.text
    assert kept_runs() == []


def test_record_says_what_the_pair_shows(cli, picture, tmp_path):
    out = tmp_path / "s.vars"
    words = [picture if word == "PICTURE" else word for word in ASKED]
    outcome = cli("record", *words, "--out", out, "--pair", "--p", 0)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["baseline", "VAR"]
    assert lines[-2] == (
        "The answer of baseline under VAR: log-probability +0.0000 in all, +0.0000 a token (nats)."
    )
    assert lines[-1] == str(out)


def test_compare_prints_every_token(cli, pair):
    outcome = cli("compare", pair)
    assert outcome.code == 0, outcome.err
    with open_session(pair) as session:
        baseline, free, forced = session.runs
        changes = [
            forced.tokens[i].logprob - baseline.tokens[i].logprob
            for i in baseline.generated_positions
        ]
        assert f"baseline: {baseline.text}" in outcome.out and f"VAR: {free.text}" in outcome.out
    assert max(map(abs, changes)) > 1e-3
    assert f"log-probability {sum(changes):+.4f} in all" in outcome.out
    rows = [line.split() for line in outcome.out.splitlines() if line.startswith("  g")]
    assert [row[0] for row in rows] == ["g0", "g1", "g2", "g3"]
    assert [float(row[3]) for row in rows] == pytest.approx(changes, abs=6e-5)


def test_compare_as_json(cli, pair):
    document = json.loads(cli("compare", pair, "--json").out)
    [found] = document["comparisons"]
    assert (found["name"], found["interventions"][0]["kind"]) == ("VAR", "redistribution")
    with open_session(pair) as session:
        baseline, free, forced = session.runs
        for number, position in enumerate(baseline.generated_positions):
            scored = found["forced"]["tokens"][number]
            before, after = baseline.tokens[position], forced.tokens[position]
            assert scored["id"] == before.id and scored["position"] == position
            assert scored["change"] == after.logprob - before.logprob
            for name, token in (("top_before", before), ("top_after", after)):
                expected = [[a.id, a.text, a.logprob] for a in token.top]
                assert [[a["id"], a["text"], a["logprob"]] for a in scored[name]] == expected
                assert len(expected) == 10
        assert found["free"]["text"] == free.text and document["baseline"]["id"] == baseline.id


def test_candidates_of_a_token(cli, pair):
    outcome = cli("compare", pair, "--token", "g1")
    with open_session(pair) as session:
        baseline, _, forced = session.runs
        position = int(baseline.generated_positions[1])
        before, after = baseline.tokens[position].top, forced.tokens[position].top
    lines = outcome.out.splitlines()
    assert lines[0].startswith("baseline, then VAR: ") and len(lines) == 11
    for line, a, b in zip(lines[1:], before, after, strict=True):
        assert f"{a.logprob:.4f}" in line and f"{b.logprob:.4f}" in line


@pytest.mark.parametrize("name", ["VAR", "VAR, teacher-forced", "1", "2"])
def test_one_run_brings_its_counterpart(cli, pair, name):
    document = json.loads(cli("compare", pair, "--run", name, "--json").out)
    [found] = document["comparisons"]
    assert {"free", "forced"} <= found.keys()


def test_bad_choices_are_refused(cli, pair, picture, tmp_path):
    assert_refused(cli("compare", tmp_path / "none.vars"), "none.vars")
    assert_refused(cli("compare", pair, "--run", "baseline"), "it is the same run")
    assert_refused(cli("compare", pair, "--token", "g9"), "no generated token g9")
    assert_refused(cli("compare", pair, "--token", "3"), "scores the token 3")
    assert_refused(cli("compare", pair, "--run", "nobody"), "nobody")
    words = [picture if word == "PICTURE" else word for word in ASKED]
    assert_refused(
        cli("record", *words, "--out", tmp_path / "x.vars", "--pair", "--no-var"),
        "--pair needs an intervention",
    )
    assert cli("record", *words, "--out", tmp_path / "one.vars").code == 0
    assert_refused(cli("compare", tmp_path / "one.vars"), "no other answer", "--pair")


def test_a_follow_up_goes_on_where_a_run_ended(cli, pair, tmp_path):
    odd = tmp_path / "a#b.vars"
    shutil.copy(pair, odd)
    for number, (place, run) in enumerate([(pair, 0), (f"{pair}#VAR", 1), (odd, 0)]):
        out = tmp_path / f"{number}.vars"
        outcome = cli(
            "record", "--follow-up", place, "--prompt", "Is it red?", "--out", out,
            "--max-new-tokens", 2,
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        with open_session(pair) as before, open_session(out) as after:
            asked, new = before.runs[run], after.runs[0]
            assert new.exchanges[:-1] == asked.exchanges
            assert new.image_entries == asked.image_entries
            assert {t.turn for t in new.tokens if t.role == "generated"} == {1}
            assert new.provenance["checkpoint"] == asked.provenance["checkpoint"]
        said = cli("info", out).out
        assert "before    Describe the picture." in said and "question  Is it red?" in said


def test_a_follow_up_that_cannot_be(cli, pair, picture, tmp_path):
    out = ["--prompt", "Is it red?", "--out", tmp_path / "x.vars"]
    assert_refused(cli("record", *out), "There is no picture", "--follow-up")
    assert_refused(cli("record", *out, "--follow-up", pair, "--image", picture), "Leave out")
    assert_refused(cli("record", *out, "--follow-up", f"{pair}#nobody"), "nobody")
    assert_refused(cli("record", *out, "--follow-up", tmp_path / "no.vars"), "no.vars")


def test_several_pictures(cli, picture, tmp_path):
    out = tmp_path / "two.vars"
    outcome = cli(
        "record", "--image", picture, "--image", assets.resource("samples", "scene-5.png"),
        "--prompt", "What differs?", "--out", out, "--max-new-tokens", 2,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    with open_session(out) as session:
        assert [e.name for e in session.runs[0].image_entries] == ["scene-4.png", "scene-5.png"]


def test_what_did_nothing_is_said(cli, picture, pair, tmp_path, monkeypatch):
    """In a model in which no sink dimension was found."""
    from var_studio.models import loading

    genuine = loading.load_model

    def load_model(*given, **named):
        lmm = genuine(*given, **named)
        lmm.sink_dims = ()
        return lmm

    monkeypatch.setattr(loading, "load_model", load_model)
    out = tmp_path / "s.vars"
    words = [picture if word == "PICTURE" else word for word in ASKED]
    said = "so that no token is a sink: redistribution changed nothing."
    for command in (["record", *words, "--out", out, "--var"], ["info", out], ["compare", out]):
        outcome = cli(*command)
        assert outcome.code == 0 and outcome.out.count(said) == 1
    (compared,) = json.loads(cli("compare", out, "--json").out)["comparisons"]
    assert compared["without_effect"].endswith(said)
    # Control: with sinks nothing is said.
    assert "no token is a sink" not in cli("info", pair).out + cli("compare", pair).out


def test_two_runs_are_drawn_as_one_figure(cli, pair, tmp_path):
    ask = ["export", pair, "--token", "g0", "--with-data"]
    both = ["--run", "baseline", "--compare-with", "VAR"]
    outcome = cli(*ask, "--figure", "map", *both, "--out", tmp_path / "two.svg")
    assert outcome.code == 0, outcome.err
    assert cli(*ask, "--figure", "map", "--out", tmp_path / "one.svg").code == 0
    assert cli("export", pair, "--figure", "answers", "--out", tmp_path / "words.svg").code == 0
    drawn = {p.stem: p.read_text(encoding="utf-8") for p in tmp_path.glob("*.svg")}
    assert "Global (two runs): baseline run “baseline”, second run “VAR”" in drawn["two"]
    assert "Local (live): " in drawn["one"] and "Global (" not in drawn["one"]
    with open_session(pair) as session:
        words = session.runs[0].text.split()
    assert words and all(f">{word}</text>" in drawn["words"] for word in words)
    settings = json.loads((tmp_path / "two.json").read_text(encoding="utf-8"))
    assert settings["comparison"] == "global (two runs)" and settings["run"] == "VAR"


def test_runs_that_do_not_match_are_not_drawn_together(cli, session, pair, tmp_path):
    for figure in ("map", "answers"):
        ask = ["export", session, "--figure", figure, "--out", tmp_path / "x.svg"]
        outcome = cli(*ask, "--run", "baseline", "--compare-with", "VAR")
        assert_refused(outcome, "cannot be compared", "different pictures")
    assert_refused(cli("compare", session, "--run", "VAR"), "different pictures")
    ask = ["export", pair, "--figure", "heads", "--compare-with", "VAR"]
    assert_refused(cli(*ask, "--out", tmp_path / "x.svg"), "--compare-with", "heads")
    assert list(tmp_path.iterdir()) == []
