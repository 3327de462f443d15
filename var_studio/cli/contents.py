"""``var-studio info``: what a session holds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from var_studio.analysis.parity import parity
from var_studio.cli.terminal import number
from var_studio.figures.words import STRIP, interventions_line
from var_studio.recording.recording import Recording
from var_studio.recording.session import open_session
from var_studio.recording.tokens import Token


def show(path: Path, as_json: bool) -> None:
    """Print the contents. Raises VarStudioError for a file that is no session."""
    with open_session(path) as session:
        if as_json:
            document = {
                "path": str(path),
                "notes": session.notes,
                "content": session.content.model_dump(mode="json"),
                "images": [
                    {
                        "name": i.name,
                        "media_type": i.media_type,
                        "sha256": i.sha256,
                        "left_out": i.left_out,
                    }
                    for i in session.image_entries
                ],
                "runs": [_document(run) for run in session.runs],
            }
            print(json.dumps(document, indent=2, allow_nan=False))
            return
        entries = session.image_entries
        images = _count(len(entries), "image")
        if any(entry.left_out for entry in entries):
            images += f" ({sum(entry.left_out for entry in entries)} left out)"
        print(f"{path}: {_count(len(session.runs), 'run')}, {images}")
        if not session.content.full:
            print(f"kept: {session.content.in_words}")
        for index, run in enumerate(session.runs):
            print()
            _print_run(index, run)


def _document(run: Recording) -> dict[str, Any]:
    visual = run.visual
    return {
        "name": run.name,
        "id": run.id,
        "finished": run.finished,
        "reason": run.reason,
        "text": run.text,
        "layers": run.n_layers,
        "heads": run.n_heads,
        "hidden_size": run.hidden_size,
        "length": run.length,
        "visual_tokens": int(visual.sum()),
        "image_sizes": [list(size) for size in run.layout.image_sizes],
        "geometry_known": run.layout.known,
        "views": [[view.name, view.rows, view.cols] for view in run.layout.views],
        "sink_dims": list(run.sink_dims),
        "tau_default": run.tau_default,
        "precision": run.precision,
        "generation": run.generation.model_dump(mode="json"),
        "interventions": [each.model_dump(mode="json") for each in run.interventions],
        "teacher": run.teacher,
        "exchanges": [[said.question, said.answer] for said in run.exchanges],
        "provenance": run.provenance,
        "query_positions": run.query_positions.tolist(),
        "left_out": run.left_out.model_dump(mode="json"),
        "tokens": [
            {
                "position": token.position,
                "id": token.id,
                "text": token.text,
                "role": token.role,
                "turn": token.turn,
                "logprob": None if token.logprob is None else number(token.logprob),
                "row": run.query_of(token.position) is not None,
            }
            for token in run.tokens
        ],
    }


def _print_run(index: int, run: Recording) -> None:
    state = run.reason if run.finished else "unfinished"
    dims = ", ".join(map(str, run.sink_dims)) or "none"
    origin = run.provenance.get("sink_dims_origin")
    if origin and run.sink_dims:
        dims += f" ({origin})"
    model = run.provenance.get("model") or run.provenance.get("checkpoint", "unknown")
    print(f"[{index}] {run.name} ({state})")
    print(f"    model     {model}: {run.n_layers} layers × {run.n_heads} heads, ", end="")
    print(f"D = {run.hidden_size}, sink dimensions {dims}, τ = {run.tau_default:.4g}")
    for each in run.interventions:
        print(f"    changed   {interventions_line([each])}")
    if without_effect(run):
        print(f"    note      {without_effect(run)}")
    if run.teacher is not None:
        print(f"    scores    the answer of run {run.teacher} (teacher-forced)")
    for said in run.exchanges[:-1]:
        print(f"    before    {' '.join(said.question.split())}")
        print(f"              {' '.join(said.answer.split())}")
    prompt = run.provenance.get("prompt")
    if isinstance(prompt, str):
        print(f"    question  {' '.join(prompt.split())}")
    print(f"    answer    {' '.join(run.text.split())}")
    if not run.layout.known:
        print(f"    tokens    {run.layout.count} visual; {STRIP}")
    if len(run.layout.views) > 1:
        for number, view in enumerate(run.layout.views):
            where = f"image {view.image + 1}, {view.name}, {view.rows} × {view.cols}"
            print(f"    view {number:<4} {where}")
    print(f"    rows      {len(run.query_positions)} of {run.length} tokens, {run.precision}")
    if run.left_out.rows:
        print(f"              {_count(len(run.left_out.rows), 'row')} left out when it was saved")
    if run.left_out.keys:
        others = _count(len(run.left_out.keys), "text token")
        print(f"              weights on {others} left out when it was saved")
    undefined = run.provenance.get("phi_undefined")
    if undefined:
        print(f"    φ         undefined for visual tokens: {undefined}")
    found = parity(run.provenance)
    if found is not None:
        facts = ", ".join(str(run.provenance.get(key, "?")) for key in ("kernel", "dtype"))
        print(f"    parity    {found[1]} ({facts})")
    print("    tokens    position, name, text; * has a row")
    for line in _token_lines(run):
        print(f"      {line}")


def without_effect(run: Recording) -> str:
    """What of the interventions changed nothing, and why; empty where all did."""
    return str(run.provenance.get("without_effect") or "")


def _token_lines(run: Recording) -> list[str]:
    """A line for each token; a stretch of image tokens is one line."""
    lines: list[str] = []
    stretch: list[Token] = []
    generated = 0
    for token in run.tokens:
        if token.role == "visual":
            stretch.append(token)
            continue
        lines += _stretch_line(stretch)
        stretch = []
        name: str = token.role
        if token.role == "generated":
            name, generated = f"g{generated}", generated + 1
        row = "*" if run.query_of(token.position) is not None else " "
        text = json.dumps(token.text, ensure_ascii=False)
        chance = "" if token.logprob is None else f"  p = {math.exp(token.logprob):.3f}"
        lines.append(f"{token.position:6d}{row} {name:8} {text}{chance}")
    return lines + _stretch_line(stretch)


def _stretch_line(tokens: list[Token]) -> list[str]:
    if not tokens:
        return []
    return [f"{tokens[0].position:6d}  visual   {len(tokens)} tokens to {tokens[-1].position}"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
