"""From a question to tokens: template, roles, text of each token, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import var_studio as vs
from tests.models.tiny import QUESTION, build_tokenizer, noise, save_checkpoint
from var_studio.models.errors import NotLoadedError, PromptError
from var_studio.models.pieces import PieceDecoder
from var_studio.recording.images import ImageError


def test_roles_follow_the_image(loaded: Any) -> None:
    encoded = loaded("crop").encode(noise(60, 60), QUESTION)
    roles = [t.role for t in encoded.tokens]
    first, last = roles.index("visual"), len(roles) - 1 - roles[::-1].index("visual")
    assert roles == ["system"] * first + ["visual"] * 36 + ["prompt"] * (len(roles) - last - 1)
    assert [t.position for t in encoded.tokens] == list(range(encoded.length))
    assert [t.id for t in encoded.tokens] == encoded.inputs["input_ids"][0].tolist()
    assert encoded.layout.positions.tolist() == list(range(first, last + 1))


def test_the_template_writes_bos_once(loaded: Any) -> None:
    """The tiny checkpoints' template writes BOS, and so does their tokenizer."""
    ids = [t.id for t in loaded("crop").encode(noise(60, 60), QUESTION).tokens]
    assert ids.count(1) == 1 and ids[0] == 1


def test_texts_joined_are_the_prompt(loaded: Any) -> None:
    tokens = loaded("crop").encode(noise(60, 60), "naïve 漢字 🙂?").tokens
    text = "".join(t.text for t in tokens if t.role == "prompt")
    assert text == "\nnaïve 漢字 🙂? ASSISTANT:"


def test_the_fallback_template(tmp_path: Path) -> None:
    """A checkpoint without a chat template is asked in LLaVA-1.5's own words."""
    lmm = vs.load_model(save_checkpoint(tmp_path / "plain", template=None, layers=1))
    tokens = lmm.encode(noise(60, 60), "what is it?").tokens
    assert "".join(t.text for t in tokens if t.role == "system") == "<s>USER: "
    after = "".join(t.text for t in tokens if t.role == "prompt")
    assert after == "\nwhat is it? ASSISTANT:"
    assert [t.id for t in tokens].count(1) == 1


def test_an_old_processor_without_patch_size(tmp_path: Path) -> None:
    import json

    folder = save_checkpoint(tmp_path / "old", layers=1)
    path = folder / "processor_config.json"
    config = json.loads(path.read_text())
    for name in ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens"):
        del config[name]
    path.write_text(json.dumps(config))
    assert vs.load_model(folder).encode(noise(60, 60), "?").layout.count == 36


@pytest.mark.parametrize("prompt", ["", "   ", "\n"])
def test_an_empty_prompt(loaded: Any, prompt: str) -> None:
    with pytest.raises(PromptError, match="prompt is empty"):
        loaded("crop").encode(noise(60, 60), prompt)


def test_no_image(loaded: Any) -> None:
    for nothing in (None, [], [None]):
        with pytest.raises(PromptError, match="no image"):
            loaded("crop").encode(nothing, QUESTION)


def test_a_bad_image(loaded: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    for source in (broken, tmp_path / "missing.png", b""):
        with pytest.raises(ImageError):
            loaded("crop").encode(source, QUESTION)


def test_a_placeholder_in_the_prompt(loaded: Any) -> None:
    with pytest.raises(PromptError, match="placeholder <image>"):
        loaded("crop").encode(noise(60, 60), "what is <image> this?")


def test_a_prompt_longer_than_the_context(loaded: Any) -> None:
    with pytest.raises(PromptError, match=r"the model takes 2048"):
        loaded("crop").encode(noise(60, 60), "circle " * 2100)


def test_one_pixel_and_extreme_ratios(loaded: Any) -> None:
    for size in [(1, 1), (1, 300), (900, 2)]:
        layout = loaded("pad").encode(noise(*size), "?").layout
        assert layout.known and layout.count == 36


@pytest.mark.parametrize(
    "text", ["what is left", "naïve", "漢字かな交じり", "🙂🙃 mixed 🙂", "a\n b\t c", "  spaces  "]
)
def test_pieces_join_to_the_text(text: str) -> None:
    """Byte pieces too: a token that does not finish a character adds nothing."""
    tokenizer = build_tokenizer()
    ids = tokenizer.encode(text, add_special_tokens=False)
    decoder = PieceDecoder(tokenizer)
    pieces = [decoder.push(i) for i in ids]
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)
    if not text.isascii():
        assert "" in pieces, "no character was split: the test would show nothing"


