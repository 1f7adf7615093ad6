"""Text → token ids exactly as lm-eval's HFLM does it, but in batches and every distinct text once.

A continuation's ids are those of the joined text after as many as the context alone has (a text prefix is not always
a token prefix), and a text that already starts with the tokenizer's BOS gets no second one.

Not here: truncation to the context length, which depends on what is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from harness.engine.requests import Pair
from harness.errors import HarnessError

T = TypeVar("T")
BATCH = 256
"""Texts that are tokenised at once."""


class Encoder:
    """A tokenizer as the engine uses it."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.prefix_id: int | None = bos if bos is not None else eos
        """What stands before a text that has no context: BOS, else EOS."""
        self._prefix = None if self.prefix_id is None else tokenizer.decode(self.prefix_id)
        self._numbers: dict[int, int] = {}

    def encode(self, texts: Iterable[str], *, special: bool = True) -> dict[str, list[int]]:
        """Return the ids of every distinct text; `special` lets the tokenizer add its own BOS (or EOS).

        Equal ids are one object, for a Python number takes four times the memory of a reference to it.
        """
        one = self._numbers.setdefault
        return {text: [one(i, i) for i in ids] for text, ids in self._encode(texts, special=special)}

    def _encode(self, texts: Iterable[str], *, special: bool = True) -> Iterator[tuple[str, list[int]]]:
        """Yield the ids of every distinct text."""
        distinct = dict.fromkeys(texts)
        bare: list[str] = []
        marked: list[str] = []
        for text in distinct:
            has_its_own = not special or bool(self._prefix and text.startswith(self._prefix))
            (bare if has_its_own else marked).append(text)
        yield from self._batch(bare, special=False)
        yield from self._batch(marked, special=True)

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
        """Return the ids of (context, continuation) texts, in order.

        Spaces that end a context move to the continuation; an empty context becomes the prefix token. Where the
        tokenizer merges the whole continuation into the context's last token, that last token is what is scored.
        Raises HarnessError on an empty continuation, or an empty context where the tokenizer has neither BOS nor EOS.
        """
        moved = [_move_spaces(context, continuation) for context, continuation in pairs]
        known = self.encode(context for context, _ in moved if context)
        bare = self.encode((continuation for context, continuation in moved if not context), special=False)
        result = []
        # Of a whole text only the end is kept, so never are all of them held.
        for some in _batched(moved, BATCH):
            wholes = dict(self._encode(context + continuation for context, continuation in some if context))
            for context, continuation in some:
                if context:
                    result.append(self._split(context, continuation, known[context], wholes[context + continuation]))
                else:
                    result.append(self._without_context(continuation, bare[continuation]))
        return result

    def _split(self, context: str, continuation: str, start: list[int], whole: list[int]) -> Pair:
        if not continuation or not whole:
            raise HarnessError(f"a task asks for the likelihood of an empty continuation after {context[-60:]!r}")
        rest = whole[len(start) :]
        if not rest:  # the tokenizer merged the continuation into the context's last token: score that token
            start, rest = whole[:-1], whole[-1:]
        return Pair(start, rest) if start else self._with_prefix(rest)

    def _without_context(self, continuation: str, ids: list[int]) -> Pair:
        if not ids:
            raise HarnessError("a task asks for the likelihood of an empty continuation after an empty context")
        if len(ids) > 1 and ids[0] == self.prefix_id:
            return Pair(ids[:1], ids[1:])
        return self._with_prefix(ids)

    def start(self) -> int:
        """Return what stands before a text without a context; raise HarnessError if the tokenizer has no such token."""
        if self.prefix_id is None:
            raise HarnessError("a task gives an empty context, and this tokenizer has neither a BOS nor an EOS token")
        return self.prefix_id

    def eos_text(self) -> str | None:
        """Return the end-of-text token as text, or None if the tokenizer has none."""
        eos = self.tokenizer.eos_token_id
        return None if eos is None else str(self.tokenizer.decode(eos))

    def _with_prefix(self, ids: list[int]) -> Pair:
        return Pair([self.start()], ids)

    def _batch(self, texts: list[str], *, special: bool) -> Iterator[tuple[str, list[int]]]:
        # A tokenizer keeps offsets, words and masks of all it is given at once, a hundred bytes a token.
        for some in _batched(texts, BATCH):
            ids = self.tokenizer(some, add_special_tokens=special, verbose=False)["input_ids"]
            yield from zip(some, ids, strict=True)


def _batched(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Yield `items` in lists of `size`."""
    for at in range(0, len(items), size):
        yield list(items[at : at + size])


def _move_spaces(context: str, continuation: str) -> tuple[str, str]:
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation
