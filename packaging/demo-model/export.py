"""Write a trained state as a checkpoint folder that the Auto classes load.

python packaging/demo-model/export.py DIR/settle.pt FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from conversation import BOS, EOS, PAD, SPECIAL, SYSTEM, VOCABULARY, WORD_PATTERN
from model import new_model
from scenes import IMAGE_SIZE, PATCH_SIZE
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
from tokenizers import processors as post_processors
from transformers import GenerationConfig, LlavaProcessor, PreTrainedTokenizerFast

try:  # the variant that needs no torchvision
    from transformers import CLIPImageProcessorPil as CLIPImageProcessor
except ImportError:
    from transformers import CLIPImageProcessor

CONTENT = (
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] if c['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] }}{% endfor %}{% endif %}"
)
CHAT_TEMPLATE = (
    SYSTEM + "{% for m in messages %}"
    "{% if m['role'] == 'user' %} USER: " + CONTENT + "{% elif m['role'] == 'assistant' %}"
    " ASSISTANT: " + CONTENT + "</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """Whole words, lower case; anything else is <unk>."""
    words = {word: index for index, word in enumerate(VOCABULARY)}
    rules = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    rules.normalizer = normalizers.Lowercase()
    rules.pre_tokenizer = pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="removed", invert=True)
    rules.post_processor = post_processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", BOS)]
    )
    rules.add_special_tokens([AddedToken(w, special=True, normalized=False) for w in SPECIAL])
    rules.add_tokens(
        [
            AddedToken(w, normalized=False, single_word=True, lstrip=True, rstrip=True)
            for w in ("USER", "ASSISTANT")
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=rules,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=1024,
        clean_up_tokenization_spaces=True,
        padding_side="left",
        extra_special_tokens={"image_token": "<image>"},
    )


def processor() -> LlavaProcessor:
    """Pictures are squashed to the tower's square, as in training; no crop."""
    images = CLIPImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_center_crop=False,
        resample=3,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer(),
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )


def export(state: Path, folder: Path) -> None:
    model = new_model()
    model.load_state_dict(torch.load(state, map_location="cpu")["model"])
    model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        do_sample=False,
        max_new_tokens=64,
    )
    model.save_pretrained(folder)
    processor().save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("state", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    export(options.state, options.folder)


if __name__ == "__main__":
    main()
