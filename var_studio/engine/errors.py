"""What can go wrong while a model runs."""

from __future__ import annotations

from var_studio.errors import VarStudioError
from var_studio.recording.failures import SettingsError

__all__ = ["NonFiniteError", "RunCancelled", "SettingsError"]


class NonFiniteError(VarStudioError):
    """The model's logits are NaN or infinite."""


class RunCancelled(Exception):
    """Raised inside a forward pass when the caller asked to stop. Never leaves the engine."""
