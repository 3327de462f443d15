"""Pairs of runs: teacher-forced log-probabilities against an independent loop, and their proofs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import var_studio as vs
from tests.models.against_slow_loop import slow_logits, slow_method
from tests.models.test_redistribution import DEMO, TINY
from tests.models.tiny import QUESTION, noise
from var_studio.engine.events import TokenProduced
from var_studio.engine.pairs import Pair, record_pair

SIX = vs.Generation(max_new_tokens=6)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def answer(run: Any) -> list[int]:
    return [run.tokens[i].id for i in run.generated_positions]


@pytest.mark.parametrize(
    ("model", "fields"),
    [("gqa", {**TINY, "p": 1.0}), ("crop", {**TINY, "target": "text"}), ("demo", DEMO)],
)
def test_forced_log_probabilities_agree_with_one_plain_pass(
    loaded: Any, tmp_path: Path, model: str, fields: dict[str, Any]
) -> None:
    """One pass over the baseline's whole sequence, under the slow loop's own redistribution."""
    lmm, image = loaded(model), noise(90, 70, seed=2)
    settings = vs.Redistribution(**fields)
    pair = record_pair(
        lmm, image, QUESTION, intervention=settings, generation=SIX, directory=tmp_path
    )
    baseline, forced = pair.baseline, pair.forced
    assert forced is not None and answer(forced) == answer(baseline)

    method = slow_method(lmm, forced)
    changed = slow_logits(lmm, baseline, image, method)
    assert method.rows_changed > 0
    plain = slow_logits(lmm, baseline, image, None)

    scores = pair.compare().scores
    assert scores is not None and len(scores.tokens) == len(answer(baseline))
    before, after = log_softmax(plain), log_softmax(changed)
    tolerance = 1e-5
    for step, scored in enumerate(scores.tokens):
        chosen = scored.token.id
        assert scored.logprob_before == pytest.approx(before[step, chosen], abs=tolerance)
        assert scored.logprob_after == pytest.approx(after[step, chosen], abs=tolerance)
        for top, expected in ((scored.top_before, before), (scored.top_after, after)):
            assert len(top) == 10
            likeliest = np.sort(expected[step])[::-1][:10]
            np.testing.assert_allclose([a.logprob for a in top], likeliest, atol=tolerance)
            for a in top:
                assert a.logprob == pytest.approx(expected[step, a.id], abs=tolerance)
        assert scored.still_first == (int(after[step].argmax()) == chosen)
    # Negative control: the two passes differ by far more than the tolerance.
    assert max(abs(scored.change) for scored in scores.tokens) > 100 * tolerance


@pytest.mark.parametrize("model", ["gqa", "mistral", "demo"])
def test_what_moves_nothing_changes_no_score(loaded: Any, tmp_path: Path, model: str) -> None:
    lmm = loaded(model)
    nothing = vs.Redistribution(p=0.0, **({} if model == "demo" else {"sink_dims": (5,)}))
    pair = record_pair(
        lmm, noise(60, 60), QUESTION, intervention=nothing, generation=SIX, directory=tmp_path
    )
    found = pair.compare()
    assert found.identical and found.scores is not None
    assert [scored.change for scored in found.scores.tokens] == [0.0] * found.n_baseline
    assert all(scored.top_before == scored.top_after for scored in found.scores.tokens)
    assert found.scores.first_departure is None and found.scores.total_change == 0.0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rows_that_stay_change_no_score_in_half_precision(
    checkpoint: Any, tmp_path: Path, dtype: str
) -> None:
    """Redistribution is at work in every layer and step, but no token reaches its threshold."""
    lmm = vs.load_model(checkpoint("gqa"), dtype=dtype)
    settings = vs.Redistribution(sink_dims=(5, 17), tau=1000.0, rho=0.0, mass_min=0.0)
    pair = record_pair(
        lmm, noise(60, 60), QUESTION, intervention=settings, generation=SIX, directory=tmp_path
    )
    scores = pair.compare().scores
    assert scores is not None and [s.change for s in scores.tokens] == [0.0] * len(scores.tokens)
    assert len(scores.tokens) > 0
    lmm.release()


def test_a_forced_run_says_so_and_records_as_any_other(loaded: Any, tmp_path: Path) -> None:
    lmm, image = loaded("gqa"), noise(60, 60)
    events: list[Any] = []
    teacher = vs.record(lmm, image, QUESTION, generation=SIX, directory=tmp_path / "a")
    forced = vs.record(
        lmm, image, QUESTION, teacher=teacher, directory=tmp_path / "b", on_event=events.append
    )
    assert forced.teacher == teacher.id == forced.provenance["teacher"]
    assert teacher.teacher is None and teacher.provenance["teacher"] is None
    assert forced.name == "baseline, teacher-forced"
    # Without an intervention it is the teacher once more, in every number.
    assert forced.tokens == teacher.tokens and forced.reason == teacher.reason
    assert forced.generation == teacher.generation
    for query in range(len(teacher.query_positions)):
        np.testing.assert_array_equal(forced.attention(query), teacher.attention(query))
    produced = [e.token for e in events if isinstance(e, TokenProduced)]
    assert produced == [t for t in teacher.tokens if t.role == "generated"]
    saved = vs.save_session(tmp_path / "s.vars", [teacher, forced])
    with vs.open_session(saved) as session:
        assert session.runs[1].teacher == session.runs[0].id


def test_the_answer_is_given_whatever_the_model_would_say(loaded: Any, tmp_path: Path) -> None:
    """A sampled answer, which the greedy model would not give."""
    lmm, image = loaded("gqa"), noise(60, 60)
    hot = vs.Generation(max_new_tokens=6, temperature=3.0, seed=4)
    teacher = vs.record(lmm, image, QUESTION, generation=hot, directory=tmp_path / "a")
    greedy = vs.record(lmm, image, QUESTION, generation=SIX, directory=tmp_path / "b")
    assert answer(teacher) != answer(greedy)
    forced = vs.record(lmm, image, QUESTION, teacher=teacher, directory=tmp_path / "c")
    assert forced.tokens == teacher.tokens


def test_a_cut_off_teacher_is_scored_as_far_as_it_goes(loaded: Any, tmp_path: Path) -> None:
    lmm, image, cancel = loaded("gqa"), noise(60, 60), threading.Event()
    count: list[Any] = []

    def stop(event: Any) -> None:
        if isinstance(event, TokenProduced):
            count.append(event)
            if len(count) == 2:
                cancel.set()

    teacher = vs.record(
        lmm, image, QUESTION, generation=SIX, directory=tmp_path / "a", on_event=stop, cancel=cancel
    )
    forced = vs.record(lmm, image, QUESTION, teacher=teacher, directory=tmp_path / "b")
    assert answer(forced) == answer(teacher) and len(answer(forced)) == 2
    assert forced.reason == "length"


def test_only_an_answer_to_the_same_question_is_forced(loaded: Any, tmp_path: Path) -> None:
    lmm, image = loaded("gqa"), noise(60, 60)
    teacher = vs.record(lmm, image, QUESTION, generation=SIX, directory=tmp_path / "a")
    cancelled = threading.Event()
    cancelled.set()
    silent = vs.record(lmm, image, QUESTION, directory=tmp_path / "b", cancel=cancelled)
    for asked, bad, words in [
        ((image, "what else?"), teacher, "another prompt"),
        ((noise(60, 60, seed=9), QUESTION), teacher, "another image"),
        ((image, QUESTION), silent, "no generated token"),
        ((image, QUESTION), "baseline", "takes a recording"),
    ]:
        with pytest.raises(vs.VarStudioError, match=words):
            vs.record(lmm, *asked, teacher=bad, directory=tmp_path / "c")
        assert not (tmp_path / "c").exists()


def test_a_pair_stopped_early_keeps_what_there_is(loaded: Any, tmp_path: Path) -> None:
    lmm, cancel = loaded("gqa"), threading.Event()

    def stop(event: Any) -> None:
        if isinstance(event, TokenProduced):
            cancel.set()

    pair = record_pair(
        lmm, noise(60, 60), QUESTION, intervention=vs.Redistribution(**TINY),
        generation=SIX, directory=tmp_path, on_event=stop, cancel=cancel,
    )  # fmt: skip
    assert pair.free is None and pair.runs == (pair.baseline,)
    with pytest.raises(vs.VarStudioError, match="stopped after its baseline"):
        pair.compare()


def test_a_pair_takes_a_baseline_that_is_there(loaded: Any, tmp_path: Path) -> None:
    lmm, image = loaded("gqa"), noise(60, 60)
    baseline = vs.record(lmm, image, QUESTION, generation=SIX, directory=tmp_path / "a")
    pair = record_pair(
        lmm, image, QUESTION, intervention=vs.Redistribution(**TINY), baseline=baseline,
        name="moved", directory=tmp_path / "pair",
    )  # fmt: skip
    assert isinstance(pair, Pair) and pair.baseline is baseline
    assert [run.name for run in pair.runs] == ["baseline", "moved", "moved, teacher-forced"]
    assert pair.free is not None and pair.free.generation == SIX


def test_a_position_beyond_the_end_of_an_answer_has_no_effect(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token of the answer may be knocked out that a shorter answer, or a forced one, lacks."""
    lmm, image = loaded("gqa"), noise(60, 60)
    first = vs.record(lmm, image, QUESTION, generation=SIX, directory=tmp_path / "first")
    # The answer ends at its third token; the limit is six.
    ends = first.tokens[first.prompt_length + 2].id
    monkeypatch.setattr(lmm.hf_model.generation_config, "eos_token_id", ends)
    within, beyond = first.prompt_length, first.prompt_length + 5
    pair = record_pair(
        lmm, image, QUESTION, generation=SIX, directory=tmp_path / "pair",
        intervention=vs.Knockout(tokens="chosen", positions=(within, beyond)),
    )  # fmt: skip
    assert len(answer(pair.baseline)) <= 3 and pair.forced is not None
    assert beyond >= pair.forced.length
    alone = vs.record(
        lmm, image, QUESTION, teacher=pair.baseline, directory=tmp_path / "alone",
        intervention=vs.Knockout(tokens="chosen", positions=(within,)),
    )  # fmt: skip
    assert alone.tokens == pair.forced.tokens
    last = len(alone.query_positions) - 1
    row = pair.forced.intervened(last)
    np.testing.assert_array_equal(row, alone.intervened(last))
    assert (row[..., within] == 0).all() and (pair.forced.attention(last)[..., within] > 0).any()


@pytest.mark.parametrize(
    "settings",
    [
        vs.Knockout(tokens="chosen", positions=(5000,)),
        vs.Redistribution(sink_dims=(5,), target="region", region=(5000,)),
    ],
    ids=["position", "region"],
)
def test_a_token_that_there_is_not_is_refused_before_the_baseline(
    loaded: Any, tmp_path: Path, settings: Any
) -> None:
    with pytest.raises(vs.VarStudioError, match="5000"):
        record_pair(
            loaded("gqa"), noise(60, 60), QUESTION, intervention=settings, generation=SIX,
            directory=tmp_path / "x",
        )  # fmt: skip
    assert not (tmp_path / "x").exists()


def test_a_pair_without_an_intervention_is_refused(loaded: Any, tmp_path: Path) -> None:
    with pytest.raises(vs.VarStudioError, match="needs an intervention"):
        record_pair(
            loaded("gqa"), noise(60, 60), QUESTION, intervention=(), directory=tmp_path / "x"
        )
    assert not (tmp_path / "x").exists()
