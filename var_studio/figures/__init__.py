"""What to draw as plain data, and how it is drawn; and for a notebook, a function for each figure:

    vs.figures.map(run, token="red", layer=3, head=5)     # a matplotlib Figure
    vs.figures.maps(run, tokens=["red", "circle"])        # as in the paper's Fig. 1

Their names are those of `names.FIGURE_NAMES`, and `fig1`, `fig3a` and so on after the paper's.
Nothing is imported here: the window says things in the words of figures before it draws one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any


class _Figures(ModuleType):
    """This package, with its figures as functions; no module here has a figure's name."""

    def __getattr__(self, name: str) -> Any:
        if _is_figure(name):
            return _function(name)
        raise AttributeError(
            f"There is no figure {name!r}. There are {', '.join(_figures())}."
            if not name.startswith("_")
            else f"module {__name__!r} has no attribute {name!r}"
        )

    def __dir__(self) -> Iterable[str]:
        """The figures; modules and what they import are of no use in a notebook."""
        return sorted(_figures())


def _figures() -> list[str]:
    from var_studio.figures.names import BY_KEY, LIKE

    return [*BY_KEY, *LIKE]


def _is_figure(name: str) -> bool:
    return not name.startswith("_") and name in _figures()


def _function(name: str) -> Any:
    from var_studio.figures.notebook import function

    return function(name)


sys.modules[__name__].__class__ = _Figures
