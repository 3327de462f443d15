"""Draw the sample pictures and choose questions that the checkpoint answers correctly.

    python packaging/demo-model/samples.py resources/demo-model resources/samples

The choice makes the samples a friendly selection: they show what the model can do, and say
nothing about how often it is right. That is measured by `measure.py` on questions not chosen.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from questions import ASK, Question
from scenes import Scene, random_scene, render

SEED = 40_412
QUESTIONS_PER_SAMPLE = 5
# Sizes in pixels (width, height). The model sees every picture squashed to 140 x 140.
SIZES = (
    (560, 560),
    (640, 480),
    (480, 640),
    (560, 560),
    (720, 480),
    (420, 420),
    (640, 480),
    (280, 280),
)
OBJECTS = (1, 2, 3, 4, 4, 5, 6, 6)
UNLIKE = {
    "gradient": ("A colour gradient", ["What colour is the background?", "Describe the image."]),
    "house": (
        "A drawn house",
        ["How many objects are there?", "What colour is the triangle?", "Describe the picture."],
    ),
    "page": ("A page of text", ["Describe the image.", "How many squares are there?"]),
}


class Answerer:
    """Asks a checkpoint as any user of the library would."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)

    def ask(self, image: Image.Image, text: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": text}]
        prompt = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        inputs = self.processor(images=image, text=prompt, return_tensors="pt")
        tokens = self.model.generate(**inputs, max_new_tokens=64, do_sample=False)
        said = tokens[0, inputs["input_ids"].shape[1] :]
        return self.processor.decode(said, skip_special_tokens=True).strip()


def title(scene: Scene) -> str:
    count = len(scene.objects)
    return f"{count} {'shape' if count == 1 else 'shapes'} on {scene.background}"


def draw_training_like(index: int, attempt: int) -> tuple[Scene, Image.Image]:
    rng = np.random.default_rng((SEED, index, attempt))
    while len((scene := random_scene(rng)).objects) != OBJECTS[index]:
        pass
    width, height = SIZES[index]
    picture = Image.fromarray(render(scene, rng, max(width, height)))
    return scene, picture.resize((width, height), Image.LANCZOS)


def choose_questions(
    scene: Scene, image: Image.Image, model: Answerer, index: int
) -> list[Question]:
    """One question of each kind; every one is asked and kept only if the answer is right."""
    dice = random.Random(index)
    kinds = ["relation", "where", "count", "colour", "existence", "cell", "shape", "caption"]
    kept: list[Question] = []
    for kind in kinds[index % 4 :] + kinds[: index % 4]:
        question = ASK[kind](scene, dice)
        if question is None or question.answer == "nothing":
            continue
        if model.ask(image, question.text) == question.answer:
            kept.append(question)
    return kept[:QUESTIONS_PER_SAMPLE]


def gradient() -> Image.Image:
    rows, columns = np.mgrid[0:480, 0:640].astype(np.float32)
    canvas = np.stack([columns / 640, rows / 480, 1 - columns / 640], -1)
    return Image.fromarray((255 * canvas).astype(np.uint8))


def house() -> Image.Image:
    picture = Image.new("RGB", (640, 480), (150, 200, 235))
    pen = ImageDraw.Draw(picture)
    pen.rectangle([0, 360, 640, 480], fill=(110, 160, 80))
    pen.ellipse([500, 40, 580, 120], fill=(250, 215, 70))
    pen.rectangle([190, 220, 430, 400], fill=(205, 150, 110), outline=(80, 50, 30), width=4)
    pen.polygon([(160, 225), (310, 100), (460, 225)], fill=(150, 50, 40))
    pen.rectangle([285, 310, 340, 400], fill=(90, 60, 40))
    for left in (215, 365):
        pen.rectangle([left, 255, left + 45, 300], fill=(190, 225, 245), outline=(80, 50, 30))
    return picture.filter(ImageFilter.GaussianBlur(0.6))


def page() -> Image.Image:
    picture = Image.new("RGB", (480, 640), (250, 249, 245))
    pen = ImageDraw.Draw(picture)
    heading, body = ImageFont.load_default(28), ImageFont.load_default(15)
    pen.text((40, 36), "See what you are told", fill=(20, 20, 20), font=heading)
    sentence = "A patch of nothing can hold much attention. "
    text = sentence * 30
    for line in range(26):
        start = 53 * line
        pen.text((40, 92 + 20 * line), text[start : start + 53], fill=(45, 45, 45), font=body)
    return picture


def save(image: Image.Image, path: Path) -> None:
    """Palette-free PNG without metadata."""
    image.convert("RGB").save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = Answerer(options.checkpoint)
    entries = []
    for index in range(len(SIZES)):
        for attempt in range(20):
            scene, image = draw_training_like(index, attempt)
            chosen = choose_questions(scene, image, model, index)
            if len(chosen) == QUESTIONS_PER_SAMPLE:
                break
        file = f"scene-{index + 1}.png"
        save(image, options.out / file)
        entries.append(
            {
                "file": file,
                "title": title(scene),
                "kind": "training-like",
                "questions": [question.text for question in chosen],
                "answers": [question.answer for question in chosen],
            }
        )
    for (name, (label, asked)), picture in zip(
        UNLIKE.items(), (gradient(), house(), page()), strict=True
    ):
        save(picture, options.out / f"{name}.png")
        entries.append(
            {"file": f"{name}.png", "title": label, "kind": "unlike training", "questions": asked}
        )
    (options.out / "samples.json").write_text(json.dumps(entries, indent=2) + "\n")


if __name__ == "__main__":
    main()
