"""A SentencePiece BPE model file as a tokenizer of the `tokenizers` library.

The file is a protocol buffer (sentencepiece_model.proto); as much of it as is needed is read here,
so that neither sentencepiece nor protobuf has to be installed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from var_studio.models.errors import CheckpointError, UnsupportedModelError

_NORMAL, _UNKNOWN, _USER_DEFINED, _BYTE = 1, 2, 4, 6
_BPE = 2
_SPACE = "▁"


@dataclass(frozen=True, slots=True)
class PieceModel:
    """What a SentencePiece file says: its pieces (text, score, type) by id, and its switches."""

    pieces: tuple[tuple[str, float, int], ...]
    is_bpe: bool
    character_map: bytes
    prefix_space: bool
    trims_spaces: bool


def read_piece_model(path: Path) -> PieceModel:
    """Read a `tokenizer.model`. Raises CheckpointError if it is missing or damaged."""
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    try:
        for number, value in _fields(path.read_bytes()):
            if number == 1:
                piece = dict(_fields(value))
                score = struct.unpack("<f", piece.get(2, b"\0\0\0\0"))[0]
                pieces.append((piece[1].decode(), float(score), int(piece.get(3, _NORMAL))))
            elif number == 2:
                trainer = dict(_fields(value))
            elif number == 3:
                normalizer = dict(_fields(value))
    except (OSError, ValueError, KeyError, IndexError, TypeError, struct.error) as error:
        raise CheckpointError(
            f"The tokenizer {path} cannot be read ({error or type(error).__name__}).",
            "Copy or download this file again.",
        ) from error
    if not pieces:
        raise CheckpointError(f"The tokenizer {path} has no pieces.", "Copy or download it again.")
    return PieceModel(
        pieces=tuple(pieces),
        is_bpe=trainer.get(3, 1) == _BPE,
        character_map=normalizer.get(2, b""),
        prefix_space=bool(normalizer.get(3, True)),
        trims_spaces=bool(normalizer.get(4, True)),
    )


def build_tokenizer(model: PieceModel, added: Mapping[int, Any]) -> Any:
    """Return a `tokenizers.Tokenizer` that cuts a text as SentencePiece does.

    `added`: `AddedToken` by id; they take the place of the piece of their id, or follow the pieces.
    Raises UnsupportedModelError for a model that is no BPE, CheckpointError if ids are left out.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers

    if not model.is_bpe:
        raise UnsupportedModelError(
            "The tokenizer is no BPE model of SentencePiece.", "Choose an InternLM2 checkpoint."
        )
    pieces = [
        (added[index].content, 0.0, 0) if index in added else piece
        for index, piece in enumerate(model.pieces)
    ]
    vocabulary = {text: index for index, (text, _, _) in enumerate(pieces)}
    beyond = sorted(index for index in added if index >= len(pieces))
    if beyond != list(range(len(pieces), len(pieces) + len(beyond))):
        raise CheckpointError(
            f"The added tokens have ids {beyond[:3]} …; the tokenizer has {len(pieces)} pieces.",
            "Copy or download tokenizer.model and tokenizer_config.json again.",
        )
    unknown = next((text for text, _, kind in model.pieces if kind == _UNKNOWN), None)
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(pieces, vocabulary),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=any(kind == _BYTE for _, _, kind in pieces),
        )
    )
    steps: list[Any] = []
    if model.character_map:
        steps.append(normalizers.Precompiled(model.character_map))
    if model.trims_spaces:
        steps += [
            normalizers.Replace(Regex("^ +| +$"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    if model.prefix_space:
        steps.append(normalizers.Prepend(_SPACE))
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", _SPACE)])
    undo = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if model.prefix_space:
        undo.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(undo)
    whole = [text for text, _, kind in pieces if kind == _USER_DEFINED]
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in whole])
    tokenizer.add_special_tokens([added[index] for index in sorted(added)])
    return tokenizer


def _merges(
    pieces: list[tuple[str, float, int]], vocabulary: Mapping[str, int]
) -> list[tuple[str, str]]:
    """Pairs in the order SentencePiece joins them: best score of what they make first."""
    normal = {text for text, _, kind in pieces if kind == _NORMAL}
    found = []
    for text, score, kind in pieces:
        if kind != _NORMAL:
            continue
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in normal and right in normal:
                found.append((-score, vocabulary[left], vocabulary[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Fields of a protocol buffer message: number, and an int or the bytes of its value."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(message):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            yield number, varint()
            continue
        lengths = {1: 8, 5: 4}
        length = varint() if kind == 2 else lengths[kind]
        if position + length > len(message):
            raise ValueError("it is cut off")
        yield number, message[position : position + length]
        position += length
