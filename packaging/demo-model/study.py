"""The shipped checkpoint with its decoder attention open to inspection and intervention.

Written apart from the application on purpose: the two can be compared.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from conversation import IMAGE, PAD, single_question
from model import VISUAL
from questions import ASK, VISUAL_KINDS, Question
from scenes import Scene, emptiness, pixels, random_scene, render
from torch import Tensor
from transformers import AutoModelForImageTextToText, DynamicCache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

TEXT_START = VISUAL.stop
MASS_MIN = 0.2
BLOCKED = float("-inf")


@dataclass(frozen=True)
class Intervention:
    """What happens to the attention rows of text tokens.

    mask: visual keys hidden in every head: "sinks", "random" (as many, drawn per layer and
    image) or "non-sinks". blind: heads that lose all visual keys: "image-centric", "random"
    (as many per token) or "complement". redistribute: "selected" heads or "all" heads.
    """

    mask: str | None = None
    blind: str | None = None
    redistribute: str | None = None
    rho: float = 0.8
    p: float = 0.6


NOTHING = Intervention()


@dataclass
class Asked:
    """One batch of single questions: token ids, pixels and answer spans."""

    ids: Tensor
    pixels: Tensor
    spans: list[slice]
    kinds: list[str]
    background: Tensor  # (B, visual tokens) bool: patches outside the objects' cells

    @property
    def visual(self) -> Tensor:
        return self.ids == IMAGE

    @property
    def text(self) -> Tensor:
        """Question and answer, without padding; the newline after the picture counts too."""
        after = torch.zeros_like(self.ids, dtype=torch.bool)
        after[:, TEXT_START:] = True
        return after & (self.ids != PAD)


def held_out_questions(seed: int, per_kind: int, batch: int = 50) -> list[Asked]:
    """`per_kind` questions of every visual kind, each about a scene of its own, shuffled."""
    rng, dice = np.random.default_rng(seed), random.Random(seed)
    drawn: list[tuple[Scene, np.ndarray, Question]] = []
    for kind in VISUAL_KINDS:
        count = 0
        while count < per_kind:
            scene = random_scene(rng)
            if (question := ASK[kind](scene, dice)) is not None:
                drawn.append((scene, render(scene, rng), question))
                count += 1
    dice.shuffle(drawn)
    return [_asked(drawn[i : i + batch]) for i in range(0, len(drawn), batch)]


def _asked(drawn: list[tuple[Scene, np.ndarray, Question]]) -> Asked:
    told = [single_question(question) for _, _, question in drawn]
    length = max(len(ids) for ids, _ in told)
    return Asked(
        ids=torch.tensor([ids + [PAD] * (length - len(ids)) for ids, _ in told]),
        pixels=torch.from_numpy(pixels([image for _, image, _ in drawn])),
        spans=[span for _, span in told],
        kinds=[question.kind for _, _, question in drawn],
        background=torch.from_numpy(np.stack([emptiness(scene) for scene, _, _ in drawn])) > 0,
    )


class Study:
    """The model with a replaced decoder attention; `tau` and `sink_dims` say what a sink is.

    Interventions touch the rows of text tokens only, and no earlier token sees those. So the
    picture part of a batch is computed once and its keys and values are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
        self.model.eval()
        self.decoder = self.model.model.language_model
        self.sink_dims: list[int] = []
        self.tau = float("inf")
        self.record: dict[str, list[Tensor]] | None = None
        self.intervention, self.random = NOTHING, torch.Generator()
        self.asked: Asked | None = None
        ALL_ATTENTION_FUNCTIONS.register("demo_study", self._attention)
        self.model.set_attn_implementation({"text_config": "demo_study", "vision_config": "eager"})
        self.inputs: dict[int, Tensor] = {}
        self.prefixes: dict[int, tuple[DynamicCache, dict[int, Tensor]]] = {}
        for index, layer in enumerate(self.decoder.layers):
            layer.register_forward_pre_hook(self._remember(index), with_kwargs=True)

    def _remember(self, index: int):
        def hook(module, args, kwargs):
            self.inputs[index] = args[0] if args else kwargs["hidden_states"]

        return hook

    @torch.no_grad()
    def run(self, asked: Asked, intervention: Intervention = NOTHING) -> Tensor:
        """Teacher-forced logits of the text rows: (B, T - TEXT_START, V)."""
        self.asked, self.intervention = asked, NOTHING
        if id(asked) not in self.prefixes:
            cache = DynamicCache(config=self.model.config.text_config)
            head = asked.ids[:, :TEXT_START]
            self.model(
                input_ids=head, pixel_values=asked.pixels, past_key_values=cache, use_cache=True
            )
            self.prefixes[id(asked)] = cache, dict(self.inputs)
        cache, self.before = self.prefixes[id(asked)]
        self.intervention = intervention
        logits = self.model(
            input_ids=asked.ids[:, TEXT_START:], past_key_values=copy.deepcopy(cache)
        ).logits
        return logits

    def layer_inputs(self, asked: Asked) -> Tensor:
        """Inputs of the decoder layers without intervention: (L, B, T, D)."""
        self.run(asked)
        layers = sorted(self.inputs)
        return torch.stack([torch.cat([self.before[n], self.inputs[n]], 1) for n in layers])

    def phi(self, hidden: Tensor) -> Tensor:
        """(..., T, D) to (..., T)."""
        rms = hidden.pow(2).mean(-1).sqrt()
        return hidden[..., self.sink_dims].abs().amax(-1) / rms

    def _attention(self, module, query, key, value, attention_mask, scaling, **_):
        rows, length = query.shape[2], key.shape[2]
        causal = torch.full((rows, length), BLOCKED).triu(1 + length - rows)
        scores = query @ key.transpose(-1, -2) * scaling + causal
        if length == rows:  # the picture part: nothing to intervene in
            weights = scores.softmax(-1)
            return (weights @ value).transpose(1, 2).contiguous(), weights
        sink = torch.zeros_like(self.asked.visual)
        if self.sink_dims:
            layer = module.layer_idx
            hidden = torch.cat([self.before[layer], self.inputs[layer]], 1)
            sink = self.phi(hidden) >= self.tau
        weights = self._intervene(module.layer_idx, scores, sink)
        if self.record is not None:
            for name, tensor in (("weights", weights), ("value", value), ("sink", sink)):
                self.record.setdefault(name, []).append(tensor)
        return (weights @ value).transpose(1, 2).contiguous(), weights

    def _intervene(self, layer: int, scores: Tensor, sink: Tensor) -> Tensor:
        """scores: (B, H, rows, T); all rows are text."""
        change, visual = self.intervention, self.asked.visual
        if change.mask:
            hidden = self._hidden_keys(change.mask, visual & sink, visual)
            scores = scores.masked_fill(hidden[:, None, None], BLOCKED)
        weights = scores.softmax(-1)
        if not (change.blind or change.redistribute):
            return weights
        non_sink = (visual & ~sink)[:, None, None].float()
        seen = (weights * visual[:, None, None]).sum(-1)
        on_non_sinks = (weights * non_sink).sum(-1)
        chosen = (seen >= MASS_MIN) & (on_non_sinks >= change.rho * seen)
        if change.blind:
            heads = self._heads(change.blind, chosen)
            blocked = heads[..., None] & visual[:, None, None]
            return scores.masked_fill(blocked, BLOCKED).softmax(-1)
        if layer == len(self.decoder.layers) - 1:
            return weights
        if change.redistribute == "all":
            chosen = torch.ones_like(chosen)
        rows = (chosen & (on_non_sinks > 1e-9))[..., None]
        lost = change.p * weights * sink[:, None, None]
        share = weights * non_sink / on_non_sinks.clamp_min(1e-9)[..., None]
        return torch.where(rows, weights - lost + lost.sum(-1, keepdim=True) * share, weights)

    def _hidden_keys(self, which: str, visual_sinks: Tensor, visual: Tensor) -> Tensor:
        if which == "sinks":
            return visual_sinks
        if which == "non-sinks":
            return visual & ~visual_sinks
        draw = torch.rand(visual.shape, generator=self.random).masked_fill(~visual, 2.0)
        return draw.argsort(1).argsort(1) < visual_sinks.sum(1, keepdim=True)

    def _heads(self, which: str, chosen: Tensor) -> Tensor:
        """chosen: (B, H, T)."""
        if which == "image-centric":
            return chosen
        if which == "complement":
            return ~chosen
        draw = torch.rand(chosen.shape, generator=self.random)
        return draw.argsort(1).argsort(1) < chosen.sum(1, keepdim=True)
