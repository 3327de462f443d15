"""Which options of ``var-studio export`` play a part in what is drawn; the others are refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from var_studio.cli.terminal import complain
from var_studio.errors import VarStudioError
from var_studio.figures.names import BY_KEY, FIGURE_NAMES, key_of

_CHOICES: Final = (
    *(c for name in FIGURE_NAMES for c in (*name.of, *name.method, *name.look, *name.also)),
    *("tokens", "layers", "heads", "row", "settings"),
)

_METHOD: Final = ("tau", "rho", "p", "mass_min", "convention", "settings")
NUMBERS: Final[Mapping[str, Collection[str]]] = {
    "--maps": ("token", "tokens", "row", "layer", "layers", "head", "heads", "quantity", *_METHOD),
    "--masks": ("layer", "layers", "image", "view", "tau", "convention", "settings"),
}
"""What is written in place of figures, and the choices that it takes."""


def check_used(given: Collection[str], figures: Sequence[str]) -> None:
    """Refuse a choice that none of these figures uses; "--maps" and "--masks" are such too.

    `given`: options by name. Raises VarStudioError that tells who uses the first of them.
    """
    for choice in dict.fromkeys(_CHOICES):
        if choice not in given or any(_uses(figure, choice) for figure in figures):
            continue
        users = [name.key for name in FIGURE_NAMES if name.uses(choice)]
        users += [name for name, choices in NUMBERS.items() if choice in choices]
        option = f"--{choice.replace('_', '-')}"
        asked = " or ".join(figures)
        raise VarStudioError(
            f"{option} changes nothing in {asked}.",
            f"Leave it out; it is used by {_listed(users)}.",
        )


def tell_ignored(style: Path | None) -> None:
    """Say on stderr what of a style file no figure takes up."""
    from var_studio.figures.page import ignored_line

    line = ignored_line(style)
    if line:
        complain(line)


def _uses(figure: str, choice: str) -> bool:
    if figure in NUMBERS:
        return choice in NUMBERS[figure]
    return BY_KEY[key_of(figure)].uses(choice)


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
