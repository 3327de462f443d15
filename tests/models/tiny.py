"""Tiny random LLaVA checkpoints with the real classes, saved to disk like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

PATCH = 8
SIDE = 48
TEMPLATE = (
    "{{ bos_token }}A chat.{% for m in messages %} USER: "
    "{% for c in m['content'] if c['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
QUESTION = "what is left of the red circle?"


def build_tokenizer(
    *,
    template: str | None = TEMPLATE,
    named: Mapping[str, str] = MappingProxyType({"image_token": "<image>"}),
    special: Sequence[str] = (),
    bos: bool = True,
) -> Any:
    """Byte-level BPE over a few words: anything else falls apart into bytes.

    `named`: special tokens by the attribute that a processor looks for; `special`: further ones.
    Token 0 pads, 1 begins a text (only with `bos`), 2 ends it.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>", *named.values(), *special]
    trainer = trainers.BpeTrainer(
        vocab_size=319 + len(named) + len(special),
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f"A chat. USER: {QUESTION} ASSISTANT:"] * 20, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>" if bos else None,
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=dict(named),
        padding_side="left",
        chat_template=template,
    )


def image_processor(kind: str, side: int) -> Any:
    """crop (LLaVA-1.5 on the hub), pad (to a square), squash (to a fixed size)."""
    from transformers import CLIPImageProcessor, LlavaImageProcessor

    crop = {"height": side, "width": side}
    if kind == "crop":
        return CLIPImageProcessor(size={"shortest_edge": side}, crop_size=crop)
    if kind == "pad":
        return LlavaImageProcessor(size={"shortest_edge": side}, crop_size=crop, do_pad=True)
    if kind == "oversize":
        # Resized larger than the crop: a border is never seen, even of a square image.
        return CLIPImageProcessor(size={"shortest_edge": side + 10}, crop_size=crop)
    return CLIPImageProcessor(size=crop, do_center_crop=False)


def save_checkpoint(
    folder: Path,
    *,
    kind: str = "crop",
    side: int = SIDE,
    patch: int = PATCH,
    kv_heads: int = 4,
    heads: int = 4,
    layers: int = 4,
    hidden: int = 64,
    text: str = "llama",
    strategy: str = "default",
    template: str | None = TEMPLATE,
    seed: int = 0,
    context: int = 2048,
    spread: float = 0.15,
    intermediate_size: int = 0,
    vocab_size: int = 0,
    **text_options: Any,
) -> Path:
    """Write a random checkpoint. Weights are spread so that attention is far from uniform."""
    import torch
    from transformers import (
        AutoConfig,
        CLIPVisionConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = build_tokenizer(template=template)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=side,
            patch_size=patch,
        ),
        text_config=AutoConfig.for_model(
            text,
            vocab_size=vocab_size or len(tokenizer),
            hidden_size=hidden,
            intermediate_size=intermediate_size or 2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            max_position_embeddings=context,
            initializer_range=spread,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            **text_options,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy=strategy,
        vision_feature_layer=-1,
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    processor = LlavaProcessor(
        image_processor(kind, side),
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=1,
        chat_template=template,
    )
    processor.save_pretrained(folder)
    return folder


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture of random pixels."""
    return Image.fromarray(noise_pixels(width, height, seed))


def noise_pixels(width: int, height: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
