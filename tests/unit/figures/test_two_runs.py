"""Figures of two runs: a global map against plain loops, and answers word under word."""

from __future__ import annotations

import csv
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import synthetic
from tests.answers import PART, answered
from tests.synthetic import make_run
from var_studio.analysis.compare import compare
from var_studio.analysis.matching import mismatch
from var_studio.analysis.words import laid_out_words, words
from var_studio.figures.draw_words import WordsPanel
from var_studio.figures.export import export_figure
from var_studio.figures.map_rows import NoCounterpartError
from var_studio.figures.render import FigureError
from var_studio.figures.two_answers import MismatchError, build_answers
from var_studio.recording.recording import Recording
from var_studio.recording.tokens import Token

SHAPE = {"layers": 4, "heads": 3, "rows": 4, "cols": 5, "image_size": (100, 80)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory):
    """The models of the three runs look elsewhere: no row of one is a row of another."""
    plain, seeds = synthetic._Attention, itertools.count(50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            synthetic,
            "_Attention",
            lambda _, *rest: plain(np.random.default_rng(next(seeds)), *rest),
        )
        yield answered(tmp_path_factory.mktemp("two"), patch, **SHAPE)


def exported(tmp_path: Path, figure: str, run: Recording, **choice):
    export_figure(run, figure, tmp_path / "f.svg", with_data=True, **choice)
    arrays = dict(np.load(tmp_path / "f.npz"))
    with open(tmp_path / "f.csv", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    settings = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    return (tmp_path / "f.svg").read_text(encoding="utf-8"), arrays, table, settings


def test_a_global_map_holds_the_rows_of_both_runs(runs, tmp_path):
    baseline, second, _ = runs
    drawn, arrays, table, settings = exported(
        tmp_path, "map", baseline, compare_with=second, layer=2
    )
    at = int(baseline.generated_positions[0])
    k = baseline.layout.positions
    plain = baseline.attention(baseline.query_of(at))
    used = second.redistributed(second.query_of(at), second.interventions[0])
    before = [float(np.mean([plain[2, h, i] for h in range(3)])) for i in k]
    after = [float(np.mean([used[2, h, i] for h in range(3)])) for i in k]
    np.testing.assert_allclose(arrays["before"], before, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(arrays["after"], after, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(
        arrays["difference"], np.subtract(after, before), rtol=1e-3, atol=1e-7
    )
    # Not the local map: the baseline's own row, redistributed.
    local = exported(tmp_path, "map", baseline, layer=2)
    assert np.abs(local[1]["after"] - arrays["after"]).max() > 1e-3
    # Named in the picture, the numbers and the settings, either way.
    for found, kind in (((drawn, arrays, table, settings), "Global"), (local, "Local")):
        words = {"Global": "global (two runs)", "Local": "local (live)"}[kind]
        other = {"Global": "local", "Local": "global"}[kind]
        assert f"{kind} (" in found[0] and f"{other.capitalize()} (" not in found[0]
        assert found[3]["comparison"] == str(found[1]["comparison"]) == words
        assert {line["comparison"] for line in found[2]} == {words}
    assert "“baseline”" in drawn and "“VAR”" in drawn
    assert np.abs(local[1]["before"] - arrays["before"]).max() == 0.0
    assert settings["run_id"] == second.id and settings["before"]["run_id"] == baseline.id
    assert float(table[3]["after"]) == pytest.approx(after[3], rel=1e-4)


def test_a_global_map_is_the_same_from_either_run_and_has_one_scale(runs, tmp_path):
    from var_studio.analysis.choice import read
    from var_studio.figures.build import build_map
    from var_studio.figures.map_rows import across_runs

    baseline, second, _ = runs
    here = build_map(read(baseline), across=across_runs(read(baseline), baseline, second))
    there = build_map(read(second), across=across_runs(read(second), baseline, second))
    for name in ("before", "after", "difference"):
        np.testing.assert_allclose(here.arrays[name], there.arrays[name], rtol=1e-5, atol=1e-9)
    _, before, after, difference = here.rows[0]
    assert before.scale == after.scale
    assert difference.scale.limits.low == -difference.scale.limits.high


def test_words_past_the_divergence_are_matched_or_refused(runs, tmp_path):
    baseline, second, _ = runs
    words = [baseline.tokens[int(p)].text.strip() for p in baseline.generated_positions]
    later = int(baseline.generated_positions[words.index("of")])
    *_, settings = exported(tmp_path, "map", baseline, compare_with=second, token=later)
    assert settings["past_divergence"]
    # Two words later in the second answer, not the word at the same position.
    assert settings["token"]["position"] == later + 2
    assert settings["token"]["text"] == settings["before"]["token"]["text"] == " of"
    alone = int(baseline.generated_positions[words.index("cup")])
    with pytest.raises(NoCounterpartError, match="the two answers differ there"):
        export_figure(baseline, "map", tmp_path / "x.svg", compare_with=second, token=alone)


def _with(run: Recording, monkeypatch: pytest.MonkeyPatch, **changed: object) -> None:
    patched = {**run.provenance, **changed}
    original = Recording.provenance.fget
    monkeypatch.setattr(
        Recording, "provenance", property(lambda r: patched if r is run else original(r))
    )


def test_runs_of_another_picture_question_or_model_are_not_compared(runs, tmp_path, monkeypatch):
    baseline, second, forced = runs
    assert mismatch(baseline, second) == mismatch(baseline, forced) == ""
    picture = make_run(tmp_path / "p", **SHAPE, seed=9, precision="float32")
    assert "different pictures" in mismatch(baseline, picture)
    larger = make_run(tmp_path / "l", **{**SHAPE, "layers": 5}, precision="float32")
    assert "different models" in mismatch(baseline, larger)
    shorter = make_run(tmp_path / "q", **SHAPE, queries=8, precision="float32")
    assert "different questions" in mismatch(baseline, shorter)
    with pytest.raises(MismatchError, match="different questions"):
        export_figure(baseline, "answers", tmp_path / "x.svg", compare_with=shorter)
    with pytest.raises(MismatchError, match="same run"):
        export_figure(baseline, "answers", tmp_path / "x.svg", compare_with=baseline)
    _with(second, monkeypatch, fingerprint="another", model="tiny-b")
    with pytest.raises(MismatchError, match="different models"):
        export_figure(baseline, "map", tmp_path / "x.svg", compare_with=second)
    assert not list(tmp_path.glob("x.*"))


def test_a_picture_cut_otherwise_is_no_match(runs, monkeypatch):
    baseline, second, _ = runs
    moved = replace(second.layout, boxes=second.layout.boxes + 3.0)
    original = Recording.layout.fget
    monkeypatch.setattr(
        Recording, "layout", property(lambda r: moved if r is second else original(r))
    )
    assert "cut into cells" in mismatch(baseline, second)


def test_only_a_baseline_and_a_changed_run_make_a_global_map(runs, tmp_path):
    _, second, forced = runs
    with pytest.raises(FigureError, match="both were made with interventions"):
        export_figure(second, "map", tmp_path / "x.svg", compare_with=forced)
    with pytest.raises(FigureError, match="shows one run"):
        export_figure(second, "heads", tmp_path / "x.svg", compare_with=forced)
    with pytest.raises(FigureError, match="One run has one answer"):
        export_figure(second, "answers", tmp_path / "x.svg")


def test_answers_stand_word_under_word_as_live_text(runs, tmp_path):
    baseline, second, forced = runs
    drawn, _, table, settings = exported(
        tmp_path, "answers", second, compare_with=baseline, forced=forced
    )
    panel = build_answers(baseline, second).rows[0][0]
    assert isinstance(panel, WordsPanel)
    first = [pair.first for pair in panel.columns if pair.first is not None]
    other = [pair.second for pair in panel.columns if pair.second is not None]
    assert " ".join(first) == " ".join(baseline.text.split())
    assert " ".join(other) == " ".join(second.text.split())
    assert [i for i, pair in enumerate(panel.columns) if pair.parts] == [PART]
    assert all(pair.differs == (pair.first != pair.second) for pair in panel.columns)
    said = re.findall(r">([^<>]+)</text>", drawn)
    assert "mug" in said and "cup" in said and "Global (two runs)" in drawn
    assert settings["before"]["run"] == "baseline" and settings["comparison"] == "global (two runs)"
    assert [line["before"] for line in table if line["before"]] == first
    # Each word of the first answer, scored by the forced run; words here are single tokens.
    for line in table:
        if line["before"]:
            index = int(line["position_before"])
            change = forced.tokens[index].logprob - baseline.tokens[index].logprob
            assert float(line["logprob_change"]) == pytest.approx(change, abs=1e-6)


def _answer(*texts: str, reason: str = "end") -> object:
    tokens = tuple(Token(i, hash(t) % 9999, t, "generated") for i, t in enumerate(texts))

    class Answer:
        finished = True

        def __init__(self) -> None:
            self.tokens, self.reason = tokens, reason

    return Answer()


def _laid(one: object, other: object) -> tuple[list[tuple[str, str]], int | None]:
    columns, parts = laid_out_words(one.tokens, other.tokens, compare(one, other))
    pairs = [
        (c.first.text if c.first else "–", c.second.text if c.second else "–") for c in columns
    ]
    return pairs, parts


def test_tokens_make_words():
    tokens = _answer(" un", "usual", " cup", ".", "\n", "It", " is", "看", "见").tokens
    assert [w.text for w in words(tokens)] == ["unusual", "cup.", "⏎", "It", "is", "看", "见"]


def test_a_word_differs_as_a_whole_though_its_first_token_is_the_same():
    pairs, parts = _laid(
        _answer(" a", " un", "usual", " cup"), _answer(" a", " un", "clear", " cup")
    )
    assert pairs == [("a", "a"), ("unusual", "unclear"), ("cup", "cup")] and parts == 1


def test_an_answer_cut_within_a_word_is_no_difference():
    pairs, parts = _laid(
        _answer(" a", " un", "usual", " cup"), _answer(" a", " un", reason="cancelled")
    )
    assert parts is None and pairs[1] == ("unusual", "un")


def test_the_same_words_in_other_tokens_do_not_part():
    pairs, parts = _laid(_answer(" a", " cup"), _answer(" a", " c", "up"))
    assert pairs == [("a", "a"), ("cup", "cup")] and parts is None


def test_answers_that_differ_from_the_first_word_on():
    pairs, parts = _laid(_answer(" yes"), _answer(" no", " it", " is"))
    assert parts == 0 and pairs == [("yes", "no"), ("–", "it"), ("–", "is")]
