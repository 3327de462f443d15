"""The embedded model is what its card says: loads like any other, answers, and has its sinks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from var_studio.assets import resource

PACKAGING = Path(__file__).resolve().parents[2] / "packaging" / "demo-model"
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def folder() -> Path:
    return resource("demo-model")


@pytest.fixture(scope="module")
def settings(folder: Path) -> dict:
    return json.loads((folder / "var_studio.json").read_text())


@pytest.fixture(scope="module")
def samples() -> list[dict]:
    return json.loads((resource("samples") / "samples.json").read_text())


@pytest.fixture(scope="module")
def loaded(folder: Path):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def card_writer():
    sys.path.insert(0, str(PACKAGING))
    try:
        import card

        yield card
    finally:
        sys.path.remove(str(PACKAGING))
        sys.modules.pop("card", None)


def encode(processor, image: Image.Image, question: str):
    content = [{"type": "image"}, {"type": "text", "text": question}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    return processor(images=image, text=prompt, return_tensors="pt")


def ask(loaded, image: Image.Image, question: str) -> str:
    model, processor = loaded
    inputs = encode(processor, image, question)
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=64)
    said = tokens[0, inputs["input_ids"].shape[1] :]
    return processor.decode(said, skip_special_tokens=True).strip()


def picture(sample: dict) -> Image.Image:
    return Image.open(resource("samples") / sample["file"]).convert("RGB")


def layer_inputs(loaded, image: Image.Image, question: str):
    """Layer inputs (L, T, D) from the library's own hidden states, and the visual positions."""
    model, processor = loaded
    inputs = encode(processor, image, question)
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    visual = inputs["input_ids"][0] == model.config.image_token_id
    layers = model.config.text_config.num_hidden_layers
    return torch.stack(states[:layers])[:, 0].numpy(), visual.numpy()


def phi(hidden: np.ndarray, dims: list[int]) -> np.ndarray:
    rms = np.sqrt((hidden**2).mean(-1))
    return np.abs(hidden[..., dims]).max(-1) / rms


def training_like(samples: list[dict]) -> list[dict]:
    return [sample for sample in samples if sample["kind"] == "training-like"]


def test_it_is_a_small_llava(loaded, folder):
    model, processor = loaded
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert type(processor).__name__ == "LlavaProcessor"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 16 * MEGABYTE


def test_it_answers_the_questions_offered_with_the_samples(loaded, samples):
    wrong = []
    for sample in training_like(samples):
        image = picture(sample)
        assert len(sample["questions"]) == len(sample["answers"]) >= 4
        for question, answer in zip(sample["questions"], sample["answers"], strict=True):
            if (said := ask(loaded, image, question)) != answer:
                wrong.append((sample["file"], question, answer, said))
    assert not wrong


def test_its_answer_depends_on_the_picture(loaded, samples):
    sample = training_like(samples)[-1]
    blank = Image.new("RGB", (140, 140), (236, 236, 236))
    said = [ask(loaded, blank, question) for question in sample["questions"]]
    assert said != sample["answers"]


def test_pictures_unlike_training_are_labelled_and_promise_no_answer(samples):
    others = [sample for sample in samples if sample["kind"] == "unlike training"]
    assert len(others) == 3
    assert all(sample["questions"] and "answers" not in sample for sample in others)


def test_the_massive_dimensions_of_the_first_token_are_those_named(loaded, samples, settings):
    sample = samples[0]
    hidden, _ = layer_inputs(loaded, picture(sample), sample["questions"][0])
    for layer in range(1, len(hidden) - 1):
        size = np.abs(hidden[layer, 0])
        massive = np.flatnonzero(size > 15 * np.median(size))
        assert set(massive) == set(settings["sink_dims"])


def test_background_patches_are_sinks_and_move_with_the_scene(loaded, samples, settings):
    places = []
    for sample in training_like(samples):
        hidden, visual = layer_inputs(loaded, picture(sample), sample["questions"][0])
        values = phi(hidden, settings["sink_dims"])
        assert (values[1:, 0] >= settings["tau"]).all()
        middle = values[len(hidden) // 2, visual]
        places.append(frozenset(np.flatnonzero(middle >= settings["tau"])))
    assert all(1 <= len(found) <= 25 for found in places)
    assert len(set(places)) >= len(places) - 1
    assert not frozenset.intersection(*places)


def test_other_dimensions_are_not_massive_anywhere(loaded, samples, settings):
    sample = samples[0]
    hidden, visual = layer_inputs(loaded, picture(sample), sample["questions"][0])
    others = [d for d in (3, 50, 100) if d not in settings["sink_dims"]]
    assert (phi(hidden, others)[:, visual] < settings["tau"]).all()


def test_the_card_is_the_report(folder, card_writer, settings):
    report = json.loads((PACKAGING / "report.json").read_text())
    lineage = json.loads((PACKAGING / "lineage.json").read_text())
    assert (folder / "README.md").read_text() == card_writer.render(report, lineage)
    assert settings == card_writer.settings(report, lineage)
    size = (folder / "model.safetensors").stat().st_size
    assert report["model.safetensors bytes"] == size
    assert report["questions"] >= 900


def test_the_card_claims_no_benefit(folder):
    text = (folder / "README.md").read_text()
    assert "nothing here shows that VAR helps" in text
    assert "induced" in text
