"""Downloads from the hub: progress and stopping in the caller's thread, finished files kept."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from var_studio.errors import VarStudioError
from var_studio.models.errors import CheckpointError, HubUnreachableError, ModelNotFoundError

OnBytes = Callable[[int, int], None]
"""Called with the bytes there are and the bytes there will be (0 until known)."""

SMALL: Final = ("*.json", "*.model", "*.jinja", "*.txt")
WEIGHTS: Final = ("*.safetensors",)
CODE: Final = ("*.py",)
"""Fetched only after a yes to running it."""
_COPIES: Final = ("consolidated*.safetensors", "onnx/*", "openvino/*")
"""The same weights once more, in layouts that transformers does not read."""

_TICK: Final = 0.1
_PATIENCE: Final = 3.0


def download(
    name: str, on_bytes: OnBytes | None = None, *, weights: bool = True, code: bool = False
) -> Path:
    """Return the folder of a hub repository in the local cache, fetched if it is not there.

    `on_bytes` is called in this thread, and may raise to stop the download: files that are whole
    are kept, a file that was under way starts again the next time.
    Raises ModelNotFoundError, HubUnreachableError, CheckpointError.
    """
    bytes_seen = _Bytes()
    wanted = [*SMALL, *(WEIGHTS if weights else ()), *(CODE if code else ())]
    outcome: list[Path | BaseException] = []

    def fetch() -> None:
        try:
            outcome.append(_snapshot(name, bytes_seen, wanted))
        except BaseException as error:
            outcome.append(error)

    # The client waits for the network and calls back every 10 MiB only: it must not hold us up.
    thread = threading.Thread(target=fetch, name="hub download", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_TICK)
            if on_bytes is not None:
                on_bytes(bytes_seen.done, bytes_seen.total)
    except BaseException:
        bytes_seen.stopped = True
        _hang_up()
        thread.join(_PATIENCE)
        raise
    result = outcome[0]
    if isinstance(result, BaseException):
        raise _in_our_words(result, name) from result
    return result


class _Stopped(Exception):
    """Ends a worker of the hub client at its next byte."""


class _Bytes:
    """How far all files together are."""

    done = 0
    total = 0
    stopped = False

    def bar(self) -> Any:
        """Return a tqdm class that draws nothing and reports here."""
        from tqdm.auto import tqdm

        seen = self

        class Counter(tqdm):  # type: ignore[type-arg, misc, unused-ignore]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                kwargs["disable"] = True
                # Two bars count bytes: those received and those that are in a file.
                name = str(kwargs.pop("name", ""))
                self._counts = kwargs.get("unit") == "B" and not name.endswith(".transfer")
                super().__init__(*args, **kwargs)

            def update(self, n: float | None = 1) -> bool | None:
                if seen.stopped:
                    raise _Stopped
                self.n += n or 0
                if self._counts:
                    seen.done, seen.total = int(self.n), int(self.total or 0)
                return None

        return Counter


def _snapshot(name: str, bytes_seen: _Bytes, wanted: list[str]) -> Path:
    import huggingface_hub

    return Path(
        huggingface_hub.snapshot_download(
            name,
            allow_patterns=wanted,
            ignore_patterns=list(_COPIES),
            tqdm_class=bytes_seen.bar(),
        )
    )


def _hang_up() -> None:
    """End transfers that are under way: they ask only now and then whether to go on."""
    import huggingface_hub

    huggingface_hub.close_session()
    with contextlib.suppress(ImportError):
        from huggingface_hub.utils._xet import abort_xet_session

        abort_xet_session()


def _in_our_words(error: BaseException, name: str) -> BaseException:
    """What to raise for what the client raised: httpx, xet and OS errors, wrapped or not."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return ModelNotFoundError(
            f"{name} asks for a licence to be accepted.",
            "Accept it on the model's page, log in with `hf auth login`, and try again.",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFoundError(
            f"The hub has no model {name!r} that this machine may read.",
            "Check the spelling, or log in with `hf auth login` if it is private.",
        )
    if isinstance(error, VarStudioError) or not isinstance(error, Exception):
        return error
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return CheckpointError(
            f"The disk is full: {name} could not be downloaded whole.",
            "Free some space and load it again; files that are whole are not fetched twice.",
        )
    return HubUnreachableError(
        f"{name} is not on this machine, and the hub cannot be reached.",
        'Check the network, give a local folder, or use the built-in model "demo".',
    )
