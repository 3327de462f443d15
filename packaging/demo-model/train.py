"""Train the demo model: `python packaging/demo-model/train.py all --out DIR`.

Stages, each resumable from its last checkpoint in DIR:

vision  the vision tower alone: what and where is every patch
see     projector and decoder: questions, with the losses that help to see
sinks   the same, while the attention sinks are planted
learn   the losses on the sinks are off; those that help to see stay
sharpen the sink losses are back, with a plain rule: the patches farthest from all objects are
        sinks, those a little nearer may be, no others are; at the end the model's own choice
        among these is made clear-cut
settle  the learning rate falls to zero; every loss on sinks is off, and of the others only the
        grounding stays

`--init CHECKPOINT` starts from an exported model and skips `vision` and `see`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import losses
import torch
import torch.distributed as dist
import torch.nn.functional as F
from batches import Batch, held_out, training_batch
from model import Trace, TrainingForward, new_model
from probe import probe
from torch import Tensor, nn
from vision import train_vision

LENGTH = 320  # tokens per training sequence: the picture and about sixteen questions


@dataclass(frozen=True)
class Stage:
    """Share of the time budget, learning rate (held, or falling to zero), loss weights."""

    share: float
    rate: float
    falling: bool = False
    vision_rate: float = 0.3  # relative to `rate`
    weights: dict[str, float] = field(default_factory=dict)
    balanced: bool = False  # sink places follow emptiness and the balance, not the model alone


SEEING = {"words": 0.1, "places": 0.2, "grounding": 0.15}
STAGES = {
    "vision": Stage(share=0.10, rate=1.5e-3),
    "see": Stage(share=0.30, rate=1e-3, weights=SEEING),
    "sinks": Stage(
        share=0.22,
        rate=6e-4,
        weights=SEEING | {"massive": 0.04, "idle": 0.1, "quiet": 0.02},
        balanced=True,
    ),
    "learn": Stage(share=0.08, rate=6e-4, weights=SEEING),
    "sharpen": Stage(share=0.15, rate=5e-4, weights=SEEING | {"massive": 0.04, "idle": 0.03}),
    "settle": Stage(share=0.14, rate=5e-4, falling=True, weights={"grounding": 0.1}),
}
ORDER = list(STAGES)


class Training:
    """One process of the training: model, optimiser, sink places, and where it stands."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out = Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(options.seed)
        self.model = new_model()
        self.forward = TrainingForward(self.model)
        self.readout = losses.Readout()
        self.places = losses.SinkPlaces()
        self.step, self.elapsed = 0, 0.0

    # Stages -----------------------------------------------------------------------------------

    def run(self, names: list[str]) -> None:
        for name in names:
            if self.path(name).exists():
                self.load_weights(self.path(name))
                self.log(f"{name}: done before")
                continue
            self.log(f"{name}: starts")
            if name == "vision":
                train_vision(self, STAGES[name])
            else:
                self.run_stage(name, STAGES[name])
            self.save(self.path(name), self.state())

    def run_stage(self, name: str, stage: Stage) -> None:
        optimiser = self.optimiser(stage)
        self.resume(name, optimiser)
        checks = held_out(48, LENGTH) if self.options.rank == 0 else None
        started, recent = time.time() - self.elapsed, None
        while (progress := self.progress(stage, time.time() - started)) < 1:
            self.set_rate(optimiser, stage, progress)
            loss, terms = self.train_step(name, stage, optimiser, progress)
            recent = loss if recent is None else 0.97 * recent + 0.03 * loss
            self.step, self.elapsed = self.step + 1, time.time() - started
            if self.step % 50 == 0:
                self.log(f"{name} {self.step} {self.elapsed:.0f}s loss {recent:.4f} {terms}")
            if self.step % self.options.every == 0 and checks is not None:
                self.log(f"  {json.dumps(probe(self.forward, checks))}")
                self.save_part(name, optimiser)
        if checks is not None:
            self.log(f"{name} ends: {json.dumps(probe(self.forward, checks))}")
        self.step, self.elapsed = 0, 0.0

    def progress(self, stage: Stage, seconds: float) -> float:
        """By steps or by the clock, whichever is further; all processes agree on it."""
        budget = 60 * self.options.minutes * stage.share / self.share_of_run()
        done = torch.tensor(max(self.step / self.options.steps, seconds / budget))
        if self.options.ranks > 1:
            dist.broadcast(done, 0)
        return float(done)

    def share_of_run(self) -> float:
        return sum(STAGES[name].share for name in self.options.stages)

    # One step ---------------------------------------------------------------------------------

    def train_step(self, name, stage, optimiser, progress) -> tuple[float, dict[str, float]]:
        seed = (self.options.seed, ORDER.index(name), self.step, self.options.rank)
        batch = training_batch(seed, self.options.batch, LENGTH, dialogues=0.15, hidden_prefix=0.4)
        with torch.autocast("cpu", torch.bfloat16):
            hidden, trace = self.forward(batch.ids, batch.pixels, batch.positions, batch.mask)
            total = answer_loss(self.forward, hidden, batch)
        answers = float(total.detach())
        terms, chosen = {}, None
        if stage.weights:
            terms, chosen = self.auxiliary(batch, trace, stage, progress)
        for term, value in terms.items():
            total = total + stage.weights[term] * value
        total.backward()
        self.share_gradients(self.parameters())
        if chosen is not None and stage.balanced:
            self.balance_places(chosen, batch)
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return answers, {term: round(float(value.detach()), 3) for term, value in terms.items()}

    def auxiliary(self, batch: Batch, trace: Trace, stage: Stage, progress: float):
        """The loss terms of this stage, and the patches chosen as sinks, if it plants any."""
        words = self.model.model.language_model.embed_tokens.weight
        terms = {"grounding": losses.grounding(trace, batch.reference, batch.target)}
        if "words" in stage.weights:
            terms["words"] = losses.words(trace.projected, words, batch.patch_class)
            terms["places"] = self.readout.places(trace.projected, batch.emptiness)
        if "massive" not in stage.weights:
            return terms, None
        values = [losses.signed_values(h) for h in trace.hidden[losses.FIRST_SINK_LAYER :]]
        preference = torch.stack(values).detach().mean((0, -1))[:, losses.VISUAL]
        way = "balanced" if stage.balanced else "empty" if progress < 0.75 else "own"
        chosen = self.places.choose(preference, batch.emptiness, way)
        text = losses.text_tokens(batch.block)
        terms["massive"] = losses.massive(trace, chosen)
        terms["idle"] = losses.idle(trace, chosen, batch.emptiness, text)
        if "quiet" in stage.weights:
            terms["quiet"] = losses.quiet(trace, text)
        return terms, chosen

    def balance_places(self, chosen: Tensor, batch: Batch) -> None:
        counts = torch.stack([chosen.sum(0), (batch.emptiness > 0).sum(0)]).float()
        if self.options.ranks > 1:
            dist.all_reduce(counts)
        self.places.balance(*counts)

    def share_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Average the gradients over the processes, in one message."""
        if self.options.ranks == 1:
            return
        flat = torch.cat(
            [p.grad.flatten() if p.grad is not None else torch.zeros(p.numel()) for p in parameters]
        )
        dist.all_reduce(flat)
        flat /= self.options.ranks
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            parameter.grad = flat[start:end].view_as(parameter)
            start = end

    # Optimiser, files -------------------------------------------------------------------------

    def parameters(self) -> list[nn.Parameter]:
        return [*self.model.parameters(), *self.readout.parameters()]

    def optimiser(self, stage: Stage) -> torch.optim.Optimizer:
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            decays = parameter.ndim >= 2 and "embed" not in name
            groups.setdefault(("vision_tower" in name, decays), []).append(parameter)
        groups[(False, True)] += self.readout.parameters()
        return torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "weight_decay": 0.1 if decays else 0.0,
                    "factor": stage.vision_rate if vision else 1.0,
                }
                for (vision, decays), parameters in groups.items()
            ],
            lr=stage.rate,
            betas=(0.9, 0.98),
            fused=True,
        )

    def set_rate(self, optimiser, stage: Stage, progress: float) -> None:
        rate = stage.rate * min(1.0, (self.step + 1) / 150)
        if stage.falling:
            rate *= 1 - progress
        for group in optimiser.param_groups:
            group["lr"] = rate * group["factor"]

    def path(self, name: str) -> Path:
        return self.out / f"{name}.pt"

    def state(self) -> dict:
        return {
            "model": self.model.state_dict(),
            "readout": self.readout.state_dict(),
            "bias": self.places.bias,
        }

    def save(self, path: Path, state: dict) -> None:
        """Written by the first process alone, and never half."""
        if self.options.rank == 0:
            torch.save(state, path.with_suffix(".tmp"))
            os.replace(path.with_suffix(".tmp"), path)

    def save_part(self, name: str, optimiser, heads: nn.Module | None = None) -> None:
        where = {"step": self.step, "elapsed": self.elapsed, "optimiser": optimiser.state_dict()}
        if heads is not None:
            where["heads"] = heads.state_dict()
        self.save(self.out / f"{name}.part.pt", self.state() | where)

    def load_weights(self, path: Path) -> dict:
        state = torch.load(path, map_location="cpu")
        self.model.load_state_dict(state["model"])
        self.readout.load_state_dict(state["readout"])
        self.places.bias = state["bias"]
        return state

    def resume(self, name: str, optimiser, heads: nn.Module | None = None) -> None:
        part = self.out / f"{name}.part.pt"
        if not part.exists():
            return
        state = self.load_weights(part)
        optimiser.load_state_dict(state["optimiser"])
        if heads is not None:
            heads.load_state_dict(state["heads"])
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.log(f"{name}: resumed at step {self.step}")

    def log(self, line: str) -> None:
        if self.options.rank == 0:
            print(time.strftime("%H:%M:%S"), line, flush=True)


def answer_loss(forward: TrainingForward, hidden: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the answer tokens, </s> included."""
    wanted = batch.answer[:, 1:]
    return F.cross_entropy(forward.logits(hidden[:, :-1][wanted]), batch.ids[:, 1:][wanted])


