"""How figures name tokens, heads and settings."""

from __future__ import annotations

import numpy as np

from var_studio.analysis.reading import Reading
from var_studio.recording.settings import Redistribution


def visible(text: str) -> str:
    """A token's text in quotation marks, with blanks that can be seen."""
    shown = text.strip(" ") or text.replace(" ", "␣")
    return f"“{shown.replace(chr(10), '⏎').replace(chr(9), '→')}”"


def token_line(reading: Reading) -> str:
    """The token in words: its text and position."""
    token = reading.run.tokens[reading.position]
    name = f"position {token.position}"
    if token.role == "generated":
        index = int(np.searchsorted(reading.run.generated_positions, token.position))
        name += f", g{index}"
    return f"{visible(token.text)} ({name})"


def settings_line(settings: Redistribution) -> str:
    """The settings in one line, as figures print them."""
    parts = [
        f"τ = {settings.tau:.4g}" if settings.tau is not None else "τ of the model",
        f"ρ = {settings.rho:g}",
        f"p = {settings.p:g}",
        f"visual mass ≥ {settings.mass_min:g}",
        f"{settings.convention} convention",
    ]
    if settings.heads == "all":
        parts.append("all heads")
    if settings.target != "visual":
        parts.append(f"target {settings.target}")
    return ", ".join(parts)


def focus_line(reading: Reading) -> str:
    heads, run = reading.focus.heads, reading.run
    if not heads:
        return f"mean of all {run.n_layers * run.n_heads} heads"
    layers = sorted({layer for layer, _ in heads})
    if len(heads) == 1:
        return f"layer {heads[0][0]}, head {heads[0][1]}"
    if len(layers) == 1:
        return f"layer {layers[0]}, mean of {len(heads)} heads"
    return f"mean of {len(heads)} heads in {len(layers)} layers"


def heads_line(reading: Reading) -> str:
    if len(reading.focus.heads) == 1:
        (pair,) = reading.focus.heads
        ratio, mass = reading.non_sink_ratio[pair], reading.visual_mass[pair]
        kind = "Image-centric" if reading.image_centric[pair] else "Not image-centric"
        moved = f"budget Ω = {reading.ledger.budget:.3f}" if reading.changed[pair] else "unchanged"
        return f"{kind}: r = {ratio:.2f}, visual mass = {mass:.2f}, {moved}."
    pairs = reading.focus.heads or tuple(np.ndindex(reading.changed.shape))
    changed = sum(bool(reading.changed[pair]) for pair in pairs)
    return f"{changed} of {count(len(pairs), 'head')} redistributed."


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
