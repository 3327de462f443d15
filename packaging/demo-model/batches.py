"""Training and held-out batches as tensors. A batch is a function of its seed alone."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from conversation import IMAGE_START, NEWLINE_POSITION, Sequence, lay_out, random_sequence
from questions import ASK, VISUAL_KINDS, Question
from scenes import Scene, emptiness, object_patches, pixels, random_scene, render
from torch import Tensor

HIDDEN = -1e9
HELD_OUT_SEED = 20_260_001  # training seeds its generators with (seed, stage, step, rank)


@dataclass
class Batch:
    """ids, positions, block: (B, T); answer: (B, T) bool; mask: (B, 1, T, T) additive;

    pixels: (B, 3, S, S); reference, target: (B, T, cells) bool; patch_class, emptiness:
    (B, VISUAL_TOKENS).
    """

    ids: Tensor
    positions: Tensor
    block: Tensor
    answer: Tensor
    mask: Tensor
    pixels: Tensor
    reference: Tensor
    target: Tensor
    patch_class: Tensor
    emptiness: Tensor


def training_batch(
    seed: tuple[int, ...], size: int, length: int, *, dialogues: float, hidden_prefix: float
) -> Batch:
    """Random scenes with questions.

    A share `hidden_prefix` of the sequences cannot see what stands before the picture (BOS
    among it) from the picture on, nor the newline after it from the questions: there, idle
    attention must rest on the picture, which keeps visual sinks in use beside BOS.
    """
    rng = np.random.default_rng(seed)
    dice = random.Random(int(rng.integers(2**62)))
    scenes = [random_scene(rng) for _ in range(size)]
    images = [render(scene, rng) for scene in scenes]
    sequences = [random_sequence(scene, dice, length, dialogues) for scene in scenes]
    batch = assemble(scenes, images, sequences)
    for row in range(size):
        if dice.random() < hidden_prefix:
            batch.mask[row, :, IMAGE_START:, :IMAGE_START] = HIDDEN
            batch.mask[row, :, NEWLINE_POSITION + 1 :, NEWLINE_POSITION] = HIDDEN
    return batch


def assemble(scenes: list[Scene], images: list[np.ndarray], sequences: list[Sequence]) -> Batch:
    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(s, name) for s in sequences]))

    block = stack("block")
    return Batch(
        ids=stack("ids"),
        positions=stack("positions"),
        block=block,
        answer=stack("answer"),
        mask=attention_mask(block),
        pixels=torch.from_numpy(pixels(images)),
        reference=stack("reference"),
        target=stack("target"),
        patch_class=torch.from_numpy(np.stack([object_patches(s) for s in scenes])),
        emptiness=torch.from_numpy(np.stack([emptiness(s) for s in scenes])),
    )


def attention_mask(block: Tensor) -> Tensor:
    """Causal, and between questions none: a token sees block 0 and its own block."""
    length = block.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    same = (block[:, :, None] == block[:, None, :]) | (block[:, None, :] == 0)
    return torch.where(same & causal, 0.0, HIDDEN)[:, None]


@dataclass
class HeldOut:
    """Scenes that no training step has drawn, with questions of every visual kind."""

    batch: Batch
    questions: list[list[Question]]


def held_out(scenes: int, length: int, seed: int = HELD_OUT_SEED) -> HeldOut:
    """Two rounds of all kinds per scene, packed side by side."""
    rng = np.random.default_rng(seed)
    dice = random.Random(seed)
    drawn = [random_scene(rng) for _ in range(scenes)]
    images = [render(scene, rng) for scene in drawn]
    asked = []
    for scene in drawn:
        rounds = [ASK[kind](scene, dice) for _ in range(2) for kind in VISUAL_KINDS]
        asked.append([question for question in rounds if question is not None])
    sequences = [lay_out(questions, length, packed=True) for questions in asked]
    kept = [questions[: int(s.block.max())] for questions, s in zip(asked, sequences, strict=True)]
    return HeldOut(assemble(drawn, images, sequences), kept)
