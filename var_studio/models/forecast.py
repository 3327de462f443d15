"""What a model and a run will take, before either: device memory, RAM, disk.

From the config and the processor alone; no weights are read. Within 10 % of what is then measured
of a model of 200 MB, on the CPU, with a run that uses all its new tokens
(`tests/models/test_forecast.py`).

Counted are tensors whose size follows from the shapes. What the libraries and the allocator take
is not, so that the run of a small model takes more than is said; glibc may keep what was freed,
which made up to a fifth more in that run. On disk,
how far attention compresses is assumed (`footprint.STORED`); an answer shorter than allowed takes
less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from var_studio.models import footprint
from var_studio.models.catalog import known_entry
from var_studio.models.checkpoints import resolve
from var_studio.models.devices import choose_device, choose_dtype
from var_studio.models.errors import PromptError
from var_studio.models.families import Family, check_prompt, encode, family_of
from var_studio.models.loaded import LoadedModel
from var_studio.models.loading import check_libraries, load_errors
from var_studio.models.processors import load_processor
from var_studio.models.quantization import Quantization, check_quantization
from var_studio.models.remote_code import check_remote_code
from var_studio.models.skeleton import build_skeleton
from var_studio.recording.images import StoredImage, decode, load_image
from var_studio.recording.settings import Generation, RecordingOptions

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from var_studio.recording.images import ImageSource
    from var_studio.recording.tokens import Exchange

MAX_SIDE: Final = 20_000
_USUAL_SINK_DIMS: Final = 2


@dataclass(frozen=True, slots=True)
class Forecast:
    """Bytes; 0 for what no question was given for. The run is taken to use all its new tokens.

    `weights` as the model holds them. `text_rows` is what the prompt leaves until it is written:
    the attention of `n_rows` text tokens and what is kept of each key. `working` is the most that
    one step needs beside what is kept: encoding the image, a layer of the prompt, a token.
    `recording` on disk: attention rows are compressed there, taken to shrink by the share
    `compression`; everything else is stored as it is.
    """

    model: str
    device: str
    dtype: str
    quantization: Quantization | None
    weights: int
    value_grams: int = 0
    image_features: int = 0
    kv_cache: int = 0
    text_rows: int = 0
    working: int = 0
    recording: int = 0
    n_prompt: int = 0
    n_visual: int = 0
    n_rows: int = 0
    n_new: int = 0
    compression: float = 1.0

    @property
    def run(self) -> int:
        """Device memory of the run, at its peak, beside the weights."""
        kept = self.value_grams + self.image_features + self.kv_cache
        # A device that is not the CPU packs the rows once more to send them over.
        copies = 1 if self.device == "cpu" else 2
        return kept + copies * self.text_rows + self.working

    @property
    def device_memory(self) -> int:
        """Device memory in all, at its peak."""
        return self.weights + self.run

    @property
    def ram(self) -> int:
        """Main memory; on the CPU it is the device's."""
        return self.device_memory if self.device == "cpu" else 2 * self.text_rows

    @property
    def disk(self) -> int:
        """The recording."""
        return self.recording

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, totals included."""
        totals = {"run": self.run, "device_memory": self.device_memory, "ram": self.ram}
        return {**asdict(self), **totals, "disk": self.disk}


@dataclass(frozen=True, slots=True)
class _Subject:
    """A model, loaded or not, as far as a forecast needs it."""

    model: Any
    family: Family
    name: str
    device: str
    dtype: torch.dtype
    quantization: Quantization | None
    weights: int
    n_dims: int
    context: int
    processor: Any


def forecast(
    model: str | Path | LoadedModel,
    image: ImageSource | StoredImage | tuple[int, int] | Sequence[Any] | None = None,
    prompt: str = "Describe the image.",
    *,
    history: Sequence[Exchange] = (),
    generation: Generation | None = None,
    options: RecordingOptions | None = None,
    device: str = "auto",
    dtype: str = "auto",
    quantization: Quantization | None = None,
    trust_remote_code: bool = False,
) -> Forecast:
    """Say what loading `model` takes and, with an image (or several), what a run takes.

    `model`: as for `load_model` (of a hub id only the small files are fetched), or a loaded one,
    whose device and precision then hold. `image`: as for `record`, or its (width, height).
    `history`: the turns before the prompt, as for `record`.

    Raises what `load_model` raises before it reads weights, PromptError and ImageError.
    """
    if isinstance(model, LoadedModel):
        subject = _loaded(model)
    else:
        subject = _named(model, device, dtype, quantization, trust_remote_code)
    if image is None:
        return _of_model(subject)
    made = generation or Generation()
    return _of_run(subject, _images(image), prompt, history, made, options)


def _loaded(lmm: LoadedModel) -> _Subject:
    return _Subject(
        model=lmm.hf_model,
        family=lmm.family,
        name=lmm.name,
        device=lmm.device.type,
        dtype=lmm.dtype,
        quantization=lmm.quantization,
        weights=footprint.weight_bytes(lmm.hf_model),
        n_dims=_USUAL_SINK_DIMS if lmm.sink_dims is None else len(lmm.sink_dims),
        context=lmm.context_length,
        processor=lmm.processor,
    )


def _named(
    name: str | Path, device: str, dtype: str, quantization: Quantization | None, trusted: bool
) -> _Subject:
    check_libraries()
    checkpoint = resolve(name, code=trusted, weights=False)
    with load_errors(checkpoint, device):
        run_its_code = check_remote_code(checkpoint, trusted)
        family = family_of(checkpoint.config)
        packed = check_quantization(quantization, checkpoint.config)
        place = choose_device(device, checkpoint.weight_bytes)
        precision = choose_dtype(dtype, checkpoint, place)
        skeleton = build_skeleton(checkpoint.folder, precision, trust_remote_code=run_its_code)
        processor = load_processor(checkpoint, trust_remote_code=run_its_code)
        family.prepare(skeleton, processor)
    text = skeleton.config.get_text_config()
    known = known_entry(checkpoint, int(text.hidden_size))
    return _Subject(
        model=skeleton,
        family=family,
        name=checkpoint.name,
        device=str(place).split(":")[0],
        dtype=precision,
        quantization=packed,
        weights=footprint.weight_bytes(skeleton, packed),
        n_dims=len(known.sink_dims) if known else _USUAL_SINK_DIMS,
        context=int(text.max_position_embeddings),
        processor=processor,
    )


def _images(image: Any) -> list[Image]:
    """The images meant; of one whose size alone is given, a blank one."""
    from PIL import Image as images

    if isinstance(image, tuple) and len(image) == 2 and all(isinstance(n, int) for n in image):
        if not all(1 <= n <= MAX_SIDE for n in image):
            raise PromptError(f"No image has the size {image}.", "Give its width and its height.")
        return [images.new("RGB", image)]
    if isinstance(image, list | tuple):
        return [one for each in image for one in _images(each)]
    return [decode(image if isinstance(image, StoredImage) else load_image(image))]


def _of_model(subject: _Subject) -> Forecast:
    return Forecast(
        model=subject.name,
        device=subject.device,
        dtype=str(subject.dtype).removeprefix("torch."),
        quantization=subject.quantization,
        weights=subject.weights,
    )


def _of_run(
    subject: _Subject,
    images: list[Image],
    prompt: str,
    history: Sequence[Exchange],
    generation: Generation,
    options: RecordingOptions | None,
) -> Forecast:
    model, family, size = subject.model, subject.family, subject.dtype.itemsize
    check_prompt(family, subject.processor, prompt)
    inputs, tokens, layout, *_ = encode(
        family, model, subject.processor, images, prompt.strip(), history
    )
    options = options or RecordingOptions()
    row_size = options.row_bytes(size)
    n_prompt, room = len(tokens), subject.context - int(inputs["input_ids"].shape[1])
    n_new = min(generation.max_new_tokens, room)
    if n_new < 1:
        raise PromptError(
            f"The prompt has {n_prompt} tokens; the model takes {subject.context} with the answer.",
            "Shorten the prompt.",
        )
    length = n_prompt + n_new
    asked = [token.position for token in tokens if token.role == "prompt"]
    width = int(model.config.get_text_config().hidden_size)
    vision = footprint.vision_bytes(model, inputs, size)
    prefill = footprint.prefill_bytes(model, n_prompt, len(asked), size)
    pixels = sum(t.numel() for t in inputs.values() if t.is_floating_point())
    return replace(
        _of_model(subject),
        value_grams=footprint.value_gram_bytes(model, family),
        image_features=(layout.count * width + pixels) * size,
        kv_cache=footprint.cache_bytes(model, family, length, size),
        text_rows=footprint.prompt_block_bytes(
            model, len(asked), n_prompt, subject.n_dims, row_size
        ),
        working=max(vision, prefill),
        recording=footprint.recording_bytes(
            model,
            queries=[*asked, *range(n_prompt, length)],
            length=length,
            n_dims=subject.n_dims,
            itemsize=row_size,
            new_tokens=n_new,
            alternatives=options.top,
        ),
        n_prompt=n_prompt,
        n_visual=layout.count,
        n_rows=len(asked),
        n_new=n_new,
        compression=footprint.STORED[row_size],
    )
