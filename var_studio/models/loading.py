"""Loading a model: where it is, which device and precision, what can go wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from var_studio.errors import VarStudioError
from var_studio.models.catalog import Entry, default_tau, look_up, read_side_file
from var_studio.models.checkpoints import Checkpoint, resolve
from var_studio.models.errors import (
    CheckpointError,
    DeviceError,
    LoadCancelledError,
    MissingLibraryError,
    ModelMemoryError,
    is_out_of_memory,
    one_line,
)
from var_studio.models.families import family_of
from var_studio.models.loaded import LoadedModel
from var_studio.models.processors import load_processor

if TYPE_CHECKING:
    import torch

Stage = Literal["download", "weights", "processor", "ready"]
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """Loading goes on: `done` of `total` bytes (download) or tensors (weights); 0 if unknown."""

    stage: Stage
    done: int = 0
    total: int = 0


OnLoadEvent = Callable[[LoadProgress], None]


def load_model(
    name_or_path: str | Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    on_event: OnLoadEvent | None = None,
    cancel: threading.Event | None = None,
) -> LoadedModel:
    """Load "demo", a checkpoint folder, or a hub id. Code in a repository is never run.

    `device` is "auto" (CUDA, then MPS, then CPU) or a torch device; `dtype` "auto" (float32 on
    the CPU, elsewhere the checkpoint's own) or one of DTYPES. `on_event` is called in this thread.

    Raises a VarStudioError that says what is wrong: no such model, a damaged folder, a family
    that is not supported, no network, no such device, not enough memory, a library that is not
    installed, or cancelled.
    """

    def tell(stage: Stage, done: int = 0, total: int = 0) -> None:
        if cancel is not None and cancel.is_set():
            raise LoadCancelledError("Loading was stopped.", "Load the model again when you like.")
        if on_event is not None:
            on_event(LoadProgress(stage, done, total))

    _check_libraries()
    tell("download")
    checkpoint = resolve(name_or_path, lambda done, total: tell("download", done, total))
    family = family_of(checkpoint.config)
    with _load_errors(checkpoint, device):
        import torch  # noqa: F401
        import transformers  # noqa: F401
    place = choose_device(device)
    precision = choose_dtype(dtype, checkpoint, place)
    tell("weights")
    with _load_errors(checkpoint, place):
        with _weights_progress(lambda done, total: tell("weights", done, total)):
            hf_model = _load_weights(checkpoint, place, precision)
        tell("processor")
        processor = load_processor(checkpoint)
        family.prepare(hf_model, processor)
    hidden_size = int(hf_model.config.get_text_config().hidden_size)
    known = read_side_file(checkpoint.folder, hidden_size) or look_up(
        checkpoint.names(), hidden_size
    )
    lmm = _assemble(checkpoint, hf_model, processor, family, place, precision, known)
    tell("ready")
    return lmm


def _check_libraries() -> None:
    """Before a download of gigabytes. Raises MissingLibraryError."""
    for name in ("torch", "transformers", "huggingface_hub"):
        if find_spec(name) is None:
            raise MissingLibraryError(
                f"Models need {name}, which is not installed.", f"Install it: pip install {name}"
            )


def choose_device(device: str) -> torch.device:
    """Return the torch device meant. Raises DeviceError if this machine has none such."""
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(
            f"There is no device {device!r}.", "Use auto, cuda, cuda:1, mps or cpu."
        ) from error
    missing = (
        (place.type == "cuda" and not torch.cuda.is_available())
        or (place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count())
        or (place.type == "mps" and not torch.backends.mps.is_available())
        or place.type not in ("cuda", "mps", "cpu")
    )
    if missing:
        raise DeviceError(
            f"This machine has no device {device!r} that PyTorch can use.",
            'Use device "auto" or "cpu".',
        )
    return place


def choose_dtype(dtype: str, checkpoint: Checkpoint, place: torch.device) -> torch.dtype:
    """Return the precision to compute in; "auto" as `load_model` says. Raises DeviceError."""
    import torch

    if dtype == "auto":
        if place.type == "cpu":
            return torch.float32
        config = checkpoint.config
        text = config.get("text_config") or {}
        names = (
            config.get("dtype"), config.get("torch_dtype"),
            text.get("dtype"), text.get("torch_dtype"),
        )  # fmt: skip
        dtype = next((str(name) for name in names if name in DTYPES), "float32")
    if dtype not in DTYPES:
        raise DeviceError(
            f"There is no precision {dtype!r}.", f"Use auto or one of {', '.join(DTYPES)}."
        )
    precision: torch.dtype = getattr(torch, dtype)
    return precision


def _load_weights(checkpoint: Checkpoint, place: torch.device, precision: torch.dtype) -> Any:
    import transformers

    options: dict[str, Any] = {"device_map": {"": place}} if place.type != "cpu" else {}
    model, report = transformers.AutoModelForImageTextToText.from_pretrained(
        checkpoint.folder,
        dtype=precision,
        attn_implementation="sdpa",
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    lost = [*report.get("missing_keys", ()), *report.get("mismatched_keys", ())]
    if lost:
        # They would be drawn at random, and the run would look real.
        raise CheckpointError(
            f"{checkpoint.folder} does not hold the whole model: {len(lost)} tensors are missing "
            f"or of another shape, e.g. {_first(lost)}.",
            "Copy or download the checkpoint again.",
        )
    return model.eval().requires_grad_(False)


def _first(keys: list[Any]) -> str:
    key = sorted(keys, key=str)[0]
    return str(key[0] if isinstance(key, tuple) else key)


def _assemble(
    checkpoint: Checkpoint,
    hf_model: Any,
    processor: Any,
    family: Any,
    place: torch.device,
    precision: torch.dtype,
    known: Entry | None,
) -> LoadedModel:
    hidden_size = int(hf_model.config.get_text_config().hidden_size)
    return LoadedModel(
        hf_model=hf_model,
        processor=processor,
        family=family,
        name=checkpoint.name,
        checkpoint=str(checkpoint.folder) if checkpoint.revision is None else checkpoint.name,
        revision=checkpoint.revision,
        fingerprint=checkpoint.fingerprint(),
        device=place,
        dtype=precision,
        sink_dims=known.sink_dims if known else None,
        sink_dims_origin=known.origin if known else "not discovered yet",
        sink_dims_source=known.source if known else "",
        tau_default=known.tau if known else round(default_tau(hidden_size), 2),
        rho_default=known.rho if known else 0.8,
        description=known.description if known else "",
    )


@contextmanager
def _load_errors(checkpoint: Checkpoint, place: torch.device | str) -> Iterator[None]:
    """Say in our words what torch and transformers raise while loading."""
    try:
        yield
    except VarStudioError:
        raise
    except Exception as error:
        if isinstance(error, ImportError):
            raise MissingLibraryError(
                f"{checkpoint.name} needs a library that cannot be loaded: {one_line(error)}",
                "Install it with pip, and load the model again.",
            ) from error
        if is_out_of_memory(error):
            gib = checkpoint.weight_bytes / 2**30
            raise ModelMemoryError(
                f"Not enough memory on {place} for {checkpoint.name} ({gib:.1f} GiB of weights).",
                "Close other programs, choose a smaller model, or a 16-bit dtype.",
            ) from error
        raise CheckpointError(
            f"{checkpoint.name} cannot be loaded: {one_line(error)}",
            "Check that the folder is a whole checkpoint of a supported family.",
        ) from error


@contextmanager
def _weights_progress(tell: Callable[[int, int], None]) -> Iterator[None]:
    """Follow transformers' own progress bar over the tensors, and draw none."""
    import transformers

    class Bar:
        """As much of tqdm as the loader uses. What `tell` raises stops the loading."""

        def __init__(self, iterable: Any = (), **options: Any) -> None:
            self._iterable = iterable
            self._total = int(options.get("total") or getattr(iterable, "__len__", lambda: 0)())
            self._done = 0

        def __iter__(self) -> Iterator[Any]:
            for item in self._iterable:
                yield item
                self.update()

        def update(self, n: int = 1) -> None:
            self._done += n
            # A thousand tensors load in a second: twenty reports are enough.
            if self._done % max(1, self._total // 20) == 0 or self._done == self._total:
                tell(self._done, self._total)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *_, **__: None

    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    previous = logging.set_tqdm_hook(lambda factory, args, kwargs: Bar(*args, **kwargs))
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_tqdm_hook(previous)
        logging.set_verbosity(verbosity)
