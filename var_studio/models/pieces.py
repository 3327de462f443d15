"""What each token adds to the text: joined, the pieces are the decoded text."""

from __future__ import annotations

from typing import Any

_INCOMPLETE = "\ufffd"
_WINDOW = 12


class PieceDecoder:
    """Decodes a sequence token by token.

    Decoding one token alone loses the space before a word (SentencePiece) and breaks characters
    that span several tokens (bytes); so each piece is the difference between two decodings that
    start at the same token. A token that leaves a character unfinished adds "" and the token that
    finishes it adds the whole character.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(int(i) for i in tokenizer.all_special_ids)
        self._ids: list[int] = []
        self._given = ""  # text of these ids that has been given out

    def is_special(self, token_id: int) -> bool:
        """Whether a token is one of the tokenizer's special tokens (BOS, EOS, image, ...)."""
        return token_id in self._special

    def alone(self, token_id: int) -> str:
        """Text of a token by itself, its leading space kept: for lists of alternatives."""
        if token_id in self._special:
            return str(self._tokenizer.convert_ids_to_tokens(token_id))
        if not self._ids:
            return self._decode([token_id])
        context = self._ids[-1]
        before, after = self._decode([context]), self._decode([context, token_id])
        return after[len(before) :] if after.startswith(before) else self._decode([token_id])

    def push(self, token_id: int) -> str:
        """Add a token and return what it adds to the text."""
        if token_id in self._special:
            # Special tokens are no text: what follows one is decoded afresh.
            self._ids, self._given = [], ""
            return str(self._tokenizer.convert_ids_to_tokens(token_id))
        if len(self._ids) >= _WINDOW and self._given == self._decode(self._ids):
            # Every character so far is finished: only the last token is needed as context.
            self._ids = self._ids[-1:]
            self._given = self._decode(self._ids)
        self._ids.append(token_id)
        text = self._decode(self._ids)
        if text.endswith(_INCOMPLETE) or not text.startswith(self._given):
            return ""
        piece = text[len(self._given) :]
        self._given = text
        return piece

    def _decode(self, ids: list[int]) -> str:
        return str(
            self._tokenizer.decode(
                ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )
