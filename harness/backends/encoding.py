"""Text → token ids exactly as lm-eval's HFLM does it, but in batches and each distinct text once.

Context and continuation are tokenised as one text. If the context alone has n ids, the continuation's ids are those of
the whole text after the first n. (These n may differ from the ids of the context alone.) A text that already starts
with the tokenizer's BOS does not get a second BOS.

Not here: truncation to the context length, which depends on the kind of request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from harness.checkpoints import tokenizer_files
from harness.checkpoints.types import Tokenizer
from harness.engine.requests import Pair
from harness.errors import HarnessError

T = TypeVar("T")
BATCH = 256
"""Number of texts that are tokenised at once."""


class Encoder:
    """A tokenizer that encodes texts for requests."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.prefix_id: int | None = bos if bos is not None else eos
        """The token before a text that has no context: BOS, else EOS."""
        self._prefix = None if self.prefix_id is None else tokenizer.decode(self.prefix_id)
        self._interned: dict[int, int] = {}

    def encode(self, texts: Iterable[str], *, special: bool = True) -> dict[str, list[int]]:
        """Return the ids of every distinct text; with `special`, the tokenizer adds its own BOS (or EOS).

        Equal ids are one and the same Python integer, because an integer takes four times the memory of a reference.
        """
        intern = self._interned.setdefault
        return {text: [intern(i, i) for i in ids] for text, ids in self._encode(texts, special=special)}

    def _encode(self, texts: Iterable[str], *, special: bool = True) -> Iterator[tuple[str, list[int]]]:
        """Yield every distinct text with its ids."""
        without_special: list[str] = []
        with_special: list[str] = []
        for text in dict.fromkeys(texts):
            has_prefix = bool(self._prefix and text.startswith(self._prefix))
            (with_special if special and not has_prefix else without_special).append(text)
        yield from self._tokenize(without_special, special=False)
        yield from self._tokenize(with_special, special=True)

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
        """Return the ids of (context, continuation) texts, in order.

        Spaces at the end of a context move to the continuation; an empty context becomes the prefix token. If the
        tokenizer merges the whole continuation into the context's last token, this token is scored. Raises HarnessError
        on an empty continuation, or on an empty context if the tokenizer has neither BOS nor EOS.
        """
        moved = [_move_spaces(context, continuation) for context, continuation in pairs]
        contexts = self.encode(context for context, _ in moved if context)
        without_context = self.encode((continuation for context, continuation in moved if not context), special=False)
        result = []
        # Only the end of a joined text is kept, so they are encoded in batches and never held all at once.
        for batch in _batches(moved, BATCH):
            joined = dict(self._encode(context + continuation for context, continuation in batch if context))
            for context, continuation in batch:
                if context:
                    ids = joined[context + continuation]
                    result.append(self._split(context, continuation, contexts[context], ids))
                else:
                    result.append(self._pair_without_context(without_context[continuation]))
        return result

    def _split(self, context: str, continuation: str, context_ids: list[int], joined: list[int]) -> Pair:
        if not continuation or not joined:
            raise HarnessError(f"a task scores an empty continuation after {context[-60:]!r}")
        rest = joined[len(context_ids) :]
        if not rest:  # the tokenizer merged the continuation into the context's last token: score that token
            context_ids, rest = joined[:-1], joined[-1:]
        return Pair(context_ids, rest) if context_ids else Pair([self.start()], rest)

    def _pair_without_context(self, ids: list[int]) -> Pair:
        if not ids:
            raise HarnessError("a task scores an empty continuation after an empty context")
        if len(ids) > 1 and ids[0] == self.prefix_id:
            return Pair(ids[:1], ids[1:])
        return Pair([self.start()], ids)

    def start(self) -> int:
        """Return the token before a text without a context. Raises HarnessError if the tokenizer has none."""
        if self.prefix_id is None:
            raise HarnessError("a task has an empty context, and this tokenizer has neither a BOS nor an EOS token")
        return self.prefix_id

    def eos_text(self) -> str | None:
        """Return the end-of-text token as text, or None if the tokenizer has none."""
        eos = self.tokenizer.eos_token_id
        return None if eos is None else str(self.tokenizer.decode(eos))

    def _tokenize(self, texts: list[str], *, special: bool) -> Iterator[tuple[str, list[int]]]:
        # A tokenizer keeps offsets, words and masks of all texts of a call: a hundred bytes for each token.
        for batch in _batches(texts, BATCH):
            ids = tokenizer_files.ids(self.tokenizer, batch, add_special_tokens=special)
            yield from zip(batch, ids, strict=True)


def _batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _move_spaces(context: str, continuation: str) -> tuple[str, str]:
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation
