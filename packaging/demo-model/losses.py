"""The auxiliary losses of the training, and how the places of the visual sinks are chosen.

None of them acts in the last stage. Three plant the attention sinks (`massive`, `idle`,
`quiet`), three help a small model to see (`words`, `places`, `grounding`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from conversation import NEWLINE_POSITION, VOCABULARY
from model import VISUAL, WIDTH, Trace
from scenes import COLOURS, GRID, PATCHES_PER_SIDE, SHAPES, VISUAL_TOKENS
from torch import Tensor, nn

SINK_DIMENSIONS = (37, 141)
FIRST_SINK_LAYER = 2  # its input: two decoder layers have had a say on what is a sink
FEWEST_SINKS, MOST_SINKS = 2, 7  # visual sinks per image
DECIDED = 0.64  # score above which a patch is a sink
EMPTINESS_RULE = 0.6
EMPTY, EMPTIEST = 0.75, 0.92  # relative to the emptiest patch of the scene
BALANCE_RATE, BIAS_LIMITS = 0.003, (-1.2, 0.4)
MASSIVE, ORDINARY = 7.0, 2.5  # wanted |x[d]| / rms(x) of sinks (at least) and others (at most)
GROUNDED_HEADS = (0, 1)
REFERENCE_LAYERS, TARGET_LAYERS = (1, 2), (3, 4)


class SinkPlaces:
    """Chooses, per image, which background patches shall be sinks.

    The score of a patch is the model's own preference (its present value in the sink
    dimensions), plus how empty its surroundings are, plus a bias that sinks wherever sinks have
    been too frequent, in the way of auxiliary-loss-free expert balancing: no fixed position can
    win in every scene. The bias belongs to the training, not to the model.
    """

    def __init__(self) -> None:
        self.bias = torch.zeros(VISUAL_TOKENS)

    def choose(self, preference: Tensor, emptiness: Tensor, way: str) -> Tensor:
        """preference, emptiness: (B, VISUAL_TOKENS). Returns bool of the same shape.

        "balanced": the best two, and up to seven above a threshold. A fixed number would force
        a choice between equals, which no token can make alone. "empty": the patches farthest
        from all objects, and those a little nearer that the model prefers. "own": of all these
        only those that the model prefers, and the best one in any case.
        """
        preferred = preference / MASSIVE > DECIDED
        if way == "empty":
            return (emptiness >= EMPTIEST) | ((emptiness >= EMPTY) & preferred)
        if way == "own":
            best = (preference + MASSIVE * emptiness).argmax(-1, keepdim=True)
            return ((emptiness >= EMPTY) & preferred).scatter(1, best, True)
        score = preference / MASSIVE + EMPTINESS_RULE * (emptiness - 0.8) + self.bias
        score = score.masked_fill(emptiness <= 0, float("-inf"))
        best = score.topk(MOST_SINKS, -1)
        keep = best.values > DECIDED
        keep[:, :FEWEST_SINKS] = True
        return torch.zeros_like(score, dtype=torch.bool).scatter(1, best.indices, keep)

    def balance(self, counts: Tensor, available: Tensor) -> None:
        """Move the bias against positions used more often than their fair share.

        counts, available: (VISUAL_TOKENS,), how often a position was chosen, or background.
        """
        fair = available * (counts.sum() / available.sum().clamp_min(1))
        self.bias += BALANCE_RATE * (fair - counts) / fair.mean().clamp_min(1e-6)
        self.bias = (self.bias - self.bias.median()).clamp(*BIAS_LIMITS)


def signed_values(hidden: Tensor) -> Tensor:
    """x[d] / rms(x) in the sink dimensions. Returns (B, T, 2) float32."""
    x = hidden.float()
    rms = (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
    return x[..., list(SINK_DIMENSIONS)] / rms


def massive(trace: Trace, chosen: Tensor) -> Tensor:
    """Push BOS and the chosen patches up in the sink dimensions, all other tokens down."""
    sinks = sink_tokens(chosen, trace.hidden[0].shape[1])
    total = torch.zeros(())
    layers = trace.hidden[FIRST_SINK_LAYER:]
    for hidden in layers:
        values = signed_values(hidden)
        short = (MASSIVE - values).clamp_min(0).pow(2).mean(-1)
        excess = (values.abs().amax(-1) - ORDINARY).clamp_min(0).pow(2)
        total = total + short[:, 0].mean() + short[:, VISUAL][chosen].mean()
        total = total + 0.3 * excess[~sinks].sum() / chosen.sum()
    return total / len(layers)


def sink_tokens(chosen: Tensor, length: int) -> Tensor:
    """BOS and the chosen patches among all tokens. Returns (B, length) bool."""
    sinks = torch.zeros(chosen.shape[0], length, dtype=torch.bool)
    sinks[:, 0] = True
    sinks[:, VISUAL] = chosen
    return sinks


def idle(trace: Trace, chosen: Tensor, emptiness: Tensor, text: Tensor) -> Tensor:
    """Attention of text tokens to anything but sinks and objects has a price.

    BOS has half the price: it would otherwise take all idle attention from the visual sinks.
    """
    price = torch.ones_like(text, dtype=torch.float32)
    price[:, VISUAL] = (emptiness > 0).float()
    price = price.masked_fill(sink_tokens(chosen, text.shape[1]), 0)
    price[:, 0] = 0.5
    paid = [
        torch.einsum("bhqk,bk->bq", weights, price.to(weights.dtype)).float()[text].mean()
        for weights in trace.attention[FIRST_SINK_LAYER:]
    ]
    return torch.stack(paid).mean() / trace.attention[0].shape[1]


def quiet(trace: Trace, text: Tensor) -> Tensor:
    """Group lasso on what heads write for text tokens, so that unneeded heads go idle."""
    return torch.stack([written[text].mean() for written in trace.head_output]).mean()


def grounding(trace: Trace, reference: Tensor, target: Tensor) -> Tensor:
    """Two heads of the middle layers look up the objects that a question is about."""
    terms = []
    for layers, cells in ((REFERENCE_LAYERS, reference), (TARGET_LAYERS, target)):
        asked = cells.any(-1)
        if not asked.any():
            continue
        for layer in layers:
            weights = trace.attention[layer][:, list(GROUNDED_HEADS), :, VISUAL]
            mass = (per_cell(weights.float()) * cells[:, None]).sum(-1)
            terms.append(-(mass + 1e-3).log().mean(1)[asked].mean())
    return torch.stack(terms).mean() if terms else torch.zeros(())


def per_cell(weights: Tensor) -> Tensor:
    """Sum attention over the patches of each cell: (..., VISUAL_TOKENS) to (..., GRID²)."""
    side = PATCHES_PER_SIDE // GRID
    grid = weights.unflatten(-1, (GRID, side, GRID, side))
    return grid.sum((-3, -1)).flatten(-2)


class Readout(nn.Module):
    """Training-only heads on the projected visual tokens, and the losses they serve."""

    def __init__(self) -> None:
        super().__init__()
        self.row = nn.Linear(WIDTH, GRID, bias=False)
        self.column = nn.Linear(WIDTH, GRID, bias=False)
        self.emptiness = nn.Linear(WIDTH, 1)
        side = torch.arange(PATCHES_PER_SIDE) * GRID // PATCHES_PER_SIDE
        self.register_buffer("rows", side.repeat_interleave(PATCHES_PER_SIDE), persistent=False)
        self.register_buffer("columns", side.repeat(PATCHES_PER_SIDE), persistent=False)

    def places(self, projected: Tensor, emptiness: Tensor) -> Tensor:
        """Every visual token tells its row, its column and how empty it is around it.

        Rows and columns are read along directions of length one and with a damped scale, so that
        a token must spend a good part of its own length on them: with free weights a faint trace
        is enough here, and the decoder then confuses neighbouring columns. Objects count more,
        because their colour and shape compete for the same length.
        """
        x = unit_rms(projected)
        weight = torch.where(emptiness > 0, 0.15, 1.0).flatten()
        total = 2 * F.mse_loss(self.emptiness(x).squeeze(-1), emptiness)
        for directions, labels in ((self.row, self.rows), (self.column, self.columns)):
            logits = 0.6 * F.linear(x, F.normalize(directions.weight, dim=-1)).flatten(0, 1)
            loss = F.cross_entropy(logits, labels.repeat(x.shape[0]), reduction="none")
            total = total + (loss * weight).sum() / weight.sum()
        return total


def words(projected: Tensor, embedding: Tensor, patch_class: Tensor) -> Tensor:
    """A visual token resembles the words of its object, or "nothing"; objects count more."""
    x = unit_rms(projected)
    seen = patch_class > 0
    weight = torch.where(seen, 1.0, 0.3)
    index = (patch_class - 1).clamp_min(0)
    total = torch.zeros(())
    for names, wanted in (
        (tuple(COLOURS), index // len(SHAPES)),
        (SHAPES, index % len(SHAPES)),
    ):
        rows = embedding[[VOCABULARY.index(word) for word in (*names, "nothing")]]
        logits = x @ (rows / rows.norm(dim=-1, keepdim=True)).t()
        label = torch.where(seen, wanted, len(names))
        loss = F.cross_entropy(logits.transpose(1, 2), label, reduction="none")
        total = total + (loss * weight).sum() / weight.sum()
    return total


def unit_rms(x: Tensor) -> Tensor:
    x = x.float()
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()


def text_tokens(block: Tensor) -> Tensor:
    """Question and answer tokens (not the picture part, the newline, or padding)."""
    text = block > 0
    text[:, : NEWLINE_POSITION + 1] = False
    return text
