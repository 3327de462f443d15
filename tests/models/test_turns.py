"""Follow-up questions on the same image: what is asked, what is written down, whose turn it is."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import var_studio as vs
from tests.models.test_pairs import answer
from tests.models.tiny import QUESTION, noise
from var_studio.recording.tokens import Exchange

FOUR = vs.Generation(max_new_tokens=4)
NEXT = "what color is it?"


@pytest.fixture
def lmm(loaded: Any) -> Any:
    return loaded("gqa")


@pytest.fixture
def three(lmm: Any, tmp_path: Path) -> list[Any]:
    """A question, a follow-up, and a follow-up of that."""
    first = vs.record(lmm, noise(60, 60), QUESTION, generation=FOUR, directory=tmp_path / "first")
    second = vs.record(
        lmm, None, NEXT, history=first, generation=FOUR, directory=tmp_path / "second"
    )
    third = vs.record(
        lmm, None, "why?", history=second, generation=FOUR, directory=tmp_path / "third"
    )
    return [first, second, third]


def test_each_recording_knows_what_was_said(three: list[Any]) -> None:
    first, second, third = three
    assert first.exchanges == (Exchange(QUESTION, first.text),)
    assert second.exchanges == (*first.exchanges, Exchange(NEXT, second.text))
    assert third.exchanges == (*second.exchanges, Exchange("why?", third.text))
    assert [run.provenance["turn"] for run in three] == [0, 1, 2]
    assert second.image_entries == first.image_entries == third.image_entries


def test_tokens_know_their_turn(three: list[Any]) -> None:
    for turn, run in enumerate(three):
        turns = [token.turn for token in run.tokens]
        assert turns == sorted(turns) and set(turns) == set(range(turn + 1))
        assert {run.tokens[i].turn for i in run.generated_positions} == {turn}
        assert {run.tokens[i].turn for i in run.layout.positions} == {0}
        for k, (question, _) in enumerate((e.question, e.answer) for e in run.exchanges):
            said = "".join(t.text for t in run.tokens if t.turn == k and t.role == "prompt")
            assert question in said
    # The earlier answer is text of the prompt: every token of it is a query with a row.
    third = three[2]
    asked = [t.position for t in third.tokens if t.role == "prompt"]
    assert third.query_positions[: len(asked)].tolist() == asked


def test_a_follow_up_is_plain_generate_on_the_whole_chat(lmm: Any, three: list[Any]) -> None:
    """The chat is written out here by hand, in the format of the tiny checkpoint."""
    first, second, third = three
    text = "<s>A chat. USER: <image>\n" + QUESTION
    for run, question in ((first, NEXT), (second, "why?")):
        text += f" USER: {run.text} USER: {question}"
    text += " ASSISTANT:"
    inputs = lmm.processor(
        images=[noise(60, 60)], text=text, return_tensors="pt", add_special_tokens=False
    )
    with torch.inference_mode():
        ids = lmm.hf_model.generate(**inputs, max_new_tokens=4, do_sample=False)[0].tolist()
    assert [token.id for token in third.tokens] == ids


def test_a_list_of_exchanges_is_the_same_as_the_recording(
    lmm: Any, three: list[Any], tmp_path: Path
) -> None:
    first, second, _ = three
    again = vs.record(
        lmm, noise(60, 60), NEXT, history=[Exchange(QUESTION, first.text)], generation=FOUR,
        directory=tmp_path / "again",
    )  # fmt: skip
    assert again.tokens == second.tokens and again.exchanges == second.exchanges


def test_turns_outlive_a_session_file(lmm: Any, three: list[Any], tmp_path: Path) -> None:
    path = vs.save_session(tmp_path / "chat.vars", three)
    with vs.open_session(path) as session:
        opened = session.runs[1]
        assert opened.exchanges == three[1].exchanges and opened.tokens == three[1].tokens
        third = vs.record(
            lmm, None, "why?", history=opened, generation=FOUR, directory=tmp_path / "c"
        )
    assert third.tokens == three[2].tokens


def test_a_follow_up_does_not_encode_the_image_again(lmm: Any, tmp_path: Path) -> None:
    calls: list[int] = []
    lmm.encoded_images.clear()
    handle = lmm.hf_model.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    try:
        first = vs.record(lmm, noise(60, 60), QUESTION, generation=FOUR, directory=tmp_path / "a")
        vs.record(lmm, None, NEXT, history=first, generation=FOUR, directory=tmp_path / "b")
    finally:
        handle.remove()
    assert len(calls) == 1


def test_a_pair_of_a_follow_up(lmm: Any, three: list[Any], tmp_path: Path) -> None:
    pair = vs.record_pair(
        lmm, None, NEXT, history=three[0], generation=FOUR, baseline=three[1],
        intervention=vs.Redistribution(sink_dims=(5, 17), tau=1.6, rho=0.6),
        directory=tmp_path / "pair",
    )  # fmt: skip
    assert pair.forced is not None and answer(pair.forced) == answer(three[1])
    assert pair.forced.exchanges[:-1] == three[0].exchanges
    changes = [scored.change for scored in pair.compare().scores.tokens]
    assert np.abs(changes).max() > 1e-3


def test_no_answer_can_be_followed_up(lmm: Any, tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    silent = vs.record(lmm, noise(60, 60), QUESTION, directory=tmp_path / "silent", cancel=cancel)
    for history, words in [
        (silent, "holds no answer"),
        ("what is it?", "takes a recording or a list"),
        ([("what is it?", "a circle")], "takes a recording or a list"),
        ([Exchange("</s>", "a circle")], "special token"),
    ]:
        with pytest.raises(vs.VarStudioError, match=words):
            vs.record(lmm, noise(60, 60), NEXT, history=history, directory=tmp_path / "x")
        assert not (tmp_path / "x").exists()
