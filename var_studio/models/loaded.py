"""A model in memory with all that a run needs to know of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from var_studio.models.catalog import Origin
from var_studio.models.encoded_images import EncodedImages
from var_studio.models.errors import ModelBusyError, NotLoadedError, PromptError
from var_studio.models.families import Encoded, Family, check_prompt, encode
from var_studio.models.quantization import Quantization
from var_studio.models.value_grams import ValueGrams
from var_studio.recording.images import ImageError, StoredImage, decode, load_image

if TYPE_CHECKING:
    import torch

    from var_studio.models.families.base import Kernel
    from var_studio.recording.images import ImageSource
    from var_studio.recording.tokens import Exchange


@dataclass(eq=False, repr=False)
class LoadedModel:
    """A loaded model ("lmm"): what `load_model` returns and `record` takes.

    `sink_dims` is None until discovery has run (`sink_dims_origin` "not discovered yet").
    `tau_default` and `rho_default` are in the paper's convention. One run at a time: see `in_use`.
    After `release` whatever needs the weights raises NotLoadedError.
    """

    hf_model: Any
    processor: Any
    family: Family
    name: str
    checkpoint: str
    revision: str | None
    fingerprint: str
    device: torch.device
    dtype: torch.dtype
    sink_dims: tuple[int, ...] | None
    sink_dims_origin: Origin
    sink_dims_source: str
    tau_default: float
    rho_default: float = 0.8
    quantization: Quantization | None = None
    description: str = ""
    encoded_images: EncodedImages = field(default_factory=EncodedImages)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _value_grams: ValueGrams | None = None

    def __repr__(self) -> str:
        if self.hf_model is None:
            return f"LoadedModel({self.name!r}, released)"
        dtype = self.quantization or str(self.dtype).removeprefix("torch.")
        return (
            f"LoadedModel({self.name!r}, {self.n_layers} layers × {self.n_heads} heads, "
            f"D={self.hidden_size}, {self.device} {dtype})"
        )

    @property
    def text_config(self) -> Any:
        """Configuration of the language model."""
        self._check_loaded()
        return self.hf_model.config.get_text_config()

    @property
    def decoder_layers(self) -> Sequence[Any]:
        """The decoder layers (torch modules) in order."""
        self._check_loaded()
        layers: Sequence[Any] = self.hf_model.get_decoder().layers
        return layers

    @property
    def n_layers(self) -> int:
        """Number L of decoder layers."""
        return len(self.decoder_layers)

    @property
    def n_heads(self) -> int:
        """Number H of query heads per layer."""
        return int(self.text_config.num_attention_heads)

    @property
    def hidden_size(self) -> int:
        """Size D of the residual stream."""
        return int(self.text_config.hidden_size)

    @property
    def kernel(self) -> Kernel:
        """The attention kernel that runs of this model use."""
        self._check_loaded()
        return self.family.kernel(self.hf_model)

    @property
    def context_length(self) -> int:
        """Most positions that the language model takes."""
        return int(self.text_config.max_position_embeddings)

    def encode(
        self,
        image: ImageSource | StoredImage | Sequence[ImageSource | StoredImage],
        prompt: str,
        history: Sequence[Exchange] = (),
    ) -> Encoded:
        """Turn a question about an image (or several) into the model's inputs.

        `history`: earlier questions about the same images, and their answers, oldest first.

        Raises PromptError for a prompt that is empty, no text, too long for the model's context or
        that holds special tokens, and for no image; ImageError for an image that cannot be read.
        """
        self._check_loaded()
        earlier = [text for e in history for text in (e.question, e.answer or "-")]
        for text in (*earlier, prompt):
            check_prompt(self.family, self.processor, text)
        images = _stored(image)
        inputs, tokens, layout, cross = encode(
            self.family,
            self.hf_model,
            self.processor,
            [decode(i) for i in images],
            prompt.strip(),
            history,
        )
        if inputs["input_ids"].shape[1] >= self.context_length:
            raise PromptError(
                f"The prompt has {len(tokens)} tokens, {layout.count} of them visual; the model "
                f"takes {self.context_length} with the answer.",
                "Shorten the prompt.",
            )
        placed = {
            key: value.to(self.device, self.dtype if value.is_floating_point() else value.dtype)
            for key, value in inputs.items()
        }
        return Encoded(placed, tokens, layout, images, cross)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold the model for one run. Raises ModelBusyError if another one has it."""
        if not self._lock.acquire(blocking=False):
            raise ModelBusyError(
                f"{self.name} is busy with another run.",
                "Wait until it ends, or stop it first.",
            )
        try:
            self._check_loaded()
            yield
        finally:
            self._lock.release()

    def _check_loaded(self) -> None:
        if self.hf_model is None:
            raise NotLoadedError(f"{self.name} was released.", "Load the model again.")

    def value_grams(self) -> ValueGrams:
        """W_O W_Oᵀ per layer and head. Computed at the first call and kept."""
        if self._value_grams is None:
            modules = [self.family.attention_module(layer) for layer in self.decoder_layers]
            self._value_grams = ValueGrams(modules, self.n_heads, self.device)
        return self._value_grams

    def release(self) -> None:
        """Drop the weights and give their memory back. Raises ModelBusyError during a run."""
        import gc

        import torch

        with self.in_use():
            self.hf_model = self.processor = self._value_grams = None
            self.encoded_images.clear()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _stored(image: Any) -> tuple[StoredImage, ...]:
    sources = list(image) if isinstance(image, list | tuple) else [image]
    if not sources or any(source is None for source in sources):
        raise PromptError("There is no image.", "Open, drop or paste a picture first.")
    return tuple(s if isinstance(s, StoredImage) else load_image(s) for s in sources)


__all__ = ["Encoded", "ImageError", "LoadedModel"]