def check(training: Training) -> None:
    """The training forward pass and the library's own give the same loss."""
    batch = training_batch((0,), 4, LENGTH, dialogues=1.0, hidden_prefix=0.0)
    with torch.no_grad():
        ours, _ = training.forward(batch.ids, batch.pixels, batch.positions, batch.mask)
        theirs = training.model(input_ids=batch.ids, pixel_values=batch.pixels).logits
    real = batch.block >= 0
    gap = (training.forward.logits(ours) - theirs)[real].abs().max()
    print(f"largest difference of a logit: {float(gap):.2e}")
    assert gap < 1e-3


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=[*ORDER, "all", "check"])
    parser.add_argument("--out", default="demo-run", help="folder of checkpoints and logs")
    parser.add_argument("--init", help="exported checkpoint to start from")
    parser.add_argument("--minutes", type=float, default=80, help="wall clock of the whole run")
    parser.add_argument("--steps", type=int, default=10**9, help="most steps of a stage")
    parser.add_argument("--batch", type=int, default=8, help="pictures per process and step")
    parser.add_argument("--every", type=int, default=500, help="steps between probes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ranks", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler")
    parser.add_argument("--port", type=int, default=29_511)
    options = parser.parse_args()
    names = ORDER if options.stage in ("all", "check") else [options.stage]
    options.stages = [n for n in names if not (options.init and n in ("vision", "see"))]
    return options


def work(rank: int, options: argparse.Namespace) -> None:
    options.rank = rank
    torch.set_num_threads(1 if options.ranks > 1 else 2)
    if options.ranks > 1:
        address = f"tcp://127.0.0.1:{options.port}"
        dist.init_process_group("gloo", address, rank=rank, world_size=options.ranks)
    training = Training(options)
    if options.init:
        start = type(training.model).from_pretrained(options.init, dtype=torch.float32)
        training.model.load_state_dict(start.state_dict())
    if options.compile:
        training.forward.compile()
    if options.stage == "check":
        check(training)
    else:
        training.run(options.stages)


def main() -> None:
    options = parse()
    if options.ranks == 1:
        work(0, options)
        return
    # Keep freed memory: asking the system for it anew costs a third of a step.
    os.environ |= {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(2**34),
        "MALLOC_TOP_PAD_": str(2**28),
        "OMP_NUM_THREADS": "1",
    }
    torch.multiprocessing.spawn(work, (options,), nprocs=options.ranks)


if __name__ == "__main__":
    main()
