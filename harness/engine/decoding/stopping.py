"""When a continuation ends, and which text it is: stop strings, end-of-text tokens, thoughts.

A row ends at an end-of-text token, or once its last tokens spell a stop string outside a thought. Only the last few
tokens are looked at after each new one.

Not here: choosing tokens (`harness.engine.decoding.sampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.engine.decoding import thinking
from harness.engine.decoding.thinking import CLOSE, OPEN

_NO_THOUGHT = -1


class Continuation(NamedTuple):
    """The text up to the first stop string outside a thought, and how many tokens were decoded for it."""

    text: str
    tokens: int


class Stopper:
    """Watches rows of one manner; `rows` are told apart by a number."""

    def __init__(self, tokenizer: Any, until: Sequence[str], eos_ids: Sequence[int]) -> None:
        self._tokenizer, self._until, self._eos = tokenizer, until, frozenset(eos_ids)
        # Where to look for the answer after a thought, in tokens of the row; None while it thinks.
        self._since: dict[int, int | None] = {}
        # Two tokens more than the string's own: the model may spell it with other pieces.
        watched = (*until, OPEN, CLOSE)
        self._look_back = max(len(tokenizer.encode(s, add_special_tokens=False)) + 2 for s in watched)

    def watch(self, row: int, *, thinking: bool) -> None:
        """Begin with `row`, whose prompt may have left a thought open."""
        self._since[row] = None if thinking else _NO_THOUGHT

    def ended(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> list[bool]:
        """Tell of each of `rows`, whose `tokens` so far end in a new one, whether it has ended."""
        tails = [list(one[-self._look_back :]) for one in tokens]
        texts = self._tokenizer.batch_decode(tails)
        return [
            tail[-1] in self._eos or any(stop in answer for stop in self._until)
            for tail, answer in zip(tails, map(self._answer, rows, tokens, texts), strict=True)
        ]

    def finish(self, tokens: Sequence[int], *, thinking: bool) -> Continuation:
        """Return what the `tokens` of an ended row say."""
        return finished(self._tokenizer, tokens, self._until, opened=thinking)

    def _answer(self, row: int, tokens: Sequence[int], text: str) -> str:
        """Return what belongs to the answer of `text`, the end of a row's `tokens`; "" within a thought."""
        since = self._since[row]
        if since == _NO_THOUGHT:
            if len(tokens) > self._look_back or not text.lstrip().startswith(OPEN):
                return text
            since = None
        if since is None and CLOSE in text:
            since = max(0, len(tokens) - self._look_back)
        self._since[row] = since
        if since is None:
            return ""
        return str(self._tokenizer.decode(list(tokens[since:]))).rsplit(CLOSE, 1)[-1].lstrip()


def finished(tokenizer: Any, tokens: Sequence[int], until: Sequence[str], *, opened: bool = False) -> Continuation:
    """Return the text of `tokens`: the answer cut at the first of `until`, the thought before it whole."""
    parts = thinking.split(_text(tokenizer, list(tokens)), opened)
    return Continuation(parts.thought + cut(parts.answer, until), len(tokens))


def cut(text: str, until: Sequence[str]) -> str:
    """Return `text` before the first of the stop strings `until`."""
    for stop in until:
        text = text.split(stop)[0]
    return text


def _text(tokenizer: Any, ids: list[int]) -> str:
    """Return `ids` as text without special tokens, but with the marks of a thought where they are special."""
    special = set(tokenizer.all_special_ids)
    named = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in (OPEN, CLOSE)}
    # A tokenizer that has no such token answers with the one for the unknown, which may be special.
    marks = {i for mark, i in named.items() if i in special and tokenizer.convert_ids_to_tokens(i) == mark}
    if not marks.intersection(ids):
        return str(tokenizer.decode(ids, skip_special_tokens=True))
    return str(tokenizer.decode([i for i in ids if i in marks or i not in special]))
