"""The command line: ``var-studio``. Results on stdout, progress on stderr.

Exit codes: 0 done; 2 what was asked cannot be done (an option, a file, a model, a disk), said in
one line on stderr; 3 some figures of a batch could not be drawn, and the others are written; 130
stopped by Ctrl-C; 1 our own fault, and of `doctor` a fault of the machine.
"""

from __future__ import annotations

import codecs
import errno
import gc
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from var_studio.cli.stopping import STOPPED, begun, say, starting
from var_studio.errors import VarStudioError, missing_library

DEBUG = "VAR_STUDIO_DEBUG"
"""Set to anything: unexpected errors show their traceback."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `arguments` None: those of the process."""
    with starting():
        return _main(list(sys.argv[1:] if arguments is None else arguments))


def _main(given: list[str]) -> int:
    _print_what_can_be_printed()
    try:
        window = _plain_window(given)
        if window is not None:
            begun()
            return open_window(*window)
        from var_studio.cli.doctor import plain_doctor

        looked = plain_doctor(given)
        if looked is not None:
            _flush()
            return looked
        from var_studio.cli.terminal import usage_error
    except KeyboardInterrupt:
        return _stopped()
    except BrokenPipeError:
        return _quiet_end()
    except VarStudioError as error:
        return _complain(str(error))
    except OSError as error:
        if not _no_room(error):
            raise
        return _unwritten(error)
    except ImportError as error:
        missing = missing_library(error)
        if missing is None:
            raise
        return _complain(str(missing))
    try:
        from var_studio.cli.commands import command

        with_code = command()(
            args=given,
            prog_name="var-studio",
            standalone_mode=False,
        )
        _flush()
        return with_code if isinstance(with_code, int) else 0
    except VarStudioError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return _stopped()
    except BrokenPipeError:
        return _quiet_end()
    except Exception as error:
        said = usage_error(error) or missing_library(error)
        if said is not None:
            return _complain(str(said))
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            return _quiet_end()
        if isinstance(error, OSError) and _no_room(error):
            return _unwritten(error)
        if os.environ.get(DEBUG):
            raise
        what = " ".join(str(error).split())
        _complain(
            f"Unexpected {type(error).__name__}: {what}. This is a bug; "
            f"run again with {DEBUG}=1 to see where."
        )
        return 1


def open_window(names: Sequence[str], demo: bool, quit_after_first_paint: bool) -> int:
    """Start the window on these files, given by path or, as desktops do, by file URL.

    Raises VarStudioError for a missing file, or where Qt is not installed.
    """
    files = [named_file(name) for name in names]
    # What delays the first paint and does nothing: collecting garbage among modules that are just
    # imported (the window collects by itself), and looking through all installed packages for
    # plug-ins of pydantic.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    collects = gc.isenabled()
    gc.disable()
    try:
        return _window()(files, demo, quit_after_first_paint)
    finally:
        if collects:
            gc.enable()


def named_file(name: str) -> Path:
    """The file of a path or a file URL. Raises VarStudioError where there is none."""
    path = Path(name)
    if name.lower().startswith("file:") and not path.exists():
        from urllib.parse import urlsplit
        from urllib.request import url2pathname

        url = urlsplit(name)
        if url.netloc.lower() not in ("", "localhost"):
            raise VarStudioError(
                f"{name} is on another machine.", "Copy the file to this one, then open it."
            )
        path = Path(url2pathname(url.path))
    try:
        there = path.exists()
    except (OSError, ValueError):  # no name that a file can have
        there = False
    if not there:
        raise VarStudioError(f"There is no file {path}.", "Check the name.")
    return path


def _window() -> Callable[[Sequence[Path], bool, bool], int]:
    try:
        from var_studio.gui.app import main as run_window
    except ImportError as error:
        missing = missing_library(error)
        if missing is None:
            raise
        # Without Qt the rest still works.
        raise VarStudioError(
            str(missing), "Or use `var-studio demo`, which needs no window."
        ) from error
    return run_window


def _plain_window(arguments: Sequence[str]) -> tuple[Sequence[str], bool, bool] | None:
    """What `open_window` needs, where the command is the window and nothing unusual is asked.

    The window is what people wait for: it does not have to import the other commands first.
    """
    if arguments and arguments[0] != "gui":
        return None
    rest = list(arguments[1:])
    flags = {"--demo": False, "--quit-after-first-paint": False}
    names = [word for word in rest if word not in flags]
    if any(word.startswith("-") or not word for word in names):
        return None
    demo, quit_after = (name in rest for name in flags)
    return names, demo, quit_after


def _print_what_can_be_printed() -> None:
    """A terminal that knows no ρ shows its code: answers and paths hold any letter at all."""
    codecs.register_error("var-studio", _bytes_or_code)
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
        elif stream.errors == "surrogateescape":  # that of the locale C
            stream.reconfigure(errors="var-studio")


def _bytes_or_code(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of a file name that are no letters as they were, a letter that is not there as code."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    at = error.start
    one = UnicodeEncodeError(error.encoding, error.object, at, at + 1, error.reason)
    try:
        return codecs.lookup_error("surrogateescape")(one)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(one)


def _flush() -> None:
    if sys.stdout is not None:  # closed by whoever started us
        sys.stdout.flush()


def _no_room(error: OSError) -> bool:
    """Whether a disk is full (files of ours say so themselves), or stdout cannot be written."""
    if error.errno == errno.ENOSPC:
        return True
    try:
        _flush()
    except OSError as again:
        return again.errno == error.errno
    return False


def _unwritten(error: OSError) -> int:
    """The end where the output cannot be written; what of it waits is given up."""
    _quiet_end()
    return _complain(f"The output cannot be written: {error.strerror}. Free some space.")


def _complain(what: str) -> int:
    """Say one line on stderr, where nothing but Python may be sound; bad input's exit code."""
    print(f"var-studio: {' '.join(what.split())}", file=sys.stderr, flush=True)
    return 2


def _stopped() -> int:
    """The end after Ctrl-C, where nothing but Python may be sound."""
    say("Stopped.")
    return STOPPED


def _quiet_end() -> int:
    """Whoever read our output has gone, as `head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
