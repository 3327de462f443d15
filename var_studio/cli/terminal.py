"""What the command line says and how: one line for an error, a line that moves for progress."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import typer
from pydantic import ValidationError

from var_studio.errors import VarStudioError
from var_studio.recording.content import size_in_words
from var_studio.recording.refusals import BESIDE_OTHERS
from var_studio.recording.settings import Settings

T = TypeVar("T", bound=Settings)


def complain(what: str) -> int:
    """Say one line on stderr; return the exit code of bad input."""
    line = " ".join(what.split())
    print(f"var-studio: {line}", file=sys.stderr, flush=True)
    return 2


def usage_error(error: Exception) -> str | None:
    """What a Typer or Click error says; None for any other error."""
    # Typer has its own copy of Click since 0.26; both name this base class alike.
    names = {cls.__name__ for cls in type(error).__mro__}
    if "ClickException" in names:
        said: str = error.format_message()  # type: ignore[attr-defined]
        end = "" if said.endswith((".", "!", "?")) else "."
        return f"{said}{end} Try --help."
    return "Stopped." if "Abort" in names else None


class Progress:
    """Progress on stderr: one line rewritten on a terminal, a line for each stage elsewhere."""

    def __init__(self) -> None:
        self._moves = sys.stderr.isatty()
        self._stage = ""
        self._shown = False

    def say(self, stage: str, detail: str = "") -> None:
        """Tell the stage; `detail` changes while it lasts and is shown on a terminal only."""
        if self._moves:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{f'{stage} {detail}'[:width]}", end="", file=sys.stderr, flush=True)
            self._shown = True
        elif stage != self._stage:
            print(stage, file=sys.stderr, flush=True)
        self._stage = stage

    def saving(self, out: Path) -> Callable[[int, int], None]:
        """What tells how many bytes of a file are written."""

        def tell(done: int, total: int) -> None:
            self.say(f"Saving {out.name}", f"{size_in_words(done)} of {size_in_words(total)}")

        return tell

    def end(self) -> None:
        """Take the moving line away."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._shown = False
        self._stage = ""


def settings_of(
    kind: type[T], given: Mapping[str, Any], options: Mapping[str, str] | None = None
) -> T:
    """Settings from options; those that are None keep their default.

    `options`: the options of fields that are called otherwise. Raises VarStudioError naming the
    option that is out of range.
    """
    try:
        return kind.model_validate({n: value for n, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = _option("-".join(str(part) for part in first["loc"][:1]), options)
        if first["type"] == BESIDE_OTHERS:
            raise VarStudioError(_beside_others(option, first, options)) from error
        said = first["msg"].removeprefix("Input should be ")
        raise VarStudioError(f"{option} is {first['input']}: it must be {said}.") from error


def _option(field: str, options: Mapping[str, str] | None) -> str:
    return "--" + (options or {}).get(field, field).replace("_", "-")


def _beside_others(option: str, error: Any, options: Mapping[str, str] | None) -> str:
    """What is wrong with an option beside another one."""
    context = error["ctx"]
    if "choice" not in context:
        return f"{option} is {error['input']}. {error['msg']}."
    other = f"{_option(context['choice'], options)} {context['value'].strip(chr(39))}"
    return f"{option} goes with {other} alone." if error["input"] else f"{other} needs {option}."


def number(value: float) -> float | str:
    """A number as JSON takes it: "-inf" for the log-probability of a forbidden token."""
    return value if math.isfinite(value) else str(value)


def option_help(kind: type[Settings], name: str) -> str:
    """The help of an option is the description of the setting, and its default."""
    field = kind.model_fields[name]
    empty = (field.description or "").partition(" Empty: ")[2]
    default = f"{field.default:g}" if isinstance(field.default, float) else field.default
    shown = empty.rstrip(".") if field.default is None else default
    return f"{field.title}: {described(kind, name)} [default: {shown}]"


def described(kind: type[Settings], name: str) -> str:
    """The description of a setting, without what an empty one means."""
    return (kind.model_fields[name].description or "").partition(" Empty: ")[0]


def examples(*lines: str) -> str:
    """The end of a help page: commands to copy, each on a line of its own."""
    # A backspace alone on a line tells Click to keep the lines of a paragraph.
    return "Examples:\n\n\b\n" + "\n".join(f"  {line}" for line in lines) + "\n\n"


def stopped() -> typer.Exit:
    """The end after Ctrl-C."""
    return typer.Exit(130)


def incomplete() -> typer.Exit:
    """The end of a batch of which some figures could not be drawn, and the others are."""
    return typer.Exit(3)
