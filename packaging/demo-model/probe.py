"""A quick look at a model in training: accuracy by kind, and what its sinks do."""

from __future__ import annotations

import math

import torch
from batches import HeldOut
from losses import ORDINARY, SINK_DIMENSIONS
from model import VISUAL, Trace, TrainingForward


@torch.no_grad()
def probe(forward: TrainingForward, checks: HeldOut, tau: float = 5.0) -> dict:
    """Teacher-forced exact match, which for a greedy answer is the same as exact match."""
    batch = checks.batch
    with torch.autocast("cpu", torch.bfloat16):
        hidden, trace = forward(batch.ids, batch.pixels, batch.positions, batch.mask, plain=True)
        guess = forward.logits(hidden).argmax(-1)
    right = guess[:, :-1] == batch.ids[:, 1:]
    scores: dict[str, list[bool]] = {}
    for row, questions in enumerate(checks.questions):
        for number, question in enumerate(questions, start=1):
            span = (batch.block[row, 1:] == number) & batch.answer[row, 1:]
            scores.setdefault(question.kind, []).append(bool(right[row][span].all()))
    every = [hit for hits in scores.values() for hit in hits]
    accuracy = {kind: round(sum(hits) / len(hits), 3) for kind, hits in scores.items()}
    return {"all": round(sum(every) / len(every), 4), **accuracy, **sink_report(trace, batch, tau)}


def sink_report(trace: Trace, batch, tau: float) -> dict:
    phi = []
    for hidden in trace.hidden:
        x = hidden.float()
        rms = x.pow(2).mean(-1).sqrt()
        phi.append(x[..., list(SINK_DIMENSIONS)].abs().amax(-1) / rms)
    visual = torch.stack(phi)[:, :, VISUAL]
    sinks = visual >= tau
    use = sinks[2:].float().mean((0, 1))
    share = use / use.sum().clamp_min(1e-9)
    entropy = -(share * share.clamp_min(1e-12).log()).sum() / math.log(len(share))
    text = batch.block > 0
    weights = trace.attention[3].float().mean(1)
    between = ((visual > ORDINARY + 1) & (visual < 6.5))[2:].float().sum(-1).mean()
    return {
        "phi BOS": [round(float(p[:, 0].mean()), 1) for p in phi],
        "sinks": [round(float(s.float().sum(-1).mean()), 2) for s in sinks],
        "without": round(float((~sinks[3].any(-1)).float().mean()), 3),
        "between": round(float(between), 2),
        "sinks on background": round(float((batch.emptiness > 0)[sinks[3]].float().mean()), 3),
        "entropy": round(float(entropy), 3),
        "most used": round(float(use.max()), 3),
        "to BOS": round(float(weights[..., 0][text].mean()), 3),
        "to sinks": round(
            float((weights[..., VISUAL] * sinks[3][:, None]).sum(-1)[text].mean()), 3
        ),
    }
