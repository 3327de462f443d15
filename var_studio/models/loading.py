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
from var_studio.models.catalog import default_tau, known_entry
from var_studio.models.checkpoints import Checkpoint, resolve
from var_studio.models.devices import BALANCED, choose_device, choose_dtype, spread
from var_studio.models.errors import (
    CheckpointError,
    LoadCancelledError,
    MissingLibraryError,
    ModelMemoryError,
    is_out_of_memory,
    one_line,
)
from var_studio.models.families import Family, family_of
from var_studio.models.loaded import LoadedModel
from var_studio.models.processors import load_processor
from var_studio.models.quantization import (
    Quantization,
    check_quantization,
    quantization_config,
    quantizer_of,
)
from var_studio.models.remote_code import check_remote_code
from var_studio.models.skeleton import build_skeleton
from var_studio.models.vila_assembly import is_vila, load_vila

if TYPE_CHECKING:
    import torch

Stage = Literal["download", "weights", "processor", "ready"]


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """Loading goes on: `done` of `total` bytes (download) or tensors (weights); 0 if unknown."""

    stage: Stage
    done: int = 0
    total: int = 0


OnLoadEvent = Callable[[LoadProgress], None]


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a checkpoint is to be loaded."""

    checkpoint: Checkpoint
    place: torch.device | str
    precision: torch.dtype
    quantization: Quantization | None
    run_its_code: bool


def load_model(
    name_or_path: str | Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantization: Quantization | None = None,
    trust_remote_code: bool = False,
    on_event: OnLoadEvent | None = None,
    cancel: threading.Event | None = None,
) -> LoadedModel:
    """Load "demo", a checkpoint folder, or a hub id.

    `device` is "auto" (CUDA, then MPS, then CPU), a torch device, or "balanced": the layers spread
    over all GPUs, as "auto" does where one GPU is too small. `dtype` is "auto" (float32 on the CPU,
    elsewhere the checkpoint's own) or one of `devices.DTYPES`. `quantization` packs the decoder
    layers in 8 or 4 bits (bitsandbytes). Code in a repository is run only with
    `trust_remote_code`, and only if the model cannot be loaded without it.
    `on_event` is called in this thread.

    Raises a VarStudioError that says what is wrong: no such model, a damaged folder, a family
    that is not supported, no network, no such device, not enough memory, a library that is not
    installed, code that nobody said yes to, or cancelled.
    """

    def tell(stage: Stage, done: int = 0, total: int = 0) -> None:
        if cancel is not None and cancel.is_set():
            raise LoadCancelledError("Loading was stopped.", "Load the model again when you like.")
        if on_event is not None:
            on_event(LoadProgress(stage, done, total))

    check_libraries()
    tell("download")
    checkpoint = resolve(
        name_or_path, lambda done, total: tell("download", done, total), code=trust_remote_code
    )
    with load_errors(checkpoint, device):
        family = family_of(checkpoint.config)
        run_its_code = check_remote_code(checkpoint, trust_remote_code)
    packed = check_quantization(quantization, checkpoint.config)
    with load_errors(checkpoint, device):
        _import_libraries()
    place = choose_device(device, checkpoint.weight_bytes)
    plan = _Plan(checkpoint, place, choose_dtype(dtype, checkpoint, place), packed, run_its_code)
    tell("weights")
    with load_errors(checkpoint, place):
        with _weights_progress(lambda done, total: tell("weights", done, total)):
            hf_model = _load_weights(plan)
        tell("processor")
        processor = load_processor(checkpoint, trust_remote_code=run_its_code)
        family.prepare(hf_model, processor)
    lmm = _assemble(plan, hf_model, processor, family)
    tell("ready")
    return lmm


def check_libraries() -> None:
    """Before a download of gigabytes. Raises MissingLibraryError."""
    for name in ("torch", "transformers", "huggingface_hub"):
        if find_spec(name) is None:
            raise MissingLibraryError(
                f"Models need {name}, which is not installed.", f"Install it: pip install {name}"
            )


def _import_libraries() -> None:
    """All of torch and transformers that every model needs: seconds, before the weights."""
    import torch  # noqa: F401
    import transformers

    for name in ("AutoModelForImageTextToText", "AutoProcessor"):
        getattr(transformers, name)  # it imports when first asked


def _load_weights(plan: _Plan) -> Any:
    import transformers

    folder = plan.checkpoint.folder
    options = {"dtype": plan.precision, "output_loading_info": True, **_placement(plan)}
    if is_vila(plan.checkpoint.config):
        model, report = load_vila(plan.checkpoint, **options)
    else:
        model, report = transformers.AutoModelForImageTextToText.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=plan.run_its_code,
            use_safetensors=True,
            **options,
        )
    lost = [*report.get("missing_keys", ()), *report.get("mismatched_keys", ())]
    if lost:
        # They would be drawn at random, and the run would look real.
        raise CheckpointError(
            f"{folder} does not hold the whole model: {len(lost)} tensors are missing "
            f"or of another shape, e.g. {_first(lost)}.",
            "Copy or download the checkpoint again.",
        )
    return model.eval().requires_grad_(False)


def _placement(plan: _Plan) -> dict[str, Any]:
    """Options of `from_pretrained` that say where the weights go, and in how many bits."""
    if plan.place != BALANCED and plan.quantization is None:
        # For the CPU nothing is said: no hooks of accelerate.
        return {} if str(plan.place) == "cpu" else {"device_map": {"": plan.place}}
    skeleton = build_skeleton(
        plan.checkpoint.folder, plan.precision, trust_remote_code=plan.run_its_code
    )
    stored = plan.checkpoint.config.get("quantization_config")
    config = None
    options: dict[str, Any] = {}
    if plan.quantization is not None:
        config = stored or quantization_config(plan.quantization, skeleton, plan.precision)
    if config is not None and stored is None:
        options["quantization_config"] = config
    if plan.place == BALANCED:
        packed = quantizer_of(config, skeleton, stored=stored is not None) if config else None
        return {**options, "device_map": spread(skeleton, quantizer=packed)}
    return {**options, "device_map": {"": plan.place}}


def _first(keys: list[Any]) -> str:
    key = sorted(keys, key=str)[0]
    return str(key[0] if isinstance(key, tuple) else key)


def _assemble(plan: _Plan, hf_model: Any, processor: Any, family: Family) -> LoadedModel:
    checkpoint = plan.checkpoint
    hidden_size = int(hf_model.config.get_text_config().hidden_size)
    known = known_entry(checkpoint, hidden_size)
    return LoadedModel(
        hf_model=hf_model,
        processor=processor,
        family=family,
        name=checkpoint.name,
        checkpoint=str(checkpoint.folder) if checkpoint.revision is None else checkpoint.name,
        revision=checkpoint.revision,
        fingerprint=checkpoint.fingerprint(),
        # Where several devices share the layers, a run's inputs go to the first.
        device=hf_model.get_input_embeddings().weight.device,
        dtype=plan.precision,
        quantization=plan.quantization,
        sink_dims=known.sink_dims if known else None,
        sink_dims_origin=known.origin if known else "not discovered yet",
        sink_dims_source=known.source if known else "",
        tau_default=known.tau if known else round(default_tau(hidden_size), 2),
        rho_default=known.rho if known else 0.8,
        description=known.description if known else "",
    )


@contextmanager
def load_errors(checkpoint: Checkpoint, place: torch.device | str) -> Iterator[None]:
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
