"""When a continuation ends, and its text: stop strings, end-of-text tokens, thoughts.

A row ends at an end-of-text token, or as soon as its last tokens spell a stop string outside a thought. Only the last
few tokens are examined after each new one.

Not here: how tokens are chosen (`harness.engine.decoding.sampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.checkpoints.types import Tokenizer
from harness.engine.decoding import thinking
from harness.engine.decoding.spelling import Speller
from harness.engine.decoding.thinking import KNOWN, Marks

_NO_THOUGHT = -1


class Continuation(NamedTuple):
    """A generated text."""

    text: str
    """The text up to the first stop string outside a thought."""
    tokens: int
    """Number of tokens decoded for it."""


class Stopper:
    """Watches rows that share stop strings; rows are identified by a number."""

    def __init__(
        self, tokenizer: Tokenizer, until: Sequence[str], eos_ids: Sequence[int], marks: Sequence[Marks] = KNOWN
    ) -> None:
        self._tokenizer, self._until, self._eos, self._marks = tokenizer, until, frozenset(eos_ids), marks
        self._speller = Speller(tokenizer, marks)
        # By row, the number of tokens after which to look for the answer; None while the thought is open.
        self._answer_start: dict[int, int | None] = {}
        self._row_marks: dict[int, Sequence[Marks]] = {}
        # Two tokens more than the string's own, because the model may spell it with other tokens.
        watched = (*until, *(text for family in marks for text in family.texts))
        lengths = (len(tokenizer.encode(s, add_special_tokens=False)) for s in watched)
        self._look_back = max(lengths, default=0) + 2

    def watch(self, row: int, *, thinking: bool) -> None:
        """Start watching `row`; `thinking` says that its prompt left a thought open."""
        self._answer_start[row] = None if thinking else _NO_THOUGHT
        self._row_marks[row] = self._marks

    def ended(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> list[bool]:
        """Return for each of `rows` whether it has ended; its `tokens` so far include exactly one new token."""
        tails = [list(row_tokens[-self._look_back :]) for row_tokens in tokens]
        texts = self._tokenizer.batch_decode(tails)
        return [
            tail[-1] in self._eos or any(stop in answer for stop in self._until)
            for tail, answer in zip(tails, map(self._answer, rows, tokens, texts), strict=True)
        ]

    def finish(self, tokens: Sequence[int], *, thinking: bool) -> Continuation:
        """Return the continuation that the `tokens` of an ended row spell."""
        return finished(self._speller, tokens, self._until, self._marks, opened=thinking)

    def _answer(self, row: int, tokens: Sequence[int], text: str) -> str:
        """Return the part of `text`, the end of a row's `tokens`, that belongs to the answer; "" within a thought."""
        start = self._answer_start[row]
        if start == _NO_THOUGHT:
            begun = [family for family in self._marks if family.begins(text)]
            if len(tokens) > self._look_back or not begun:
                return text
            start, self._row_marks[row] = None, begun[:1]
        marks = self._row_marks[row]
        if start is None and thinking.split(text, opened=True, marks=marks).finished:
            start = max(0, len(tokens) - self._look_back)
        self._answer_start[row] = start
        if start is None:
            return ""
        end = str(self._tokenizer.decode(list(tokens[start:])))
        return thinking.split(end, opened=True, marks=marks).answer


def finished(
    speller: Speller,
    tokens: Sequence[int],
    until: Sequence[str],
    marks: Sequence[Marks] = KNOWN,
    *,
    opened: bool = False,
) -> Continuation:
    """Return the text of `tokens`: the whole thought, then the answer up to the first of the stop strings `until`."""
    parts = thinking.split(speller.text(tokens), opened, marks)
    return Continuation(parts.thought + cut(parts.answer, until), len(tokens))


def cut(text: str, until: Sequence[str]) -> str:
    """Return `text` up to the first of the stop strings `until`."""
    for stop in until:
        text = text.split(stop)[0]
    return text
