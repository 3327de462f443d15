"""All that the program does with a session file and no model: what the fuzz tests call."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from var_studio.analysis.choice import read
from var_studio.analysis.compare import compare
from var_studio.analysis.contributions import contributions
from var_studio.analysis.discovery import discover_from
from var_studio.analysis.layers import layer_profile
from var_studio.analysis.profiles import profiles
from var_studio.analysis.reading import Reading
from var_studio.analysis.regions import region_attention, region_counts
from var_studio.analysis.reverse import cell_attention
from var_studio.analysis.scatter import phi_alpha
from var_studio.analysis.shares import row_masses
from var_studio.analysis.token_map import token_map
from var_studio.analysis.token_values import log_probabilities
from var_studio.analysis.words import words
from var_studio.cli.contents import show
from var_studio.errors import VarStudioError
from var_studio.figures.build import FIGURES, build
from var_studio.figures.data import csv_text, npz_bytes
from var_studio.figures.two_answers import build_answers
from var_studio.recording.interventions import method_settings
from var_studio.recording.recording import Recording
from var_studio.recording.regions import in_all_views, picture_key, tokens_in_box
from var_studio.recording.session import Session, open_session, save_session
from var_studio.recording.settings import Redistribution


def exercise(path: Path, rng: np.random.Generator, folder: Path) -> str:
    """Read everything in every way. "opened", or "refused" when it could not even be opened.

    What a part of the session refuses does not end the exercise; what is no VarStudioError does.
    """
    try:
        session = open_session(path)
    except VarStudioError as error:
        check_words(error)
        return "refused"
    with session:
        say(repr(session) + session.notes + "".join(session.runs.names))
        json.dumps(session.view, allow_nan=False)
        for run in list(session.runs)[:4]:
            exercise_run(run, session, rng)
        if len(session.runs) > 1:
            one, two = session.runs[0], session.runs[1]
            for step in (lambda: compare(one, two), lambda: build_answers(one, two)):
                tried(step)
        for as_json in (False, True):
            with contextlib.redirect_stdout(strict_output()):
                tried(lambda as_json=as_json: show(path, as_json))
        if rng.random() < 0.3:
            copy = folder / "copy.vars"
            if tried(lambda: save_session(copy, list(session.runs), view=session.view)):
                with open_session(copy) as again:
                    assert again.runs.names == session.runs.names
    return "opened"


def exercise_run(run: Recording, session: Session, rng: np.random.Generator) -> None:
    say(repr(run) + run.text + run.name)
    for name in ("tokens", "exchanges", "provenance", "generation", "interventions", "visual"):
        assert getattr(run, name) is not None
    layout = run.layout
    for token in range(min(layout.count, 3)):
        layout.cell_of(token)
    for step in (
        lambda: layout.strip(),
        lambda: layout.token_at(0, 3.0, 3.0),
        lambda: [layout.grid(v, np.zeros(layout.count)) for v in range(len(layout.views))],
        lambda: [view.edges() for view in layout.views],
        lambda: token_map(layout),
        lambda: tokens_in_box(layout, 0, (0, 0, 9, 9)),
        lambda: in_all_views(layout, range(min(2, layout.count))),
        lambda: picture_key(run),
        lambda: words(run.tokens),
        lambda: log_probabilities(run.tokens),
        lambda: [run.phi(), run.signed_values, run.sinks(), *run.top_dims(), run.value_norm()],
        lambda: [image.size for image in run.images],
        lambda: discover_from(run),
        lambda: cell_attention(run, range(min(2, layout.count))),
        lambda: row_masses(run, method_settings(run.interventions)),
    ):
        tried(step)
    n = len(run.query_positions)
    for query in sorted(set(rng.integers(0, n, 2).tolist())) if n else ():
        tried(lambda query=query: [run.attention(query), run.intervened(query)])
    figure = str(rng.choice(list(FIGURES)))
    tried(lambda: exercise_figure(run, figure))
    if n:
        regions = session.regions.get(picture_key(run), ())
        last = int(run.query_positions[-1])
        tried(lambda: exercise_reading(read(run, token=last), regions))


def exercise_figure(run: Recording, name: str) -> None:
    figure = build(name, read(run))
    npz_bytes(figure), csv_text(figure).encode()
    say(figure.title + "".join(figure.notes))


def exercise_reading(reading: Reading, regions: Any) -> None:
    for name in dir(type(reading)):
        if not name.startswith("_") and isinstance(getattr(type(reading), name), property):
            getattr(reading, name)
    for step in (
        lambda: contributions(reading),
        lambda: layer_profile(reading),
        lambda: profiles(reading),
        lambda: phi_alpha(reading),
        lambda: reading.phi_histogram(),
        lambda: reading.head_maps(),
        lambda: reading.head_value("entropy"),
    ):
        tried(step)
    for region in regions:
        tried(lambda region=region: region_counts(reading, region.tokens))
        tried(lambda region=region: region_attention(reading, region.tokens))
        settings = Redistribution(region=region.tokens)
        tried(lambda s=settings: Reading(reading.run, reading.focus, s).ledger)


def tried(step: Any) -> bool:
    """Whether a step came to its end; a VarStudioError is an end too, anything else is raised."""
    try:
        step()
    except VarStudioError as error:
        check_words(error)
        return False
    return True


def check_words(error: VarStudioError) -> None:
    text = str(error)
    say(text)
    assert text.endswith(".") and len(text) < 2100, text[:2000]


def say(text: str) -> None:
    """Every text can be shown, printed and written to a file."""
    text.encode()


def strict_output() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8")
