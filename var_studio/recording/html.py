"""How a notebook shows sessions, recordings and tokens: HTML, in the colours of the page.

All text is escaped: answers and file names may hold anything.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from var_studio.errors import VarStudioError

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording
    from var_studio.recording.runs import Runs
    from var_studio.recording.session import Session
    from var_studio.recording.tokens import Token

_MOST_TOKENS: Final = 300
_MOST_LETTERS: Final = 600
_PICTURE: Final = (160, 160)
# No colour of its own but a grey that is seen on white and on black.
_CELL: Final = "text-align:left;vertical-align:top;padding:2px 10px 2px 0;border:0"
_LINE: Final = "border-bottom:1px solid rgba(128,128,128,.4)"


def session_html(session: Session) -> str:
    """What a session holds: notes, and its runs in a table."""
    title = f"Session {session.path or '(not saved)'}"
    notes = f"<p>{_text(session.notes)}</p>" if session.notes else ""
    return f"<div><b>{escape(title)}</b>{notes}{runs_html(session.runs)}</div>"


def runs_html(runs: Runs) -> str:
    """Runs in a table, with the names they go by."""
    rows = [
        (
            f"[{number}] {name}",
            " + ".join(each.kind for each in run.interventions) or "—",
            _question(run),
            run.text,
            f"{run.length} tokens, {run.n_layers} × {run.n_heads} heads",
        )
        for number, (name, run) in enumerate(zip(runs.names, runs, strict=True))
    ]
    return _table(("run", "interventions", "question", "answer", "size"), rows)


def recording_html(run: Recording) -> str:
    """What a run is, with its first picture."""
    dims = ", ".join(map(str, run.sink_dims)) or "none"
    model = run.provenance.get("model") or run.provenance.get("checkpoint") or "unknown"
    state = run.reason if run.finished else "unfinished"
    rows = [
        ("question", _question(run)),
        ("answer", run.text),
        ("model", f"{model}: {run.n_layers} layers × {run.n_heads} heads, D = {run.hidden_size}"),
        ("tokens", f"{run.length}, {len(run.query_positions)} of them with a row; {state}"),
        ("sinks", f"dimensions {dims}, τ = {run.tau_default:.4g}"),
    ]
    if run.interventions:
        rows.append(("changed", " + ".join(each.kind for each in run.interventions)))
    return (
        f"<div><b>Recording {_text(run.name)}</b>"
        f'<div style="display:flex;gap:12px">{_picture(run)}{_table((), rows)}</div></div>'
    )


def tokens_html(tokens: Sequence[Token]) -> str:
    """Position, role, text and log-probability; a stretch of image tokens is one line."""
    rows: list[tuple[str, ...]] = []
    stretch: list[Token] = []
    for token in tokens:
        if len(rows) >= _MOST_TOKENS:
            break
        if token.role == "visual":
            stretch.append(token)
            continue
        rows += _stretch(stretch)
        stretch = []
        chance = "" if token.logprob is None else f"{token.logprob:.3f}"
        rows.append((str(token.position), token.role, repr(token.text), chance))
    rows += _stretch(stretch)
    more = len(tokens) > 0 and rows[-1][0].rpartition("–")[2] != str(tokens[-1].position)
    left = "<p>… and more</p>" if more else ""
    head = ("position", "role", "text", "log-probability (nats)")
    return f"<div>{_table(head, rows)}{left}</div>"


def _stretch(tokens: Sequence[Token]) -> list[tuple[str, ...]]:
    if not tokens:
        return []
    first, last = tokens[0].position, tokens[-1].position
    return [(f"{first}–{last}", "visual", f"{len(tokens)} image tokens", "")]


def _question(run: Recording) -> str:
    return str(run.provenance.get("prompt") or "")


def _text(text: str) -> str:
    short = text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"
    return escape(short).replace("\n", "<br>")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = []
    if head:
        cells = "".join(f'<th style="{_CELL};{_LINE}">{escape(cell)}</th>' for cell in head)
        lines.append(f"<tr>{cells}</tr>")
    for row in rows:
        cells = "".join(f'<td style="{_CELL}">{_text(cell)}</td>' for cell in row)
        lines.append(f'<tr style="background:none">{cells}</tr>')
    # A page in quirks mode gives tables colours and sizes of their own.
    style = "border-collapse:collapse;color:inherit;font-size:inherit"
    return f'<table style="{style}">{"".join(lines)}</table>'


def _picture(run: Recording) -> str:
    """The first image, small; nothing where there is none or it was left out."""
    if not run.image_entries:
        return ""
    try:
        image = run.image(0).copy()
    except VarStudioError:
        return ""
    image.thumbnail(_PICTURE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    name = escape(run.image_entries[0].name, quote=True)
    return f'<img alt="{name}" src="data:image/png;base64,{encoded}" style="align-self:start">'
