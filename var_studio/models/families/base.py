"""What every model family declares: how to ask, which tokens are visual, where they look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from var_studio.models.errors import PromptError
from var_studio.models.families.cross import CrossKeys
from var_studio.models.pieces import PieceDecoder
from var_studio.recording.layout import VisualLayout
from var_studio.recording.tokens import Exchange, Role, Token

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from var_studio.recording.images import StoredImage

Message = dict[str, Any]
Kernel = Literal["sdpa", "eager"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt, ready for the model.

    `inputs` go to `hf_model` or `hf_model.generate` as they are, on the model's device; batch 1.
    `tokens` has one entry per position of `inputs["input_ids"]`, and with `cross` one per visual
    key.
    """

    inputs: dict[str, torch.Tensor]
    tokens: tuple[Token, ...]
    layout: VisualLayout
    images: tuple[StoredImage, ...]
    cross: CrossKeys | None = None
    """Where visual tokens stand that are keys of cross-attention layers alone."""

    @property
    def length(self) -> int:
        """Number T of positions."""
        return len(self.tokens)

    @property
    def input_length(self) -> int:
        """Number of positions that the model reads: fewer than T with `cross`."""
        return int(self.inputs["input_ids"].shape[1])


class Family:
    """One model family. Its file reads top to bottom; nothing of it is known elsewhere.

    A subclass says at least its name, its `model_types` (as in config.json) and its `layout`;
    whatever else is ordinary about it, this class does.
    """

    name: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]] = ()
    fallback: ClassVar[str] = "USER: {images}{prompt} ASSISTANT:"
    """Format of one question, for checkpoints without a chat template."""
    fallback_start: ClassVar[str] = ""
    """What such a chat begins with."""
    fallback_image: ClassVar[str] = "{image}\n"
    """Format of each of a question's images; `{image}` is the placeholder."""
    fallback_answer: ClassVar[str] = " {answer}{eos}"
    """Format of an earlier answer."""

    @classmethod
    def claims(cls, config: Mapping[str, Any]) -> bool:
        """Whether a config.json is of this family. No two families claim the same."""
        return config.get("model_type") in cls.model_types

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Look at config.json before anything is loaded. Raises UnsupportedModelError."""

    def prepare(self, hf_model: Any, processor: Any) -> None:
        """Fill what old checkpoints leave out of their processor. Raises UnsupportedModelError."""

    phi_undefined: ClassVar[str] = ""
    """Why visual tokens have no phi, in families where they have none."""

    def kernel(self, hf_model: Any) -> Kernel:
        """The attention kernel that is exact for the language model.

        SDPA knows no softcap and no score beside the keys (`s_aux`); transformers itself loads
        the classes that need these as "eager".
        """
        config = hf_model.config.get_text_config()
        explicit = config._attn_implementation == "eager"
        return "eager" if explicit or getattr(config, "attn_logit_softcapping", None) else "sdpa"

    def attention_module(self, layer: Any) -> Any:
        """The module of a decoder layer whose attention is recorded."""
        return layer.self_attn

    def cross_keys(
        self, hf_model: Any, inputs: Mapping[str, torch.Tensor], positions: Sequence[int]
    ) -> CrossKeys | None:
        """Where the keys of cross-attention layers stand; None in families without such layers.

        `positions` are those of the placeholders. `layout` is given the keys' own then.
        """
        return None

    def placeholder(self, processor: Any) -> str:
        """What stands for one image in the chat text, before it is expanded to its tokens."""
        return str(processor.image_token)

    def image_token_id(self, hf_model: Any) -> int:
        """Id of the token that stands for one visual token."""
        return int(hf_model.config.image_token_id)

    def separator_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """Ids of other tokens that belong to an image: its start and end, row breaks, tile names.

        They are no patch and no text; `layout.positions` does not count them.
        """
        return frozenset()

    def gap_ids(self, hf_model: Any, processor: Any) -> frozenset[int]:
        """Ids that belong to an image only beside a separator between two of its visual tokens.

        For families that write an ordinary newline between rows of tiles.
        """
        return frozenset()

    def render(self, processor: Any, messages: Sequence[Message], *, ask: bool) -> str:
        """Messages as the model's chat text; with `ask`, up to where the answer begins.

        The checkpoint's template, or `fallback` where it has none that places the images.
        """
        owner = processor if getattr(processor, "chat_template", None) else processor.tokenizer
        if getattr(owner, "chat_template", None):
            text = str(
                owner.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask)
            )
            if text.count(self.placeholder(processor)) == _count_images(messages):
                return text
        return self._rendered_plainly(processor, messages)

    def _rendered_plainly(self, processor: Any, messages: Sequence[Message]) -> str:
        text = self.fallback_start
        eos = processor.tokenizer.eos_token or ""
        image = self.fallback_image.format(image=self.placeholder(processor))
        for message in messages:
            words = "".join(part["text"] for part in message["content"] if part["type"] == "text")
            if message["role"] == "assistant":
                text += self.fallback_answer.format(answer=words, eos=eos)
            else:
                images = image * _count_images([message])
                text += self.fallback.format(images=images, prompt=words)
        return text

    def inputs(self, processor: Any, images: Sequence[Image], text: str) -> dict[str, torch.Tensor]:
        """The model's inputs for a chat text, batch 1, on the CPU."""
        import torch

        bos = processor.tokenizer.bos_token
        batch = processor(
            images=list(images),
            text=text,
            return_tensors="pt",
            # Some templates write BOS themselves; a second one would shift the first-token sink.
            add_special_tokens=not (bos and text.startswith(bos)),
            # A prompt that is too long for the model is refused in our own words.
            text_kwargs={"verbose": False},
        )
        return {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """Place each visual token in the original images; `sizes` are their (width, height)."""
        raise NotImplementedError


def check_prompt(family: Family, processor: Any, prompt: Any) -> None:
    """Refuse a prompt that is empty, no text, or that holds a special token. Raises PromptError.

    The tokenizer would take the text of a special token for the token itself, e.g. `</s>` for the
    end of the sequence.
    """
    if not isinstance(prompt, str):
        raise PromptError(
            f"The prompt is a text, not {type(prompt).__name__}.", "Pass the question as a string."
        )
    if not prompt.strip():
        raise PromptError("The prompt is empty.", "Type a question about the image.")
    halves = [character for character in prompt if "\ud800" <= character <= "\udfff"]
    if halves:
        raise PromptError(
            f"The prompt holds half of a character (U+{ord(halves[0]):04X}).",
            "Remove it, or type the question again.",
        )
    placeholder = family.placeholder(processor)
    if placeholder in prompt:
        raise PromptError(
            f"The prompt contains the image placeholder {placeholder}.",
            "Remove it: the placeholder is put in place by itself.",
        )
    tokenizer = processor.tokenizer
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    special = {str(token) for token in added if token.special} | set(tokenizer.all_special_tokens)
    # Some tokenizers pad with a letter or a sign of ordinary text.
    found = [token for token in special if len(token) > 1 and token in prompt]
    if found:
        first = min(found, key=lambda token: (prompt.index(token), -len(token)))
        raise PromptError(
            f"The prompt holds {first}, which the model reads as a special token, not as text.",
            "Remove it, or break it with a space.",
        )


def encode(
    family: Family,
    hf_model: Any,
    processor: Any,
    images: Sequence[Image],
    prompt: str,
    history: Sequence[Exchange] = (),
) -> tuple[dict[str, torch.Tensor], tuple[Token, ...], VisualLayout, CrossKeys | None]:
    """Tokenise a question about images and lay its visual tokens out. Inputs stay on the CPU.

    `history`: what was asked and answered before; the images belong to its first question.

    Raises PromptError if the encoded prompt holds no visual token or others than the model makes.
    """
    messages = _messages(prompt, len(images), history)
    text = family.render(processor, messages, ask=True)
    inputs = family.inputs(processor, images, text)
    ids = [int(i) for i in inputs["input_ids"][0]]
    placeholder = family.image_token_id(hf_model)
    positions = [i for i, token_id in enumerate(ids) if token_id == placeholder]
    if not positions:
        raise PromptError(
            "The encoded prompt holds no visual token.",
            "The processor and the model of this checkpoint do not fit: check its files.",
        )
    cross = family.cross_keys(hf_model, inputs, positions)
    placed = positions if cross is None else cross.visual.tolist()
    layout = family.layout(hf_model, processor, [i.size for i in images], inputs, placed)
    visual = _visual_block(family, hf_model, processor, ids, positions)
    tokens = _tokens(processor.tokenizer, ids, visual)
    if history:
        tokens = _with_turns(family, processor, messages, text, tokens)
    if cross is not None:
        tokens = cross.inserted(tokens)
    return inputs, tokens, layout, cross


def _messages(prompt: str, n_images: int, history: Sequence[Exchange]) -> list[Message]:
    questions = [*(exchange.question for exchange in history), prompt]
    messages: list[Message] = []
    for turn, question in enumerate(questions):
        pictures: list[dict[str, str]] = [{"type": "image"}] * (n_images if turn == 0 else 0)
        content = [*pictures, {"type": "text", "text": question}]
        messages.append({"role": "user", "content": content})
        if turn < len(history):
            said = [{"type": "text", "text": history[turn].answer}]
            messages.append({"role": "assistant", "content": said})
    return messages


def _count_images(messages: Sequence[Message]) -> int:
    return sum(part["type"] == "image" for message in messages for part in message["content"])


def _visual_block(
    family: Family, hf_model: Any, processor: Any, ids: Sequence[int], positions: Sequence[int]
) -> set[int]:
    """Positions of visual tokens and of the separators that belong to their images."""
    separators = family.separator_ids(hf_model, processor)
    gaps = separators | family.gap_ids(hf_model, processor)
    block = set(positions) | {i for i, token_id in enumerate(ids) if token_id in separators}
    for before, after in pairwise(positions):
        between = range(before + 1, after)
        inside = [ids[i] for i in between]
        if any(i in separators for i in inside) and all(i in gaps for i in inside):
            block.update(between)
    return block


def _tokens(tokenizer: Any, ids: Sequence[int], visual: set[int]) -> tuple[Token, ...]:
    """Name each position of a prompt. Roles as in `recording.tokens`."""
    decoder = PieceDecoder(tokenizer)
    first = min(visual)
    tokens = []
    for position, token_id in enumerate(ids):
        role: Role = "visual" if position in visual else "system" if position < first else "prompt"
        special = decoder.is_special(token_id) or role == "visual"
        tokens.append(Token(position, token_id, decoder.push(token_id), role, special))
    return tuple(tokens)


def _with_turns(
    family: Family,
    processor: Any,
    messages: Sequence[Message],
    text: str,
    tokens: tuple[Token, ...],
) -> tuple[Token, ...]:
    """Count the turns: the k-th question, and the answer to it, are of turn k.

    Images are of turn 0, so the tokens of later turns are found from the end, where the text of
    the chat and the expanded prompt agree.
    """
    turns = [0] * len(tokens)
    for turn in range(1, (len(messages) + 1) // 2):
        before = family.render(processor, messages[: 2 * turn], ask=False)
        same = takewhile(lambda pair: pair[0] == pair[1], zip(before, text, strict=False))
        start = sum(1 for _ in same)
        first = len(tokens) - _count_from(processor.tokenizer, text, start)
        turns[first:] = [turn] * (len(tokens) - first)
    return tuple(replace(token, turn=turn) for token, turn in zip(tokens, turns, strict=True))


def _count_from(tokenizer: Any, text: str, start: int) -> int:
    """Number of tokens of a text that begin at the character `start` or after it."""
    if tokenizer.is_fast:
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return sum(begin >= start for begin, _ in offsets["offset_mapping"])
    return len(tokenizer.tokenize(text[start:]))
