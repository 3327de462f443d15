"""``var-studio export``: a figure of a session, with no model."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from var_studio.analysis.choice import AmbiguousTokenError, find_token
from var_studio.analysis.focus import RowOf
from var_studio.cli.export_options import check_used, tell_ignored
from var_studio.cli.interventions import changed_settings
from var_studio.errors import VarStudioError
from var_studio.figures.batch import tokens_named
from var_studio.figures.build import MapOptions
from var_studio.figures.export import export_figure, files_of
from var_studio.figures.names import BY_KEY, key_of
from var_studio.figures.page import page_of
from var_studio.figures.two_answers import ANSWERS, check_match
from var_studio.recording.interventions import method_settings
from var_studio.recording.recording import Recording
from var_studio.recording.session import Session, open_session
from var_studio.recording.settings import Redistribution

Scale = Literal["robust", "full", "non-sinks"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for. `options` are those of a map; `image` counts from 1, `out` is
    a file, or the folder of a batch. `given`: the options that were named at all."""

    session: Path
    out: Path
    figures: Sequence[str] = ()
    run: str | None = None
    runs: str | None = None
    compare_with: str | None = None
    token: str | None = None
    tokens: str | None = None
    row_of: RowOf = "query"
    layer: int | None = None
    layers: str | None = None
    head: int | None = None
    heads: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    settings_file: Path | None = None
    width: str = "two-columns"
    style: Path | None = None
    dpi: int = 300
    formats: Sequence[str] = ()
    with_data: bool = False
    image: int | None = None
    view: int | None = None
    look: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    as_json: bool = False
    given: Collection[str] = ()

    @property
    def several(self) -> bool:
        """Whether it is a batch, whose `out` is a folder."""
        tokens = None if all(gathers(figure) for figure in self.figures) else self.tokens
        many = (self.runs, tokens, self.layers, self.heads)
        return len(self.figures) > 1 or any(each is not None for each in many)

    @property
    def options(self) -> MapOptions:
        image = 0 if self.image is None else self.image - 1
        return MapOptions(image=image, view=self.view, **self.look)

    def composed(self, session: Session, run: Recording, figure: str) -> dict[str, Any]:
        """What only composed figures are asked: their tokens and the session's other runs."""
        asked: dict[str, Any] = {}
        if gathers(figure):
            if self.tokens is not None:
                words = _KNOWN_TOKENS.get(self.tokens.strip())
                asked["tokens"] = words or tokens_named(run, self.tokens)
            elif self.token is not None:
                asked["tokens"] = [position_of(run, self.token)]
        known = BY_KEY.get(key_of(figure))
        if known is not None and known.runs and figure != ANSWERS:
            asked["others"] = [other for other in session.runs if other.id != run.id]
        return asked

    def settings(self, run: Recording) -> Redistribution | None:
        return changed_settings(
            method_settings(run.interventions), self.settings_file, self.changes
        )


_KNOWN_TOKENS: Mapping[str, str] = {"all": "all", "generated": "answer"}


def gathers(figure: str) -> bool:
    """Whether a figure shows several tokens at once."""
    known = BY_KEY.get(key_of(figure))
    return known is not None and known.many


def pictured(figure: str) -> bool:
    """Whether a figure shows maps, and so has options of a map."""
    known = BY_KEY.get(key_of(figure))
    return known is not None and known.pictures


def look_of(
    scale: Scale, smooth: bool, gamma: float, colours: str, opacity: float, hide_sinks: bool
) -> dict[str, Any]:
    """How a map looks, as fields of `MapOptions`."""
    return {
        "smooth": smooth,
        "gamma": gamma,
        "colour_map": colours,
        "opacity": opacity,
        "bare_sinks": hide_sinks,
        "robust": scale == "robust",
        "hide_sinks": scale != "full",
    }


