"""Questions about a scene, their answers, and the cells that a good answer has to look at."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from scenes import COLOURS, GRID, SHAPES, Scene, Shape

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
PLURALS = {shape: shape + ("es" if shape.endswith("s") else "s") for shape in SHAPES}
DIRECTIONS = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}
CAPTION_REQUESTS = ("Describe the image.", "Describe the picture.", "Write a caption.")
SMALL_TALK = (
    ("Hello!", "hello! ask me about the picture."),
    ("Thank you.", "you are welcome."),
    ("Who are you?", "i am a small demo model."),
    ("What can you do?", "i can answer questions about the picture."),
    ("Say yes.", "yes"),
    ("Say no.", "no"),
    *((f"Say {colour}.", colour) for colour in COLOURS),
    *((f"What comes after {NUMBERS[i]}?", NUMBERS[i + 1]) for i in range(7)),
)


@dataclass(frozen=True)
class Question:
    """A question, its one right answer, and the objects it is about.

    `reference` is the object the question names; `targets` are those the answer is about.
    Only the grounding loss of the training reads these two.
    """

    kind: str
    text: str
    answer: str
    reference: Shape | None = None
    targets: tuple[Shape, ...] = ()


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def with_article(thing: Shape) -> str:
    return f"{article(thing.colour)} {thing.name}"


def place(row: int, column: int) -> str:
    return f"row {NUMBERS[row + 1]}, column {NUMBERS[column + 1]}"


def unique_objects(scene: Scene) -> list[Shape]:
    """Objects that no other object of the scene shares both words with."""
    names = [thing.name for thing in scene.objects]
    return [thing for thing in scene.objects if names.count(thing.name) == 1]


def neighbour(scene: Scene, thing: Shape, direction: str) -> Shape | None:
    """The nearest object in the same row (left, right) or column (above, below), if any."""
    row_step, column_step = DIRECTIONS[direction]
    candidates = []
    for other in scene.objects:
        rows, columns = other.row - thing.row, other.column - thing.column
        aligned = columns == 0 if row_step else rows == 0
        distance = rows * row_step + columns * column_step
        if aligned and distance > 0:
            candidates.append((distance, other))
    return min(candidates)[1] if candidates else None


def ask_colour(scene: Scene, rng: random.Random) -> Question | None:
    shapes = [thing.shape for thing in scene.objects]
    single = [thing for thing in scene.objects if shapes.count(thing.shape) == 1]
    if not single:
        return None
    thing = rng.choice(single)
    return Question("colour", f"What colour is the {thing.shape}?", thing.colour, thing, (thing,))


def ask_shape(scene: Scene, rng: random.Random) -> Question | None:
    colours = [thing.colour for thing in scene.objects]
    single = [thing for thing in scene.objects if colours.count(thing.colour) == 1]
    if not single:
        return None
    thing = rng.choice(single)
    return Question(
        "shape", f"What shape is the {thing.colour} object?", thing.shape, thing, (thing,)
    )


def ask_count(scene: Scene, rng: random.Random) -> Question:
    form = rng.random()
    seen = rng.choice(scene.objects) if rng.random() < 0.75 else None
    if form < 0.45:
        shape = seen.shape if seen else rng.choice(SHAPES)
        counted = tuple(thing for thing in scene.objects if thing.shape == shape)
        text = f"How many {PLURALS[shape]} are there?"
    elif form < 0.8:
        colour = seen.colour if seen else rng.choice(list(COLOURS))
        counted = tuple(thing for thing in scene.objects if thing.colour == colour)
        text = f"How many {colour} objects are there?"
    else:
        counted, text = scene.objects, "How many objects are there?"
    return Question("count", text, NUMBERS[len(counted)], None, counted)


def ask_existence(scene: Scene, rng: random.Random) -> Question | None:
    """Half of them "yes"; a "no" mostly asks for words that do occur in the scene."""
    if rng.random() < 0.5:
        thing = rng.choice(scene.objects)
        found = tuple(other for other in scene.objects if other.name == thing.name)
        return Question("existence", f"Is there {with_article(thing)}?", "yes", None, found)
    present = {thing.name for thing in scene.objects}
    for _ in range(20):
        colour = _word(scene, "colour", tuple(COLOURS), rng)
        shape = _word(scene, "shape", SHAPES, rng)
        if f"{colour} {shape}" not in present:
            return Question("existence", f"Is there {article(colour)} {colour} {shape}?", "no")
    return None


def _word(scene: Scene, attribute: str, words: tuple[str, ...], rng: random.Random) -> str:
    if rng.random() < 0.6:
        return getattr(rng.choice(scene.objects), attribute)
    return rng.choice(words)


def ask_relation(scene: Scene, rng: random.Random) -> Question | None:
    """About one in four has the answer "nothing" where the scene allows both."""
    pairs = [
        (thing, direction, neighbour(scene, thing, direction))
        for thing in unique_objects(scene)
        for direction in DIRECTIONS
    ]
    found = [pair for pair in pairs if pair[2]]
    empty = [pair for pair in pairs if not pair[2]]
    if not pairs:
        return None
    pool = found if found and (rng.random() < 0.72 or not empty) else empty
    thing, direction, other = rng.choice(pool)
    text = f"What is {direction} the {thing.name}?"
    if other is None:
        return Question("relation", text, "nothing", thing)
    return Question("relation", text, with_article(other), thing, (other,))


def ask_where(scene: Scene, rng: random.Random) -> Question | None:
    single = unique_objects(scene)
    if not single:
        return None
    thing = rng.choice(single)
    answer = place(thing.row, thing.column)
    return Question("where", f"Where is the {thing.name}?", answer, thing, (thing,))


def ask_cell(scene: Scene, rng: random.Random) -> Question:
    row, column = rng.randrange(GRID), rng.randrange(GRID)
    if rng.random() < 0.7:
        thing = rng.choice(scene.objects)
        row, column = thing.row, thing.column
    text = f"What is in {place(row, column)}?"
    for thing in scene.objects:
        if (thing.row, thing.column) == (row, column):
            return Question("cell", text, with_article(thing), None, (thing,))
    return Question("cell", text, "nothing")


def ask_background(scene: Scene, rng: random.Random) -> Question:
    return Question("background", "What colour is the background?", scene.background)


def ask_caption(scene: Scene, rng: random.Random) -> Question:
    names = [with_article(thing) for thing in scene.objects]
    listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    ground = f"{article(scene.background)} {scene.background} background"
    return Question(
        "caption",
        rng.choice(CAPTION_REQUESTS),
        f"there is {listed} on {ground}.",
        targets=scene.objects,
    )


def ask_small_talk(scene: Scene, rng: random.Random) -> Question:
    text, answer = rng.choice(SMALL_TALK)
    return Question("small talk", text, answer)


ASK: dict[str, Callable[[Scene, random.Random], Question | None]] = {
    "colour": ask_colour,
    "shape": ask_shape,
    "count": ask_count,
    "existence": ask_existence,
    "relation": ask_relation,
    "where": ask_where,
    "cell": ask_cell,
    "background": ask_background,
    "caption": ask_caption,
    "small talk": ask_small_talk,
}
# Relations, counts and captions are the hard kinds, so they are asked most often in training.
TRAINING_MIX = {
    "colour": 8,
    "shape": 4,
    "count": 20,
    "existence": 11,
    "relation": 20,
    "where": 10,
    "cell": 10,
    "background": 3,
    "caption": 13,
    "small talk": 1,
}
VISUAL_KINDS = tuple(kind for kind in ASK if kind != "small talk")


def ask_mixed(scene: Scene, rng: random.Random) -> Question:
    """One question of the training mix that this scene allows."""
    while True:
        (kind,) = rng.choices(list(TRAINING_MIX), list(TRAINING_MIX.values()))
        question = ASK[kind](scene, rng)
        if question is not None:
            return question
