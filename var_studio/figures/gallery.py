"""A session as one page that any browser shows: for sharing, with no program and no network."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from var_studio import assets
from var_studio.analysis.choice import NoRowError, read
from var_studio.analysis.labels import checkpoint_name
from var_studio.analysis.matching import mismatch
from var_studio.analysis.parity import parity
from var_studio.analysis.reading import Reading
from var_studio.analysis.views import choose_views
from var_studio.errors import VarStudioError
from var_studio.figures.build import MapOptions, build
from var_studio.figures.html import (
    heads_panel,
    histogram_panel,
    image_panel,
    picture_url,
    unseen_key,
    words_panel,
)
from var_studio.figures.render import write_whole
from var_studio.figures.scene import question_of
from var_studio.figures.spec import Figure, HeadsPanel, HistogramPanel, ImagePanel, WordsPanel
from var_studio.figures.two_answers import build_answers
from var_studio.figures.words import (
    acts_line,
    focus_line,
    hatched_line,
    image_line,
    interventions_line,
    token_line,
    visible,
)
from var_studio.recording.recording import Recording
from var_studio.recording.session import Session
from var_studio.recording.settings import Redistribution
from var_studio.recording.tokens import bare

MOST_TOKENS = 200
"""Tokens of a run that a page shows, unless more are asked for: 15 to 30 kB each."""

Progress = Callable[[int, int], None]
Tokens = Callable[[Recording], Sequence[int]]


def save_gallery(
    session: Session,
    path: str | os.PathLike[str],
    *,
    tokens: Tokens | None = None,
    layer: int | None = None,
    head: int | None = None,
    settings: Redistribution | None = None,
    title: str = "",
    progress: Progress | None = None,
) -> Path:
    """Write the page, and return its path; the arguments are those of `gallery_html`. A file that
    exists is replaced. Raises VarStudioError."""
    page = gallery_html(
        session,
        tokens=tokens,
        layer=layer,
        head=head,
        settings=settings,
        title=title,
        progress=progress,
    )
    return write_whole(Path(path), page.encode("utf-8"))


def gallery_html(
    session: Session,
    *,
    tokens: Tokens | None = None,
    layer: int | None = None,
    head: int | None = None,
    settings: Redistribution | None = None,
    title: str = "",
    progress: Progress | None = None,
) -> str:
    """One self-contained page: pictures, questions, answers side by side, and of each run its
    tokens with maps and heads, phi, settings and provenance.

    `tokens`: positions of a run; None: its answer, at most `MOST_TOKENS`. `layer`, `head`
    as in `choice.read`, and so `settings`, of runs without interventions; the others are shown as
    they were made. A token without a row is told. `progress(done, total)`: what it
    raises stops it. Raises VarStudioError for a session without runs.
    """
    runs = list(zip(session.runs.names, session.runs, strict=True))
    if not runs:
        raise VarStudioError("The session holds no run.", "Record one first.")
    chosen = {run.id: _chosen(run, tokens) for _, run in runs}
    total, done = sum(len(found) for found, _ in chosen.values()), 0

    def advance() -> None:
        nonlocal done
        if progress is not None:
            progress(done, total)
        done += 1

    pictures = _Pictures()
    sections = []
    for number, (name, run) in enumerate(runs):
        positions, left_out = chosen[run.id]
        cards = _Cards(run, f"r{number}", pictures, layer, head, settings)
        body = "".join(_told(cards, position, advance) for position in positions)
        sections.append(_run_section(name, number, run, cards, body, positions, left_out))
    called = title or (session.path.stem if session.path is not None else "VAR Studio")
    return _PAGE.format(
        title=escape(called),
        csp=escape(_policy()),
        style=_asset("gallery.css") + pictures.css(),
        script=_asset("gallery.js"),
        head=_head(called, session, runs),
        answers=_answers(runs),
        runs="".join(sections),
    )


class _Pictures:
    """The pictures of a page: each once, as the background of a class."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = {}

    def name(self, run: Recording, image: int, panel: ImagePanel) -> str:
        """The class of a picture; empty where there is none."""
        if panel.picture is None:
            return ""
        key = run.image_entries[image].sha256
        if key not in self._urls:
            self._urls[key] = picture_url(panel.picture)
        return f"picture p{list(self._urls).index(key)}"

    def css(self) -> str:
        return "".join(
            f".p{number}{{background-image:url({url})}}"
            for number, url in enumerate(self._urls.values())
        )