def export(asked: Asked) -> None:
    """Draw one figure, or with several of anything a batch; print the files written. Raises
    VarStudioError."""
    if not asked.figures:
        raise VarStudioError("No figure is named.", "Add --figure, --maps or --masks.")
    check_used(asked.given, asked.figures)
    check_image(asked)
    try:
        page_of(asked.width)
    except VarStudioError as error:
        raise VarStudioError(f"--width: {error.what}", error.next_step) from error
    if asked.several:
        from var_studio.cli.batch import export_several

        export_several(asked)
        return
    if asked.formats:
        raise VarStudioError(
            "--format is that of a batch; one figure has that of its name.",
            "Leave it out, or name --tokens, --layers, --heads or --runs.",
        )
    figure = asked.figures[0]
    keep_existing(files_of(asked.out, asked.with_data), asked.overwrite)
    with open_session(asked.session) as opened:
        chosen = find_run(opened, asked.run)
        other, forced = second_run(opened, chosen, asked.compare_with, figure)
        written = export_figure(
            chosen,
            figure,
            asked.out,
            token=None if asked.token is None else position_of(chosen, asked.token),
            row_of=asked.row_of,
            layer=asked.layer,
            head=asked.head,
            settings=asked.settings(chosen),
            width=asked.width,
            style=asked.style,
            dpi=asked.dpi,
            with_data=asked.with_data,
            compare_with=other,
            forced=forced,
            options=asked.options if pictured(figure) else None,
            **asked.composed(opened, chosen, figure),
        )
    tell(written, asked.as_json)
    tell_ignored(asked.style)


def check_image(asked: Asked) -> None:
    """Refuse two names of one image."""
    if asked.image is not None and asked.view is not None:
        raise VarStudioError("--view names an image already.", "Leave out --image.")


def keep_existing(files: Iterable[Path], overwrite: bool) -> None:
    """Raise VarStudioError where files exist that are not to be replaced."""
    there = [str(path) for path in files if path.exists()]
    if there and not overwrite:
        verb = "exists" if len(there) == 1 else "exist"
        shown = ", ".join(there[:4]) + (f" and {len(there) - 4} more" if len(there) > 4 else "")
        raise VarStudioError(f"{shown} {verb}.", "Choose another name, or add --overwrite.")


def tell(written: Sequence[Path], as_json: bool) -> None:
    """Print the files written."""
    if as_json:
        print(json.dumps({"files": [str(path) for path in written]}, indent=2))
        return
    for path in written:
        print(path)


def second_run(
    session: Session, run: Recording, name: str | None, figure: str
) -> tuple[Recording | None, Recording | None]:
    """The run to compare with, and for answers the one that scores them, if there are such."""
    from var_studio.cli.compare import compared_in

    if figure != ANSWERS:
        return (None if name is None else find_run(session, name)), None
    if name is not None:
        check_match(run, find_run(session, name))
    if run.interventions:
        other = None if name is None else find_run(session, name)
        if other is None or other.interventions:
            return other, None
        run, name = other, run.name
    _, found = compared_in(session, run.name, name)
    return found[0].free or found[0].forced, found[0].forced


def find_run(session: Session, name: str | None) -> Recording:
    """A run by name, else by number; None: the first. Raises VarStudioError."""
    if not len(session.runs):
        raise VarStudioError("The session holds no run.", "Record one first.")
    if name is None:
        return session.runs[0]
    if name not in session.runs and re.fullmatch(r"-?\d+", name):
        return session.runs[int(name)]
    return session.runs[name]


def position_of(run: Recording, word: str) -> int:
    """Position of "12" (itself), "g3" (generated token 3, from 0; g-1 the last) or "cat" (the token
    of that text). Raises VarStudioError for a token that the run does not have.
    """
    word = word.strip()
    try:
        return find_token(run, int(word) if re.fullmatch(r"-?\d+", word) else word)
    except AmbiguousTokenError as error:
        raise VarStudioError(error.what, _to_type(run, error.positions)) from error


def _to_type(run: Recording, positions: Sequence[int], most: int = 8) -> str:
    """What to type in place of a word that is several tokens: the first is meant as an example."""
    answer = run.generated_positions.tolist()
    names = [f"g{answer.index(p)}" if p in answer else str(p) for p in positions]
    listed = [
        str(p) if name == str(p) else f"{p} ({name})"
        for p, name in zip(positions[:most], names, strict=False)
    ]
    more = f" and {len(positions) - most} more" if len(positions) > most else ""
    return f"Positions {', '.join(listed)}{more}: use --token {names[0]}."
