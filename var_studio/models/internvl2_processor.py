"""Tokenizer, chat format and image processor of InternVL2 with InternLM2, for transformers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from var_studio.models.checkpoints import Checkpoint
from var_studio.models.errors import CheckpointError, UnsupportedModelError
from var_studio.models.sentencepiece import build_tokenizer, read_piece_model

_IMAGE_TOKENS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
}
_VIDEO_TOKEN = "<video>"
_END_OF_TURN = "<|im_end|>"

_INTERNVL2 = (
    "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, "
    "是一个有用无害的人工智能助手。"
)
_INTERNVL2_5 = (
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、"
    "清华大学及多家合作单位联合开发的多模态大语言模型。"
)
# Of `template` in config.json: the system prompt, and what ends a message (conversation.py of
# OpenGVLab/InternVL).
_CHATS = {
    "internlm2-chat": (_INTERNVL2, "<|im_end|>"),
    "Hermes-2": (_INTERNVL2, "<|im_end|>"),
    "internvl2_5": (_INTERNVL2_5, "<|im_end|>\n"),
}
# The tower was trained on images normalised as those of ImageNet.
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_BICUBIC = 3


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Ids that the model's own settings name."""

    image: int
    end_of_turn: int


def write_processor(checkpoint: Checkpoint, folder: Path) -> TokenIds:
    """Write all that a processor is loaded from. Raises CheckpointError, UnsupportedModelError."""
    config = checkpoint.config
    chat = _chat_template(str(config.get("template")))
    tokenizer = _tokenizer(checkpoint, chat)
    vision = config["vision_config"]
    side = int(config.get("force_image_size") or vision["image_size"])
    per_tile = int((side // int(vision["patch_size"]) * config.get("downsample_ratio", 0.5)) ** 2)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(chat, encoding="utf-8")
    size = {"height": side, "width": side}
    tiled = bool(config.get("dynamic_image_size", False))
    settings = {
        "processor_class": "InternVLProcessor",
        "image_seq_length": per_tile,
        "image_processor": {
            "image_processor_type": "GotOcr2ImageProcessor",
            "size": size,
            "resample": _BICUBIC,
            "image_mean": _MEAN,
            "image_std": _STD,
            "crop_to_patches": True,
            "min_patches": int(config.get("min_dynamic_patch", 1)) if tiled else 1,
            "max_patches": int(config.get("max_dynamic_patch", 6)) if tiled else 1,
        },
        "video_processor": {
            "video_processor_type": "InternVLVideoProcessor",
            "size": size,
            "image_mean": _MEAN,
            "image_std": _STD,
        },
    }
    text = json.dumps(settings, indent=2) + "\n"
    (folder / "processor_config.json").write_text(text, encoding="utf-8")
    return TokenIds(
        image=tokenizer.convert_tokens_to_ids(_IMAGE_TOKENS["context_image_token"]),
        end_of_turn=tokenizer.convert_tokens_to_ids(_END_OF_TURN),
    )


def _chat_template(name: str) -> str:
    if name not in _CHATS:
        raise UnsupportedModelError(
            f"The checkpoint's chat format {name!r} is not known.",
            f"Convert a checkpoint with one of these: {', '.join(_CHATS)}.",
        )
    system, end = (part.replace("\n", "\\n") for part in _CHATS[name])
    return (
        "{% if messages[0]['role'] != 'system' %}"
        f"{{{{ '<|im_start|>system\\n{system}{end}' }}}}"
        "{% endif %}"
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\\n' }}"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}{{ '<IMG_CONTEXT>\\n' }}"
        "{% elif part['type'] == 'video' %}{{ '<video>\\n' }}"
        "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
        "{% endfor %}{% endif %}"
        f"{{{{ '{end}' }}}}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )


def _tokenizer(checkpoint: Checkpoint, chat: str) -> Any:
    from tokenizers import AddedToken, processors
    from transformers import PreTrainedTokenizerFast

    settings = _tokenizer_settings(checkpoint.folder)
    added = {
        int(index): AddedToken(
            **{key: value for key, value in token.items() if not key.startswith("__")}
        )
        for index, token in settings.get("added_tokens_decoder", {}).items()
    }
    there = {token.content for token in added.values()}
    lost = [token for token in (*_IMAGE_TOKENS.values(), _END_OF_TURN) if token not in there]
    if lost:
        raise CheckpointError(
            f"tokenizer_config.json of {checkpoint.name} does not name the token {lost[0]}.",
            "Copy or download it again.",
        )
    backend = build_tokenizer(read_piece_model(checkpoint.folder / "tokenizer.model"), added)
    bos = _content(settings.get("bos_token", "<s>"))
    if settings.get("add_bos_token", True):
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=bos,
        eos_token=_content(settings.get("eos_token", "</s>")),
        unk_token=_content(settings.get("unk_token", "<unk>")),
        pad_token=_content(settings.get("pad_token", "</s>")),
        extra_special_tokens={**_IMAGE_TOKENS, "video_token": _VIDEO_TOKEN},
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=int(checkpoint.config["llm_config"]["max_position_embeddings"]),
        chat_template=chat,
    )


def _tokenizer_settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}).", "Copy or download the checkpoint again."
        ) from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} holds no settings.", "Copy or download it again.")
    return document


def _content(token: Any) -> str:
    """A special token, which old files write as a dict."""
    return str(token["content"] if isinstance(token, dict) else token)
