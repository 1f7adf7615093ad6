"""When a continuation ends, and its text: stop strings, end-of-text tokens, thoughts.

A row ends at an end-of-text token, or as soon as its last tokens spell a stop string outside a thought. A stop string
of white space counts only behind the first visible character of the answer: a model that begins with a line end has not
answered yet. Only the last few tokens are examined after each new one.

Not here: how tokens are chosen (`harness.engine.decoding.sampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.checkpoints.types import Tokenizer
from harness.common.visible import first_visible, has_visible
from harness.engine.decoding import thinking
from harness.engine.decoding.spelling import Speller, special_ids
from harness.engine.decoding.thinking import KNOWN, Marks

_NO_THOUGHT = -1


class Continuation(NamedTuple):
    """A generated text."""

    text: str
    """The text up to the first stop string outside a thought."""
    tokens: int
    """Number of tokens decoded for it."""
    is_cut: bool = False
    """Whether the answer reached its limit of tokens before it ended."""


class Stopper:
    """Watches rows that share stop strings; rows are identified by a number."""

    def __init__(
        self, tokenizer: Tokenizer, until: Sequence[str], eos_ids: Sequence[int], marks: Sequence[Marks] = KNOWN
    ) -> None:
        self._tokenizer, self._until, self._eos, self._marks = tokenizer, until, frozenset(eos_ids), marks
        self._stops = [stop for stop in until if stop.strip()]
        self._blank_stops = [stop for stop in until if not stop.strip()]
        self._speller = Speller(tokenizer, marks)
        self._special = special_ids(tokenizer)
        # By row, the number of tokens after which to look for the answer; None while the thought is open.
        self._answer_start: dict[int, int | None] = {}
        self._row_marks: dict[int, Sequence[Marks]] = {}
        # By row, the token with the answer's first visible character.
        self._first_visible: dict[int, int] = {}
        # Two tokens more than the string's own, because the model may spell it with other tokens.
        watched = (*until, *(text for family in marks for text in family.texts))
        lengths = (len(tokenizer.encode(s, add_special_tokens=False)) for s in watched)
        self._look_back = max(lengths, default=0) + 2

    def watch(self, row: int, *, thinking: bool) -> None:
        """Start watching `row`; `thinking` says that its prompt left a thought open."""
        self._answer_start[row] = None if thinking else _NO_THOUGHT
        self._row_marks[row] = self._marks
        self._first_visible.pop(row, None)

    def ended(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> list[bool]:
        """Return for each of `rows` whether it has ended; its `tokens` so far include exactly one new token."""
        tails = [list(row_tokens[-self._look_back :]) for row_tokens in tokens]
        texts = self._tokenizer.batch_decode(tails)
        return [
            tail[-1] in self._eos or self._has_stop(row, row_tokens, text)
            for tail, row, row_tokens, text in zip(tails, rows, tokens, texts, strict=True)
        ]

    def finish(self, tokens: Sequence[int], *, thinking: bool, ended: bool) -> Continuation:
        """Return the continuation that the `tokens` of a row spell; `ended` says whether it ended before its limit."""
        return finished(self._speller, tokens, self._until, self._marks, opened=thinking, ended=ended)

    def _has_stop(self, row: int, tokens: Sequence[int], text: str) -> bool:
        """Return whether the answer of `row` has a stop string; `text` is the end of its `tokens`."""
        answer = self._answer(row, tokens, text)
        if self._answer_start[row] is None:
            self._first_visible.pop(row, None)  # what was visible began a thought
            return False
        if row not in self._first_visible and has_visible(answer) and tokens[-1] not in self._special:
            self._first_visible[row] = len(tokens) - 1
        first = self._first_visible.get(row)
        if first is not None and first <= len(tokens) - self._look_back:
            return find_stop(answer, self._until, begun=True) is not None
        if first is not None and self._blank_stops:  # what precedes it are white space and special tokens
            begun = str(self._tokenizer.decode(list(tokens[first:])))
            if find_stop(begun, self._blank_stops) is not None:
                return True
        return find_stop(answer, self._stops) is not None

    def _answer(self, row: int, tokens: Sequence[int], text: str) -> str:
        """Return the part of `text`, the end of a row's `tokens`, that belongs to the answer; "" within a thought."""
        start = self._answer_start[row]
        if start == _NO_THOUGHT:
            if len(tokens) > self._look_back:
                return text
            begun = [family for family in self._marks if family.begins(text)]
            if not begun:
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
    ended: bool = True,
) -> Continuation:
    """Return the text of `tokens`: the whole thought, then the answer up to the first of the stop strings `until`.

    `ended` says whether an end-of-text token or a stop string ended it, rather than its limit.
    """
    parts = thinking.split(speller.text(tokens), opened, marks)
    answer = cut(parts.answer, until)
    return Continuation(parts.thought + answer, len(tokens), not ended and answer == parts.answer)


def cut(text: str, until: Sequence[str]) -> str:
    """Return the answer `text` up to the first of the stop strings `until` (`find_stop`)."""
    return text[: find_stop(text, until)]


def find_stop(text: str, until: Sequence[str], *, begun: bool = False) -> int | None:
    """Return where the first of the stop strings `until` begins in the answer `text`, or None.

    White space before the first visible character is no stop, where lm-eval would return an empty answer; `begun` says
    that visible characters precede `text`.
    """
    start = 0 if begun else first_visible(text)
    places = (text.find(stop, 0 if stop.strip() else start) for stop in until)
    return min((place for place in places if place >= 0), default=None)
