"""What can go wrong while a model runs."""

from __future__ import annotations

from var_studio.errors import VarStudioError


class NonFiniteError(VarStudioError):
    """The model's logits are NaN or infinite."""


class SettingsError(VarStudioError):
    """An intervention that does not fit the model."""


class RunCancelled(Exception):
    """Raised inside a forward pass when the caller asked to stop. Never leaves the engine."""
