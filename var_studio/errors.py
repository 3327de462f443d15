"""The base of every error a user of VAR Studio can cause or meet."""

from __future__ import annotations


class VarStudioError(Exception):
    """Something a caller can expect; the window and the command line show ``str()`` of it.

    ``what`` says what happened and ``next_step`` what to do next, each a sentence.
    Chain the cause with ``raise ... from``: details views show it.
    """

    def __init__(self, what: str, next_step: str = "") -> None:
        # Both go to Exception so that the error survives pickling between processes.
        super().__init__(what, next_step)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what} {self.next_step}".strip()