def test_special_tokens_are_named_and_no_text() -> None:
    tokenizer = build_tokenizer()
    decoder = PieceDecoder(tokenizer)
    assert [decoder.is_special(i) for i in (0, 1, 2, 3, 100)] == [True] * 4 + [False]
    assert decoder.push(2) == "</s>"
    assert decoder.alone(2) == "</s>"


def test_sentencepiece_words_keep_their_space() -> None:
    """Metaspace tokenizers (Llama) drop the space of a word decoded alone."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "▁a", "▁red", "▁circle", "s"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    decoder = PieceDecoder(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>"))
    assert [decoder.push(i) for i in (1, 2, 3, 4)] == ["a", " red", " circle", "s"]
    assert decoder.alone(3) == " circle"


@pytest.mark.parametrize("prompt", [None, 5, b"what is it?", ["what is it?"]])
def test_a_prompt_is_text(loaded: Any, prompt: Any) -> None:
    with pytest.raises(PromptError, match=f"a text, not {type(prompt).__name__}"):
        loaded("crop").encode(noise(60, 60), prompt)


def test_half_a_character_in_the_prompt(loaded: Any) -> None:
    with pytest.raises(PromptError, match=r"half of a character.*U\+D83D") as caught:
        loaded("crop").encode(noise(60, 60), "what is \ud83d this?")
    str(caught.value).encode()


@pytest.mark.parametrize("token", ["</s>", "<s>", "<pad>"])
def test_a_special_token_in_the_prompt(loaded: Any, token: str) -> None:
    """Read as the token, it would end or begin a turn; the position of the rest would lie."""
    with pytest.raises(PromptError, match=f"holds {token}"):
        loaded("crop").encode(noise(60, 60), f"what is {token} this?")
    broken = f"{token[0]} {token[1:]}"
    tokens = loaded("crop").encode(noise(60, 60), f"what is {broken} this?").tokens
    assert f"what is {broken} this?" in "".join(t.text for t in tokens)


def test_the_prompt_is_looked_at_before_the_image(loaded: Any, tmp_path: Path) -> None:
    for prompt in ("", 5, "\ud83d", "</s>"):
        with pytest.raises(PromptError):
            loaded("crop").encode(tmp_path / "missing.png", prompt)


def test_a_long_prompt_is_refused_once_and_by_us(checkpoint: Any, caplog: Any, capfd: Any) -> None:
    """transformers' own warning speaks of indexing errors, which cannot happen here."""
    import transformers

    lmm = vs.load_model(checkpoint("crop"))
    lmm.processor.tokenizer.model_max_length = 50
    transformers.utils.logging.enable_propagation()
    try:
        length = lmm.encode(noise(60, 60), "circle " * 60).length
        with pytest.raises(PromptError, match="takes 2048"):
            lmm.encode(noise(60, 60), "circle " * 2100)
    finally:
        transformers.utils.logging.disable_propagation()
    assert length > 50
    assert "Token indices" not in caplog.text + capfd.readouterr().err


def test_a_released_model_says_so(checkpoint: Any) -> None:
    lmm = vs.load_model(checkpoint("crop"))
    assert repr(lmm) == "LoadedModel('crop', 4 layers × 4 heads, D=64, cpu float32)".replace(
        "crop", lmm.name
    )
    lmm.release()
    assert repr(lmm) == f"LoadedModel({lmm.name!r}, released)"
    for use in (
        lambda: lmm.encode(noise(60, 60), QUESTION),
        lambda: lmm.n_layers,
        lambda: lmm.hidden_size,
        lambda: vs.record(lmm, noise(60, 60), QUESTION),
        lmm.release,
    ):
        with pytest.raises(NotLoadedError, match=r"was released.*Load the model again"):
            use()
