"""The paper's method as pure array functions, the same code for NumPy and torch.

*See What You Are Told: Visual Attention Sink in Large Multimodal Models* (ICLR 2025).

Rules that hold for every function here:

- **Arrays.** Anything ``array_api_compat`` knows; all arrays of one call come from one library
  and lie on one device, and so does the result. torch is never imported here.
- **Shapes.** ``attention`` is (..., H, Q, T): heads, queries, keys. ``visual`` (bool) is (T,) or
  (..., T), ``sink`` (bool) likewise: one mask per layer, the same for its heads and queries.
  ``selected`` (bool) is (..., H, Q). Leading axes (runs, layers) broadcast.
- **Dtypes.** Half precision is computed in float32. What *replaces* attention (redistribution,
  knockout) comes back in the dtype of ``attention``; what is *measured* (phi, masses, ratios,
  ledgers, norms) comes back in float32 at least, since a threshold on a bfloat16 number would be
  decided by its rounding. float64 stays float64.
- **Purity.** No input is changed, and no function reads a value back from the device, so all of
  them may run inside a model's attention, in every layer, without stalling an accelerator.
- **NaN.** A NaN phi is no sink; a NaN mass or ratio selects no head; a NaN row stays as it is and
  touches no other row.
- **Conventions.** ``"paper"`` (default) or ``"released-code"``: see
  :mod:`var_studio.method.conventions`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from var_studio.method.conventions import Convention

if TYPE_CHECKING:
    from var_studio.method import contribution, conventions, heads, knockout, redistribution, sinks

__all__ = [
    "Convention",
    "contribution",
    "conventions",
    "heads",
    "knockout",
    "redistribution",
    "sinks",
]


def __getattr__(name: str) -> Any:
    # Settings need the conventions alone, and are read before the window's first paint.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
