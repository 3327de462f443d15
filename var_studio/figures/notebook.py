"""A function for each figure, that returns a matplotlib Figure: `vs.figures.map(run, ...)`."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from var_studio.analysis.choice import find_token
from var_studio.figures.build import COMPOSED, FIGURES, MapOptions
from var_studio.figures.drawing import changed_options
from var_studio.figures.export import draw_figure
from var_studio.figures.names import BY_KEY, FIGURE_NAMES, FigureName, key_of
from var_studio.figures.page import FigureError, Page, page_of, styled
from var_studio.figures.render import render
from var_studio.figures.two_answers import ANSWERS, build_answers
from var_studio.recording.recording import Recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

_SHOWN_DPI = 110

_CHOICES = """
    `token`, and each of `tokens`: a position, a text, "g0", or ("the", 1) for the second such
    token; `layer`, `head`, `heads`, `aggregate`, `row_of` and `settings` as in
    `analysis.choice.read`; `options`: `vs.MapOptions`; `compare_with`: a second run; `others`: the
    other runs of the session; `width`: "column", "two-columns", "slide" or a length ("88mm");
    `style`: a matplotlib style file. A choice that changes nothing in the figure is refused. Needs
    no model. To write a file use `vs.export_figure`, which
    embeds fonts. Returns a matplotlib Figure. Raises VarStudioError.
"""


@cache
def function(name: str) -> Callable[..., Drawing]:
    """What `vs.figures.NAME` is."""
    key = key_of(name)
    builder = {"answers": build_answers, **FIGURES, **COMPOSED}[key]

    def draw(run: Recording, **choices: Any) -> Drawing:
        return figure(key, run, **choices)

    draw.__name__ = draw.__qualname__ = name
    draw.__module__ = "var_studio.figures"
    draw.__doc__ = (
        f"{BY_KEY[key].title}. {inspect.cleandoc(builder.__doc__ or '')}\n\n"
        f"{inspect.cleandoc(_CHOICES)}"
    )
    run = inspect.Parameter("run", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Recording)
    draw.__signature__ = inspect.Signature([run, *_choices().values()])  # type: ignore[attr-defined]
    return draw


def figure(name: str, run: Recording, **choices: Any) -> Drawing:
    """Draw a figure by name as a matplotlib Figure; `choices` as in `export.draw_figure`.

    Raises VarStudioError, also for a choice that changes nothing in the figure; TypeError for one
    that there is not.
    """
    unknown = [choice for choice in choices if choice not in _choices()]
    if unknown:
        raise TypeError(
            f"A figure has no choice {unknown[0]!r}. There are {', '.join(_choices())}."
        )
    for choice, value in choices.items():
        _check_used(name, choice, value)
    if choices.get("tokens") is not None and isinstance(run, Recording):
        choices["tokens"] = _positions(run, choices["tokens"])
    drawn = draw_figure(run, name, **choices)
    page = page_of(choices.get("width", "two-columns"), choices.get("style"))
    drawing = render(drawn.figure, page)
    # matplotlib shows a Figure in a notebook only once pyplot has been imported.
    drawing._repr_png_ = partial(_png, drawing, page)  # type: ignore[attr-defined]
    return drawing


def _check_used(figure: str, choice: str, value: Any) -> None:
    """Refuse what changes nothing in the figure, as the command line does. Raises FigureError."""
    default = _choices()[choice].default
    if value is default or (isinstance(value, str) and value == default) or figure not in BY_KEY:
        return
    users = [name.key for name in FIGURE_NAMES if _uses(name, choice)]
    if figure in users and isinstance(value, MapOptions):
        for part, named in _LOOK.items():
            if part in changed_options(value) and not BY_KEY[figure].uses(named):
                choice = f"options.{part}"
                users = [name.key for name in FIGURE_NAMES if name.uses(named)]
                break
    if figure not in users:
        raise FigureError(
            f"{choice} changes nothing in {figure}.",
            f"Leave it out; it is used by {', '.join(users)}.",
        )


def _uses(figure: FigureName, choice: str) -> bool:
    if choice == "options":
        return figure.pictures
    if choice == "tokens":
        return figure.many
    if choice == "others":
        return figure.runs and figure.key != ANSWERS
    if choice == "forced":
        return figure.key == ANSWERS
    if choice in ("heads", "aggregate"):
        return figure.uses("head") and (choice == "heads" or figure.key not in _MEAN)
    return choice in ("width", "style") or figure.uses("row" if choice == "row_of" else choice)


_MEAN = ("heads", "contribution", "ledger")
"""Figures of heads in which each has its place, or of their mean whatever the maps are of."""
_LOOK = {
    "robust": "scale",
    "hide_sinks": "scale",
    "gamma": "gamma",
    "colour_map": "colours",
    "opacity": "opacity",
    "bare_sinks": "hide_sinks",
    "smooth": "smooth",
    "image": "image",
    "view": "view",
    "quantity": "quantity",
}
"""Fields of `MapOptions`, and what the table of figures calls them."""


def _positions(run: Recording, tokens: Any) -> Any:
    """Positions of tokens named one by one; "all" and "answer" stay."""
    if isinstance(tokens, str) and tokens in ("all", "answer"):
        return tokens
    if isinstance(tokens, str) or not isinstance(tokens, Iterable):
        return tokens  # which is refused
    return [find_token(run, token) for token in tokens]


@cache
def _choices() -> dict[str, inspect.Parameter]:
    """What can be chosen, by name."""
    return {
        name: parameter
        for name, parameter in inspect.signature(draw_figure).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _png(drawing: Drawing, page: Page) -> bytes:
    buffer = io.BytesIO()
    with styled(page):
        drawing.savefig(buffer, format="png", dpi=_SHOWN_DPI)
    return buffer.getvalue()
