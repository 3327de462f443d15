"""What figures there are: their names, what a reader calls them, what each is made of.

Nothing is imported here, so that a window or a command can list figures before it draws one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_SINKS: Final = ("tau", "convention")
_HEADS: Final = (*_SINKS, "rho", "mass_min")
_METHOD: Final = (*_HEADS, "p")
_LOOK: Final = (
    "scale", "gamma", "colours", "opacity", "hide_sinks", "smooth", "image", "view",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FigureName:
    """`key` is what a program calls it. `of`: what it is another figure for, of token, layer and
    head. `many`: it shows several tokens of a run. `runs`: it looks at the other runs of a session.
    `method`: the settings of the method that it shows or goes by. `look`: what of a map's look can
    be chosen; empty: it shows no map. `also`: further choices it takes. `like`: further names,
    after the paper's figures. `row`: whether it looks at the attention row of its token.
    """

    key: str
    title: str
    of: tuple[str, ...] = ("token", "layer", "head")
    many: bool = False
    runs: bool = False
    method: tuple[str, ...] = _METHOD
    look: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    row: bool = True

    @property
    def pictures(self) -> bool:
        """Whether it shows a map, and so has `MapOptions`."""
        return bool(self.look)

    def uses(self, choice: str) -> bool:
        """Whether a choice can change the figure; named as the options of `var-studio export`."""
        if choice in ("layers", "heads"):
            return choice[:-1] in self.of
        if choice in ("token", "tokens"):
            return self.many or "token" in self.of
        if choice == "row":
            return self.row and "token" in self.of
        if choice == "settings":
            return bool(self.method)
        return choice in (*self.of, *self.method, *self.look, *self.also)


PANELS: Final = (
    FigureName("map", "Map on the picture", look=_LOOK, also=("quantity", "compare_with")),
    FigureName("answers", "Two answers", of=(), runs=True, method=(), also=("compare_with",)),
    # A head that is named is dotted.
    FigureName("heads", "Heads", of=("token",), method=_HEADS, also=("layer", "head")),
    FigureName("histogram", "φ histogram", of=("layer",), method=_SINKS),
    FigureName("scatter", "φ × α (Fig. 3a)", method=_SINKS, like=("fig3a",)),
    FigureName("head_scatter", "r × visual mass", of=("token",), method=_HEADS),
    FigureName("layers", "Layers (Fig. 8)", of=(), method=_SINKS, like=("fig8",)),
    FigureName("hidden", "Hidden state (Fig. 2)", method=_SINKS),
    FigureName("contribution", "Contribution of one row", method=_SINKS),
    FigureName("ledger", "Ledger"),
    FigureName("shares", "Image-centric share", of=(), method=_HEADS),
)
"""One panel of the window each."""

COMPOSED: Final = (
    FigureName(
        "maps", "Maps of words (Fig. 1)", ("layer", "head"), many=True, method=_HEADS, look=_LOOK,
        like=("fig1",),
    ),
    FigureName(
        "many_tokens", "Maps of all words (Fig. 13)", ("layer", "head"), many=True, method=_SINKS,
        look=_LOOK, like=("fig13",),
    ),
    FigureName(
        "without_sinks", "With and without sinks (Fig. 3d)", ("layer", "head"), many=True,
        method=_HEADS, look=_LOOK, like=("fig3d",),
    ),
    FigureName(
        "before_after", "Before and after, answers (Fig. 6)", ("layer", "head"), many=True,
        runs=True, look=_LOOK, also=("compare_with",), like=("fig6",),
    ),
    FigureName(
        "sorted_heads", "Heads sorted by r (Fig. 4)", ("token",), method=_HEADS,
        look=("gamma", "colours", "opacity", "smooth", "image", "view"), like=("fig4",)
    ),
    FigureName(
        "hidden_tokens", "Hidden states of tokens (Fig. 2, 7)", many=True, method=_SINKS,
        look=("scale", "colours", "opacity", "smooth", "image", "view"), like=("fig2", "fig7"),
    ),
    FigureName(
        "text_shares", "Share per word, as text (Fig. 10)", (), many=True, method=_HEADS,
        like=("fig10",),
    ),
    FigureName(
        "contribution_layers", "Contribution of sinks, all rows (Fig. 3c)", (), method=_SINKS,
        like=("fig3c",),
    ),
    FigureName(
        "knockout", "Sinks knocked out (Fig. 3b)", (), runs=True, method=(), like=("fig3b",)
    ),
    FigureName(
        "next_token", "Next token", ("token",), runs=True, method=(), also=("compare_with",),
        row=False,
    ),
)  # fmt: skip
"""Several panels put together, most in a layout of the paper."""

FIGURE_NAMES: Final = (*PANELS, *COMPOSED)
BY_KEY: Final = {name.key: name for name in FIGURE_NAMES}
LIKE: Final = {other: name.key for name in FIGURE_NAMES for other in name.like}
"""The paper's figures -> ours."""


def key_of(name: str) -> str:
    """The key of a figure that was named by it, or after one of the paper's."""
    return LIKE.get(name, name)
