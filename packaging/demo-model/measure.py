"""Measure a checkpoint on held-out scenes: the tables of its card, with their controls.

    python packaging/demo-model/measure.py resources/demo-model packaging/demo-model/report.json

fp32 arithmetic on the bf16 weights as shipped; one question per picture; greedy answers, scored
by exact match of every token.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from batches import HELD_OUT_SEED
from model import HEAD_WIDTH, VISUAL
from questions import VISUAL_KINDS
from scenes import PATCHES_PER_SIDE
from study import MASS_MIN, NOTHING, TEXT_START, Asked, Intervention, Study, held_out_questions

RHOS = (0.5, 0.8, 0.9)
CALIBRATION_SEED = HELD_OUT_SEED + 1  # scenes for tau and the sink dimensions, not for tables


def accuracy(study: Study, batches: list[Asked], change: Intervention = NOTHING) -> dict:
    """Share of right answers by kind, and mean negative log-likelihood of an answer token."""
    study.random.manual_seed(0)
    hits: dict[str, list[bool]] = {kind: [] for kind in VISUAL_KINDS}
    surprise = []
    for asked in batches:
        logits = study.run(asked, change)
        for row, (span, kind) in enumerate(zip(asked.spans, asked.kinds, strict=True)):
            wanted = asked.ids[row, span]
            said = logits[row, span.start - 1 - TEXT_START : span.stop - 1 - TEXT_START]
            hits[kind].append(bool((said.argmax(-1) == wanted).all()))
            surprise += (-said.log_softmax(-1).gather(1, wanted[:, None])[:, 0]).tolist()
    every = [hit for kind in hits.values() for hit in kind]
    return {
        "all": round(sum(every) / len(every), 4),
        "nll": round(sum(surprise) / len(surprise), 4),
        **{kind: round(sum(found) / len(found), 3) for kind, found in hits.items()},
    }


def massive_dimensions(hidden: torch.Tensor) -> dict:
    """Dimensions that are massive at BOS: over fifteen times the median in most middle layers."""
    x = hidden[:, :, 0].abs()
    ratio = (x / x.median(-1, keepdim=True).values).mean(1)
    scaled = (x / x.pow(2).mean(-1, keepdim=True).sqrt()).mean(1)
    middle = range(1, len(hidden) - 1)
    votes = sum((ratio[layer] > 15).int() for layer in middle)
    found = (votes > len(middle) / 2).nonzero()[:, 0].tolist()
    return {
        "sink_dims": found,
        "top at BOS, |x[d]| / rms": [
            [[int(d), round(float(scaled[layer, d]), 2)] for d in scaled[layer].topk(4).indices]
            for layer in range(len(hidden))
        ],
        "third largest over median, per layer": [
            round(float(r.topk(3).values[-1]), 1) for r in ratio
        ],
    }


def separating_tau(phi: torch.Tensor) -> dict:
    """The middle of the emptiest stretch, 1.5 wide, that has visual sinks above it."""
    values = phi.flatten()
    top = float(values.sort().values[int(0.98 * len(values))])
    centres = torch.arange(3.5, top - 0.75, 0.25)
    counts = torch.stack([((values - c).abs() <= 0.75).sum() for c in centres])
    emptiest = centres[counts == counts.min()]
    tau = float(emptiest[len(emptiest) // 2])
    return {"tau": tau, "share within 0.75 of tau": round(float(counts.min()) / len(values), 5)}


def phi_table(study: Study, phi: torch.Tensor, asked: Asked) -> dict:
    """Fig. 8: phi by layer, and sinks per layer."""
    edges = torch.linspace(0, math.sqrt(study.model.config.text_config.hidden_size), 15)
    layers = []
    for layer, values in enumerate(phi):
        visual, text = values[asked.visual], values[asked.text]
        sinks = (values >= study.tau) & asked.visual
        share = asked.background[(sinks[:, VISUAL])].float().mean() if sinks.any() else None
        layers.append(
            {
                "layer": layer,
                "BOS": round(float(values[:, 0].mean()), 2),
                "visual median": round(float(visual.median()), 2),
                "visual max": round(float(visual.max()), 2),
                "text max": round(float(text.max()), 2),
                "visual sinks per image": round(float(sinks.sum(1).float().mean()), 2),
                "images with a sink": round(float(sinks.any(1).float().mean()), 3),
                "text sinks per image": round(
                    float(((values >= study.tau) & asked.text).sum(1).float().mean()), 3
                ),
                "background share of sinks": None if share is None else round(float(share), 3),
                "visual histogram": torch.histogram(visual, edges).hist.int().tolist(),
            }
        )
    return {
        "layers": layers,
        "histogram edges": [round(float(e), 2) for e in edges],
        "background share of all visual tokens": round(float(asked.background.float().mean()), 3),
    }


def positions(phi: torch.Tensor, tau: float) -> dict:
    """Where the visual sinks of the middle layer lie, and whether they move with the scene."""
    sinks = phi[len(phi) // 2][:, VISUAL] >= tau
    use = sinks.float().mean(0)
    share = use / use.sum()
    entropy = -(share * share.clamp_min(1e-12).log()).sum() / math.log(len(share))
    both = (sinks[:, None] & sinks[None]).sum(-1).float()
    either = (sinks[:, None] | sinks[None]).sum(-1).clamp_min(1)
    others = ~torch.eye(len(sinks), dtype=torch.bool)
    grid = use.view(PATCHES_PER_SIDE, PATCHES_PER_SIDE)
    return {
        "layer": len(phi) // 2,
        "share of images with a sink here": [[round(v, 3) for v in row] for row in grid.tolist()],
        "entropy, 1 = uniform": round(float(entropy), 3),
        "most used position": round(float(use.max()), 3),
        "positions ever used": int((use > 0).sum()),
        "different sink sets": len({tuple(row.nonzero()[:, 0].tolist()) for row in sinks}),
        "images": len(sinks),
        "mean overlap of two images (Jaccard)": round(float((both / either)[others].mean()), 3),
    }


def attention_shares(study: Study, batches: list[Asked]) -> list[dict]:
    """Fig. 3c and head statistics: what text tokens attend to, and what it brings, by layer."""
    sums: list[dict[str, float]] = [{} for _ in study.decoder.layers]
    for asked in batches:
        study.record = {}
        study.run(asked)
        record, study.record = study.record, None
        for layer, total in enumerate(sums):
            measured = _layer_sums(study, asked, layer, *(record[k][layer] for k in record))
            for name, value in measured.items():
                total[name] = total.get(name, 0.0) + float(value)
    return [_layer_row(layer, total) for layer, total in enumerate(sums)]


def _layer_sums(study, asked: Asked, layer: int, weights, value, sink) -> dict:
    out = study.decoder.layers[layer].self_attn.o_proj.weight.detach()
    per_head = out.view(out.shape[0], -1, HEAD_WIDTH).permute(1, 2, 0)
    norms = torch.einsum("bhtd,hde->bhte", value, per_head).norm(dim=-1)
    text = asked.text[:, None, TEXT_START:, None].float()
    bos = torch.zeros_like(sink)
    bos[:, 0] = True
    groups = {"sinks": asked.visual & sink, "non-sinks": asked.visual & ~sink, "BOS": bos}
    sums = {"rows": text.sum() * weights.shape[1]}
    for name, keys in groups.items():
        pairs = text * keys[:, None, None]
        sums[f"mass {name}"] = (weights * pairs).sum()
        sums[f"contribution {name}"] = (weights * norms[:, :, None] * pairs).sum()
        sums[f"pairs {name}"] = pairs.sum() * weights.shape[1]
    seen = (weights * asked.visual[:, None, None]).sum(-1)
    non_sink = (weights * groups["non-sinks"][:, None, None]).sum(-1)
    rows = asked.text[:, None, TEXT_START:].expand_as(seen)
    sums["high mass"] = ((seen >= MASS_MIN) & rows).sum()
    for rho in RHOS:
        sums[f"selected {rho}"] = ((seen >= MASS_MIN) & (non_sink >= rho * seen) & rows).sum()
    return sums


def _layer_row(layer: int, total: dict[str, float]) -> dict:
    row: dict = {"layer": layer}
    for name in ("BOS", "sinks", "non-sinks"):
        mass, brought, pairs = (total[f"{k} {name}"] for k in ("mass", "contribution", "pairs"))
        row[f"mass on {name}"] = round(mass / total["rows"], 4)
        row[f"contribution of {name}, all together"] = round(brought / total["rows"], 4)
        row[f"contribution of {name}, per token"] = _ratio(brought, pairs)
        row[f"contribution of {name}, per unit of attention"] = _ratio(brought, mass)
    row["heads with visual mass"] = round(total["high mass"] / total["rows"], 4)
    for rho in RHOS:
        row[f"image-centric heads at {rho}"] = round(total[f"selected {rho}"] / total["rows"], 4)
    return row


def _ratio(above: float, below: float) -> float | None:
    return round(above / below, 5) if below > 0 else None


def conditions() -> dict[str, Intervention]:
    runs = {
        "baseline": NOTHING,
        "mask visual sinks": Intervention(mask="sinks"),
        "mask as many random visual tokens": Intervention(mask="random"),
        "mask visual non-sinks": Intervention(mask="non-sinks"),
    }
    for rho in RHOS:
        for which in ("image-centric", "random", "complement"):
            runs[f"blind {which} heads, rho {rho}"] = Intervention(blind=which, rho=rho)
    for rho in RHOS:
        name = f"redistribute in selected heads, rho {rho}"
        runs[name] = Intervention(redistribute="selected", rho=rho)
    runs["redistribute in all heads"] = Intervention(redistribute="all")
    return runs


def calibrate(study: Study) -> dict:
    """Set the study's sink dimensions and tau from scenes that no table uses."""
    (asked,) = held_out_questions(CALIBRATION_SEED, per_kind=12, batch=1000)
    hidden = study.layer_inputs(asked)
    dimensions = massive_dimensions(hidden)
    study.sink_dims = dimensions["sink_dims"]
    chosen = separating_tau(study.phi(hidden)[1:][:, asked.visual])
    study.tau = chosen["tau"]
    return dimensions | chosen


def measure(folder: Path, per_kind: int) -> dict:
    study = Study(folder)
    report = {
        "parameters": sum(p.numel() for p in study.model.parameters()),
        "model.safetensors bytes": (folder / "model.safetensors").stat().st_size,
        "questions": per_kind * len(VISUAL_KINDS),
        "seed": HELD_OUT_SEED,
        "sinks": calibrate(study),
    }
    batches = held_out_questions(HELD_OUT_SEED, per_kind)
    (sample,) = held_out_questions(HELD_OUT_SEED + 2, per_kind=25, batch=1000)
    phi = study.phi(study.layer_inputs(sample))
    report["phi"] = phi_table(study, phi, sample)
    report["positions"] = positions(phi, study.tau)
    report["attention of text tokens"] = attention_shares(study, batches[:4])
    report["accuracy"] = {}
    for name, change in conditions().items():
        report["accuracy"][name] = accuracy(study, batches, change)
        print(name, report["accuracy"][name], file=sys.stderr, flush=True)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--per-kind", type=int, default=110, help="questions of every kind")
    options = parser.parse_args()
    report = measure(options.checkpoint, options.per_kind)
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
