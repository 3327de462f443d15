"""Words, token ids, and how questions are laid out in one training sequence.

One picture carries many questions. In the *packed* layout every question sees the picture and
itself only, and its positions start right after the picture, exactly as if it were asked alone;
in the *dialogue* layout the questions follow each other as the turns of one conversation.
"""

from __future__ import annotations

import functools
import random
import re
from dataclasses import dataclass

import numpy as np
from questions import Question, ask_mixed
from scenes import GRID, VISUAL_TOKENS, Scene

SYSTEM = "A chat about a picture."
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
PAD, BOS, EOS, UNKNOWN, IMAGE = range(5)
# The order is part of every checkpoint: append only.
WORDS = """
    . , : ? ! USER ASSISTANT a chat about picture
    red green blue yellow purple orange
    circle square triangle star cross circles squares triangles stars crosses
    white gray black beige
    zero one two three four five six seven eight
    hello ask me the thank you are welcome who i am small demo model what can do
    answer questions say yes no comes after an there is on in of and background
    row column nothing object objects image right above how many colour shape below
    describe write caption where left it this that color grey which see show
    please question not only big
"""
VOCABULARY = (*SPECIAL, "\n", *WORDS.split())
VOCABULARY_SIZE = 112  # rounded up to a multiple of 16
WORD_PATTERN = r"\n|[a-zA-Z]+|\d|[^\sa-zA-Z\d]"
_IDS = {word: index for index, word in enumerate(VOCABULARY)}
_PATTERN = re.compile(WORD_PATTERN)


@functools.lru_cache(maxsize=200_000)
def encode(text: str) -> tuple[int, ...]:
    """Token ids of a text: lower-case words, single digits and punctuation marks."""
    words = _PATTERN.findall(text)
    return tuple(_IDS.get(w if w in ("USER", "ASSISTANT") else w.lower(), UNKNOWN) for w in words)


PREFIX = (BOS, *encode(SYSTEM), *encode("USER:"))
IMAGE_START = len(PREFIX)
NEWLINE_POSITION = IMAGE_START + VISUAL_TOKENS
HEAD = (*PREFIX, *[IMAGE] * VISUAL_TOKENS, *encode("\n"))


@dataclass
class Sequence:
    """One training sequence of `length` tokens, padded.

    ids, positions, block: (T,) int64; block 0 is the picture part, k >= 1 the k-th question
    (all of a dialogue is block 1), -1 padding. answer: (T,) bool, True on answer tokens.
    reference, target: (T, GRID * GRID) bool, the cells a token should look up.
    """

    ids: np.ndarray
    positions: np.ndarray
    block: np.ndarray
    answer: np.ndarray
    reference: np.ndarray
    target: np.ndarray


def lay_out(questions: list[Question], length: int, *, packed: bool) -> Sequence:
    """Put as many of the questions after the picture as fit; the rest are dropped."""
    made = _empty_sequence(length)
    cursor, position = len(HEAD), len(HEAD)
    made.ids[:cursor] = HEAD
    made.positions[:cursor] = np.arange(cursor)
    made.block[:cursor] = 0
    for number, question in enumerate(questions):
        turn = encode("USER:") if number and not packed else ()
        asked = (*turn, *encode(question.text), *encode("ASSISTANT:"))
        said = (*encode(question.answer), EOS)
        end = cursor + len(asked) + len(said)
        if end > length:
            break
        start = len(HEAD) if packed else position
        made.ids[cursor:end] = asked + said
        made.positions[cursor:end] = np.arange(start, start + end - cursor)
        made.block[cursor:end] = number + 1 if packed else 1
        made.answer[cursor + len(asked) : end] = True
        _mark_cells(made, question, cursor + len(asked), end)
        position, cursor = start + end - cursor, end
    return made


def _empty_sequence(length: int) -> Sequence:
    return Sequence(
        ids=np.full(length, PAD, np.int64),
        positions=np.zeros(length, np.int64),
        block=np.full(length, -1, np.int64),
        answer=np.zeros(length, bool),
        reference=np.zeros((length, GRID * GRID), bool),
        target=np.zeros((length, GRID * GRID), bool),
    )


def _mark_cells(made: Sequence, question: Question, answer_start: int, end: int) -> None:
    """The last word of the question up to the colon looks up the object that is asked about;

    the colon and the answer look up the objects that the answer is about.
    """
    if question.reference is not None:
        made.reference[answer_start - 4 : answer_start, question.reference.cell] = True
    if question.kind == "caption":  # "there is a red circle, ...": three words and a separator
        for number, thing in enumerate(question.targets):
            start = answer_start + 1 + 4 * number
            made.target[start : start + 3, thing.cell] = True
        return
    for thing in question.targets:
        made.target[answer_start - 1 : end - 2, thing.cell] = True


def random_sequence(scene: Scene, rng: random.Random, length: int, dialogues: float) -> Sequence:
    """A sequence of the training mix; a share `dialogues` of them are conversations."""
    packed = rng.random() >= dialogues
    shortest = 8
    limit = (length - len(HEAD)) // shortest
    return lay_out([ask_mixed(scene, rng) for _ in range(limit)], length, packed=packed)


def single_question(question: Question) -> tuple[list[int], slice]:
    """Token ids of one question with its answer, and where the answer (with </s>) lies."""
    asked = [*HEAD, *encode(question.text), *encode("ASSISTANT:")]
    said = [*encode(question.answer), EOS]
    return asked + said, slice(len(asked), len(asked) + len(said))
