"""When a continuation ends, and what its text is: stop strings, end-of-text tokens, thoughts.

A row (an answer) ends at an end-of-text token, or as soon as its last tokens spell a stop string outside a thought. A
stop string of white space counts only after the first visible character of the answer, because a model that begins with
a line end has not answered yet.

Not here: how tokens are chosen (`harness.engine.decoding.sampling`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from harness.checkpoints.types import Tokenizer
from harness.common.visible import first_visible
from harness.engine.decoding import thinking
from harness.engine.decoding.spelling import Speller, special_ids
from harness.engine.decoding.thinking import KNOWN, Marks


class Continuation(NamedTuple):
    """A generated text."""

    text: str
    """The text up to the first stop string outside a thought."""
    tokens: int
    """Number of tokens decoded for the text, even if they do not appear in it."""
    is_cut: bool = False
    """Whether the answer reached its limit of tokens before it ended."""


class Stopper:
    """Watches rows that share stop strings; rows are identified by a number.

    After each new token, only the last few tokens are examined; if these contain a mark of a thought or a stop string,
    the whole text is read.
    """

    def __init__(
        self, tokenizer: Tokenizer, until: Sequence[str], eos_ids: Sequence[int], marks: Sequence[Marks] = KNOWN
    ) -> None:
        self._tokenizer, self._until, self._eos, self._marks = tokenizer, until, frozenset(eos_ids), marks
        self._speller = Speller(tokenizer, marks)
        special = [str(tokenizer.convert_ids_to_tokens(i)) for i in special_ids(tokenizer)]
        self._special_stops = [stop for stop in until if stop.strip() and any(token in stop for token in special)]
        self._opening = _any_of([family.beginning_pattern for family in marks])
        self._closing = _any_of([family.ending_pattern for family in marks])
        # By row: whether its prompt left a thought open, and whether its last token is inside a thought.
        self._opened: dict[int, bool] = {}
        self._is_thinking: dict[int, bool] = {}
        # Two tokens more than the string's own, because the model may spell it with other tokens.
        watched = (*until, *(text for family in marks for text in family.texts))
        lengths = (len(tokenizer.encode(s, add_special_tokens=False)) for s in watched)
        self._look_back = max(lengths, default=0) + 2

    def watch(self, row: int, *, thinking: bool) -> None:
        """Start watching `row`; `thinking` says that its prompt left a thought open."""
        self._opened[row] = self._is_thinking[row] = thinking

    def ended(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> list[bool]:
        """Return for each of `rows` whether it has ended; `tokens` has all tokens of each row, one of them new."""
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
        """Return whether the answer of `row` has a stop string; `text` is what the last of its `tokens` spell."""
        opened = self._opened[row]
        marks = self._closing if self._is_thinking[row] else self._opening
        if marks is not None and marks.search(text):
            *_, last = (None, *thinking.thoughts(self._speller.text(tokens), opened, self._marks))
            self._is_thinking[row] = last is not None and last.end is None
        if self._is_thinking[row] or not any(stop in text for stop in self._until):
            return False
        if find_end(self._speller.text(tokens), self._until, opened, self._marks) is not None:
            return True
        if not self._special_stops:
            return False
        return find_end(str(self._tokenizer.decode(list(tokens))), self._special_stops, opened, self._marks) is not None


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

    `ended` says whether an end-of-text token or a stop string ended the text, rather than its limit of tokens.
    """
    text = speller.text(tokens)
    end = find_end(text, until, opened, marks)
    parts = thinking.split(text[:end], opened, marks)
    return Continuation(parts.thought + parts.answer, len(tokens), not ended and end is None)


def find_end(text: str, until: Sequence[str], opened: bool = False, marks: Sequence[Marks] = KNOWN) -> int | None:
    """Return where the first stop string of `until` outside of thoughts begins in `text`, or None."""
    place = 0
    for thought in thinking.thoughts(text, opened, marks):
        stop = find_stop(text[place : thought.start], until)
        if stop is not None:
            return place + stop
        if thought.end is None:
            return None
        place = thought.end
    stop = find_stop(text[place:], until)
    return None if stop is None else place + stop


def cut(text: str, until: Sequence[str]) -> str:
    """Return the answer `text` up to the first of the stop strings `until` (`find_stop`)."""
    return text[: find_stop(text, until)]


def find_stop(text: str, until: Sequence[str]) -> int | None:
    """Return where the first of the stop strings `until` begins in the answer `text`, or None.

    White space before the first visible character does not count; in lm-eval it does, and makes the answer empty.
    """
    start = first_visible(text)
    places = (text.find(stop, 0 if stop.strip() else start) for stop in until)
    return min((place for place in places if place >= 0), default=None)


def _any_of(patterns: Sequence[re.Pattern[str]]) -> re.Pattern[str] | None:
    """Return a pattern that matches whatever any of `patterns` matches, or None if there are none."""
    return re.compile("|".join(f"(?:{pattern.pattern})" for pattern in patterns)) if patterns else None
