"""First stage: the vision tower learns what is in every patch, and where the patch is."""

from __future__ import annotations

import time

import numpy as np
import torch
import torch.nn.functional as F
from model import VISION_WIDTH
from scenes import (
    BACKGROUNDS,
    COLOURS,
    PATCHES_PER_SIDE,
    SHAPES,
    emptiness,
    object_patches,
    pixels,
    random_scene,
    render,
)
from torch import Tensor, nn

IMAGES_PER_STEP = 64
OUTPUT_SCALE = 0.2  # brings the tower's residual stream near rms 1 for the projector


class PatchHeads(nn.Module):
    """Training-only: class, row, column and emptiness of every patch, and the background."""

    def __init__(self) -> None:
        super().__init__()
        self.kind = nn.Linear(VISION_WIDTH, 1 + len(COLOURS) * len(SHAPES))
        self.place = nn.Linear(VISION_WIDTH, 2 * PATCHES_PER_SIDE)
        self.empty = nn.Linear(VISION_WIDTH, 1)
        self.background = nn.Linear(VISION_WIDTH, len(BACKGROUNDS))

    def loss(self, features: Tensor, kinds: Tensor, empty: Tensor, background: Tensor) -> Tensor:
        side, batch = PATCHES_PER_SIDE, features.shape[0]
        index = torch.arange(side)
        places = torch.stack([index.repeat_interleave(side), index.repeat(side)]).repeat(1, batch)
        rows, columns = self.place(features).float().flatten(0, 1).chunk(2, -1)
        return (
            F.cross_entropy(self.kind(features).float().flatten(0, 1), kinds.flatten())
            + 0.1 * F.cross_entropy(rows, places[0])
            + 0.1 * F.cross_entropy(columns, places[1])
            + F.mse_loss(self.empty(features).float().squeeze(-1), empty)
            + 0.2 * F.cross_entropy(self.background(features.mean(1)).float(), background)
        )


def train_vision(training, stage) -> None:
    """Run the stage; it goes on from its last checkpoint like the others."""
    heads = PatchHeads()  # the same on every process: they share the seed
    tower = training.model.model.vision_tower
    parameters = [*tower.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=stage.rate, weight_decay=0.05, fused=True)
    training.resume("vision", optimiser, heads)
    started = time.time() - training.elapsed
    while (progress := training.progress(stage, time.time() - started)) < 1:
        for group in optimiser.param_groups:
            warm = min(1.0, (training.step + 1) / 50)
            group["lr"] = stage.rate * warm * min(1.0, 2.5 * (1 - progress))
        seed = (training.options.seed, 0, training.step, training.options.rank)
        images, *labels = _batch(np.random.default_rng(seed))
        with torch.autocast("cpu", torch.bfloat16):
            loss = heads.loss(training.forward.see(images), *labels)
        loss.backward()
        training.share_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        training.step, training.elapsed = training.step + 1, time.time() - started
        if training.step % 50 == 0:
            training.log(f"vision {training.step} loss {float(loss.detach()):.4f}")
        if training.step % training.options.every == 0:
            training.save_part("vision", optimiser, heads)
    _rescale(tower)
    training.step, training.elapsed = 0, 0.0


def _batch(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    scenes = [random_scene(rng) for _ in range(IMAGES_PER_STEP)]
    images = torch.from_numpy(pixels([render(scene, rng) for scene in scenes]))
    kinds = torch.from_numpy(np.stack([object_patches(scene) for scene in scenes]))
    empty = torch.from_numpy(np.stack([emptiness(scene) for scene in scenes]))
    names = list(BACKGROUNDS)
    return images, kinds, empty, torch.tensor([names.index(s.background) for s in scenes])


@torch.no_grad()
def _rescale(tower: nn.Module) -> None:
    """Scale everything written to the residual stream; layer norms leave the rest as it was."""
    for name, weight in tower.named_parameters():
        if any(part in name for part in ("pre_layrnorm", "out_proj", "fc2")):
            weight.mul_(OUTPUT_SCALE)
