"""Loading a checkpoint's processor, on a machine with torchvision or without.

Video processors exist with torchvision only, and a processor class that owns one (Qwen-VL,
InternVL, LLaVA-OneVision, GLM-4V, SmolVLM, Gemma 4, ...) cannot be made without it, even where
nothing but images is asked about. Without torchvision such a processor is put together from its
other parts; image processors have a PIL backend. With torchvision `AutoProcessor` does it all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from var_studio.models.checkpoints import Checkpoint
from var_studio.models.errors import CheckpointError, MissingLibraryError, one_line
from var_studio.models.pixtral_processor import pixtral_processor
from var_studio.models.vila_assembly import is_vila, load_vila_processor

_VIDEO = "video_processor"


def load_processor(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> Any:
    """Return the transformers processor (tokenizer and image processor) of a checkpoint.

    Raises CheckpointError where files are missing or damaged, ImportError where a library is.
    """
    try:
        processor = _load(checkpoint, trust_remote_code)
    except ImportError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"The processor of {checkpoint.name} cannot be loaded: {one_line(error)}",
            "The folder needs preprocessor_config.json (or processor_config.json) and the "
            "tokenizer files: copy or download them again.",
        ) from error
    if getattr(processor, "image_processor", None) is None:
        raise CheckpointError(
            f"{checkpoint.folder} has a tokenizer but no image processor.",
            "Copy preprocessor_config.json into the folder.",
        )
    return processor


def _load(checkpoint: Checkpoint, trust_remote_code: bool) -> Any:
    import transformers
    from transformers.utils import is_torchvision_available

    if is_vila(checkpoint.config):
        return load_vila_processor(checkpoint.folder)
    if not is_torchvision_available():
        owner = _processor_class(checkpoint)
        if owner is not None and owner.__name__ == "PixtralProcessor":
            owner = pixtral_processor()
            return owner.from_pretrained(checkpoint.folder, local_files_only=True)
        if owner is not None and _VIDEO in owner.get_attributes():
            return _without_video(owner, checkpoint.folder)
    return transformers.AutoProcessor.from_pretrained(
        checkpoint.folder, local_files_only=True, trust_remote_code=trust_remote_code
    )


def _processor_class(checkpoint: Checkpoint) -> Any:
    """The transformers class that `AutoProcessor` would take, in its order; None: not its own."""
    import transformers

    for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        path = checkpoint.folder / name
        named = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if isinstance(named, dict) and named.get("processor_class"):
            return getattr(transformers, str(named["processor_class"]), None)
    # A checkpoint with code of its own has a type that transformers does not know.
    if checkpoint.config["model_type"] not in transformers.CONFIG_MAPPING:
        return None
    config = transformers.CONFIG_MAPPING[checkpoint.config["model_type"]]
    return transformers.PROCESSOR_MAPPING.get(config, None)


def _without_video(owner: Any, folder: Path) -> Any:
    """Make a processor of class `owner` that knows no videos.

    As `ProcessorMixin.from_pretrained` does it, but for the part that needs torchvision.
    """
    import transformers

    loaders = {
        "tokenizer": transformers.AutoTokenizer,
        "image_processor": transformers.AutoImageProcessor,
        "feature_extractor": transformers.AutoFeatureExtractor,
    }
    parts = [
        _NoVideo()
        if part == _VIDEO
        else loaders[part].from_pretrained(folder, local_files_only=True)
        for part in owner.get_attributes()
    ]
    settings, _ = owner.get_processor_dict(folder, local_files_only=True)
    return _allowing_no_video(owner).from_args_and_dict(parts, settings)


class _NoVideo(dict[str, Any]):
    """Stands where a processor has its video processor: what is read of that with images alone.

    Empty, since a processor describes its parts as JSON.
    """

    model_input_names: tuple[str, ...] = ()
    # SmolVLM passes these on with each chat text.
    num_frames = None
    fps = None

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise MissingLibraryError("Videos need torchvision.", "Install it: pip install torchvision")


def _allowing_no_video(owner: Any) -> Any:
    """A subclass of the same name that takes `_NoVideo`, and checks the other parts."""

    def check(self: Any, name: str, part: Any) -> Any:
        if name == _VIDEO and isinstance(part, _NoVideo):
            return _NoVideo
        return owner.check_argument_for_proper_class(self, name, part)

    return type(owner.__name__, (owner,), {"check_argument_for_proper_class": check})
