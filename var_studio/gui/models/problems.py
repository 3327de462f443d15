"""Errors of the window itself, and any other error made fit to be shown."""

from __future__ import annotations

import traceback

from var_studio.errors import VarStudioError, missing_library


class UnexpectedError(VarStudioError):
    """A defect of VAR Studio, not of the user: caught, shown, survived."""


class BusyError(VarStudioError):
    """Something was asked of the model while it was at work."""


class WontFitError(VarStudioError):
    """A model that takes more memory than there is; it can be loaded all the same."""


def as_known(error: BaseException) -> VarStudioError:
    """The error itself if it is one a user can expect, else what to install, or a wrapper that
    keeps its traceback."""
    if isinstance(error, VarStudioError):
        return error
    known = missing_library(error) or UnexpectedError(
        f"Something went wrong inside VAR Studio: {type(error).__name__}: {error}.",
        "Your recordings are kept; the details help whoever repairs it.",
    )
    known.__cause__ = error
    return known


def details(error: BaseException) -> str:
    """The chain of causes, for whoever opens a notice's details."""
    return "".join(traceback.format_exception(error)).strip()
