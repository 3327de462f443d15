"""What figures there are: their names, what a reader calls them, what each is made of.

Nothing is imported here, so that a window or a command can list figures before it draws one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class FigureName:
    """`key` is what a program calls it. `of`: what it is another figure for, of token, layer and
    head. `many`: it shows several tokens of a run. `runs`: it looks at the other runs of a session.
    `pictures`: it shows a map, and so has `MapOptions`. `like`: further names, after the paper's
    figures.
    """

    key: str
    title: str
    of: tuple[str, ...] = ("token", "layer", "head")
    many: bool = False
    runs: bool = False
    pictures: bool = False
    like: tuple[str, ...] = ()


PANELS: Final = (
    FigureName("map", "Map on the picture", pictures=True),
    FigureName("answers", "Two answers", of=(), runs=True),
    FigureName("heads", "Heads", of=("token",)),
    FigureName("histogram", "φ histogram", of=("layer",)),
    FigureName("scatter", "φ × α (Fig. 3a)", like=("fig3a",)),
    FigureName("head_scatter", "r × visual mass", of=("token",)),
    FigureName("layers", "Layers (Fig. 8)", of=(), like=("fig8",)),
    FigureName("hidden", "Hidden state (Fig. 2)"),
    FigureName("contribution", "Contribution of one row"),
    FigureName("ledger", "Ledger"),
    FigureName("shares", "Image-centric share", of=()),
)
"""One panel of the window each."""

COMPOSED: Final = (
    FigureName(
        "maps", "Maps of words (Fig. 1)", ("layer", "head"), many=True, pictures=True,
        like=("fig1",),
    ),
    FigureName(
        "many_tokens", "Maps of all words (Fig. 13)", ("layer", "head"), many=True, pictures=True,
        like=("fig13",),
    ),
    FigureName(
        "without_sinks", "With and without sinks (Fig. 3d)", ("layer", "head"), many=True,
        pictures=True, like=("fig3d",),
    ),
    FigureName(
        "before_after", "Before and after, answers (Fig. 6)", ("layer", "head"), many=True,
        runs=True, pictures=True, like=("fig6",),
    ),
    FigureName(
        "sorted_heads", "Heads sorted by r (Fig. 4)", ("token",), pictures=True, like=("fig4",)
    ),
    FigureName(
        "hidden_tokens", "Hidden states of tokens (Fig. 2, 7)", many=True, pictures=True,
        like=("fig2", "fig7"),
    ),
    FigureName("text_shares", "Share per word, as text (Fig. 10)", (), many=True, like=("fig10",)),
    FigureName(
        "contribution_layers", "Contribution of sinks, all rows (Fig. 3c)", (), like=("fig3c",)
    ),
    FigureName("knockout", "Sinks knocked out (Fig. 3b)", (), runs=True, like=("fig3b",)),
    FigureName("next_token", "Next token", ("token",), runs=True),
)  # fmt: skip
"""Several panels put together, most in a layout of the paper."""

FIGURE_NAMES: Final = (*PANELS, *COMPOSED)
BY_KEY: Final = {name.key: name for name in FIGURE_NAMES}
LIKE: Final = {other: name.key for name in FIGURE_NAMES for other in name.like}
"""The paper's figures -> ours."""


def key_of(name: str) -> str:
    """The key of a figure that was named by it, or after one of the paper's."""
    return LIKE.get(name, name)
