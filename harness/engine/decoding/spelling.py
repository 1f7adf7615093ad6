"""Token ids → text without special tokens, except for those that spell the marks of a thought.

A tokenizer may hold a mark as a special token, as another added token, or as several ordinary tokens. Decoding without
special tokens would drop a mark that is a special token, so that a thought and its answer would become one text.

Not here: where a thought ends (`harness.engine.decoding.thinking`).
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.checkpoints.types import Tokenizer
from harness.engine.decoding.thinking import KNOWN, Marks


class Speller:
    """Decodes generated tokens and keeps the marks of thoughts."""

    def __init__(self, tokenizer: Tokenizer, marks: Sequence[Marks] = KNOWN) -> None:
        self._tokenizer = tokenizer
        self._special = special_ids(tokenizer)
        self._marks = _mark_ids(tokenizer, self._special, marks)

    def text(self, ids: Sequence[int]) -> str:
        """Return `ids` as text without special tokens, except for those that mark thoughts."""
        if self._marks.isdisjoint(ids):
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))
        return str(self._tokenizer.decode([i for i in ids if i in self._marks or i not in self._special]))


def special_ids(tokenizer: Tokenizer) -> set[int]:
    """Return the ids of all tokens that decoding without special tokens drops.

    `all_special_ids` lacks tokens that are marked as special in tokenizer.json alone.
    """
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return {*tokenizer.all_special_ids, *(i for i, token in added.items() if getattr(token, "special", False))}


def _mark_ids(tokenizer: Tokenizer, special: set[int], marks: Sequence[Marks]) -> set[int]:
    """Return the ids among `special` whose tokens spell one of `marks` or a part of one."""
    # BOS, EOS and padding are no marks, and a tokenizer may encode a mark that it lacks as its unknown token.
    named = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id)
    texts = {text for family in marks for text in family.texts}
    return {
        i
        for i in special.difference(named)
        if (token := str(tokenizer.convert_ids_to_tokens(i))) and any(token in text for text in texts)
    }