class _Cards:
    """The cards of a run's tokens."""

    def __init__(
        self,
        run: Recording,
        prefix: str,
        pictures: _Pictures,
        layer: int | None,
        head: int | None,
        settings: Redistribution | None,
    ) -> None:
        self.run, self.prefix = run, prefix
        self._pictures = pictures
        own = settings if not run.interventions else None
        self._choice: dict[str, Any] = {"layer": layer, "head": head, "settings": own}

    def reading(self, position: int) -> Reading:
        return read(self.run, token=position, **self._choice)

    def card(self, position: int) -> str:
        """Raises NoRowError for a token without a row."""
        reading = self.reading(position)
        images = self._images()
        shown = "".join(self._maps(reading, image, len(images) > 1) for image in images)
        heads = build("heads", reading)
        atlases = [p for p in _panels(heads) if isinstance(p, HeadsPanel)]
        outline = f"{self.prefix}-h{position}"
        atlas = "".join(heads_panel(p, outline, p is atlases[0]) for p in atlases)
        title = f"{token_line(reading)} · {focus_line(reading)}"
        return (
            f'<article class="card" id="{self.prefix}-t{position}" tabindex="-1">'
            f'<h4>{escape(title)}</h4>{shown}<div class="row heads-row">{atlas}'
            f"{_ledger(reading)}</div>{_notes(heads.notes)}</article>"
        )

    def _images(self) -> Sequence[int]:
        layout = self.run.layout
        if not layout.known:
            return [0]
        return sorted({view.image for view in layout.views})

    def _maps(self, reading: Reading, image: int, several: bool) -> str:
        """The maps of one image, and what is to be said of them; of several its name too."""
        options = MapOptions(image=image)
        figure = build("map", reading, options=options)
        panels = [p for p in _panels(figure) if isinstance(p, ImagePanel)]
        made = "".join(image_panel(p, self._pictures.name(self.run, image, p)) for p in panels)
        name = ""
        if several:
            shown = choose_views(self.run.layout, image)
            line = image_line(reading, shown)
            name = f"<h5>{escape(line[:1].upper() + line[1:])}</h5>"
        # What is hatched on paper is grey here, which its key says.
        hatched = {hatched_line(panel) for panel in panels}
        notes = [note for note in figure.notes if note not in hatched]
        return f'{name}<div class="row">{made}</div>{unseen_key(panels[0])}{_notes(notes)}'


def _notes(notes: Iterable[str]) -> str:
    return f'<div class="notes">{"".join(f"<p>{escape(note)}</p>" for note in notes)}</div>'


def _told(cards: _Cards, position: int, advance: Callable[[], None]) -> str:
    advance()
    try:
        return cards.card(position)
    except NoRowError as error:
        return (
            f'<article class="card" id="{cards.prefix}-t{position}" tabindex="-1">'
            f"<h4>{escape(visible(cards.run.tokens[position].text))}</h4>"
            f"<p>{escape(error.what)}</p></article>"
        )


def _chosen(run: Recording, tokens: Tokens | None) -> tuple[list[int], int]:
    """Positions shown, and how many of the answer are left out."""
    if tokens is not None:
        return list(tokens(run)), 0
    answer = [int(position) for position in run.generated_positions]
    with_row = [position for position in answer if run.query_of(position) is not None]
    return with_row[:MOST_TOKENS], len(with_row[MOST_TOKENS:])


def _head(called: str, session: Session, runs: Sequence[tuple[str, Recording]]) -> str:
    notes = session.notes.strip()
    said = f'<p class="session-notes">{escape(notes)}</p>' if notes else ""
    links = "".join(
        f'<li><a href="#r{number}">{escape(name)}</a></li>' for number, (name, _) in enumerate(runs)
    )
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    return (
        f'<h1>{escape(called)}</h1><p class="quiet">{count}, made with VAR Studio. '
        "Attention of each word of an answer to the picture, its sinks and heads.</p>"
        f'{said}<nav aria-label="Runs"><ul>{links}</ul></nav>'
    )


def _answers(runs: Sequence[tuple[str, Recording]]) -> str:
    """Each baseline beside the runs of its question."""
    blocks = []
    for _, first in runs:
        if first.interventions or first.teacher is not None:
            continue
        for _, other in runs:
            if not other.interventions or other.teacher is not None or mismatch(first, other):
                continue
            try:
                figure = build_answers(first, other)
            except VarStudioError:
                continue  # neither has a word yet
            panels = "".join(words_panel(p) for p in _panels(figure) if isinstance(p, WordsPanel))
            notes = "".join(f"<p>{escape(note)}</p>" for note in figure.notes)
            blocks.append(
                f'<section class="answers"><h3>{escape(figure.title)}</h3>{panels}'
                f'<div class="notes">{notes}</div></section>'
            )
    return f'<h2 id="answers">Answers side by side</h2>{"".join(blocks)}' if blocks else ""


def _run_section(
    name: str,
    number: int,
    run: Recording,
    cards: _Cards,
    body: str,
    positions: Sequence[int],
    left_out: int,
) -> str:
    shown = set(positions)
    words = []
    for token in run.tokens:
        if token.position in shown or (token.role == "generated" and not token.special):
            text = escape(bare(token.text))
            if token.position in shown:
                text = f'<a href="#r{number}-t{token.position}">{text}</a>'
            words.append(text)
    state = "" if run.finished else " (unfinished)"
    more = f"<p>{left_out} more tokens of the answer are not on this page.</p>" if left_out else ""
    question = question_of(run)
    asked = f'<p class="question"><b>Question</b> {escape(question)}</p>' if question else ""
    histogram, shown_with = "", ""
    # Which token is read plays no part in these: the first one with a row will do.
    row = next((p for p in positions if run.query_of(p) is not None), None)
    if row is not None:
        reading = cards.reading(row)
        shown_with = acts_line(reading)
        figure = build("histogram", reading)
        histogram = "".join(
            histogram_panel(p, figure.title)
            for p in _panels(figure)
            if isinstance(p, HistogramPanel)
        )
    return (
        f'<section class="run" id="r{number}" aria-labelledby="r{number}-h">'
        f'<h2 id="r{number}-h">{escape(name)}{state}</h2>'
        f"{asked}"
        f'<p class="strip" aria-label="Answer, word by word"><b>Answer</b> {" ".join(words)}</p>'
        f"{more}{body}{histogram}{_facts(run, shown_with)}</section>"
    )


def _ledger(reading: Reading) -> str:
    lines = "".join(
        f'<tr><th scope="row">{escape(account.name)}</th><td>{_percent(account.before)}</td>'
        f"<td>{_percent(account.after)}</td></tr>"
        for account in reading.ledger.accounts
    )
    return (
        '<table class="ledger"><caption>Where the attention lies (% of the row)</caption>'
        '<thead><tr><td></td><th scope="col">before</th><th scope="col">after</th></tr></thead>'
        f"<tbody>{lines}</tbody></table>"
    )


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * abs(share):.1f}"


def _facts(run: Recording, shown_with: str) -> str:
    """Settings and provenance."""
    acts = interventions_line(run.interventions) or "none (baseline)"
    facts: dict[str, object] = {
        "Interventions": acts,
        "Shown with": shown_with,
        "Generation": ", ".join(f"{k} = {v}" for k, v in run.generation.model_dump().items()),
        "Model": run.provenance.get("model") or checkpoint_name(run),
        "Size": f"{run.n_layers} layers × {run.n_heads} heads, D = {run.hidden_size}",
        "Sink dimensions": ", ".join(map(str, run.sink_dims)) or "none",
        "τ of the model": f"{run.tau_default:.4g}",
        "Run": run.id,
    }
    for entry in run.image_entries:
        facts[f"Image {entry.name}"] = f"SHA-256 {entry.sha256}"
    facts["Checkpoint"] = checkpoint_name(run)
    for key in ("revision", "fingerprint", "family", "dtype", "kernel", "device", "seed"):
        facts[key.capitalize()] = run.provenance.get(key)
    found = parity(run.provenance)
    facts["Parity"] = None if found is None else found[1]
    versions = run.provenance.get("versions")
    if isinstance(versions, Mapping):
        facts["Versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"<details><summary>Settings and provenance</summary><dl>{lines}</dl></details>"


def _panels(figure: Figure) -> list[Any]:
    return [panel for row in figure.rows for panel in row]


def _asset(name: str) -> str:
    return assets.resource("gallery", name).read_text(encoding="utf-8")


def _policy() -> str:
    """What the page may do: show what it brings along, run its own script, and nothing else."""
    digest = hashlib.sha256(_asset("gallery.js").encode("utf-8")).digest()
    script = f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {script}; "
        "base-uri 'none'; form-action 'none'"
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{csp}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="VAR Studio">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>{head}{answers}{runs}</main>
<script>{script}</script>
</body>
</html>
"""
