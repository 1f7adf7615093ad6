"""Answers to legal questions: how near they come to a lawyer's, and what is told of the articles they cite.

`record` is an answer with its citations as they were understood, as text that people and `scores` can read.

Not here: which citations there are (`citations`), what is told of them (`citation_scores`), or the likeness to a
reference (`generation`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from harness.metrics.law.citation_scores import Quotations, agreement, among, existing, fabricates, mistitles, redundant
from harness.metrics.law.citations import articles, cited
from harness.metrics.law.statutes import Article, Book, entry
from harness.metrics.text.overlap import rouge_jieba

Value = float | tuple[float, float]


class Turn(NamedTuple):
    """What one side of a conversation says until the other does."""

    speaker: str
    text: str


class Library:
    """The articles at hand in a set of questions: `STATUTES`, and the texts that its documents provide."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.book = Book(texts=dict(found for text in texts if (found := entry(text)) is not None))
        self.quotations = Quotations(self.book)


def record(answer: str) -> str:
    """Return `answer` and its citations as JSON: `{"citations": ["《民法典》第3条第1款"], "answer": "…"}`."""
    understood = [str(one) for one in cited(answer)]
    return json.dumps({"citations": understood, "answer": answer}, ensure_ascii=False)


def answer_of(text: str) -> str:
    """Return the answer that is in a `record`."""
    return str(json.loads(text)["answer"])


def scores(
    answer: str, reference: str, *, given: Sequence[str], provided: Sequence[str], library: Library
) -> dict[str, Value]:
    """Return every metric of one answer; pairs are numerator and denominator of a `ratio` over answers.

    `given` are the articles in the prompt, `provided` those that the data set has for the question, each written
    `《X》第N条：…`; the two differ where articles were retrieved or withheld. A metric that says nothing of this answer
    is left out: precision, recall and F1 where the reference cites nothing, so that it does not say which articles are
    right; precision, existence and the rates of `citation_scores` where the answer cites nothing, existence also where
    it cites only laws that are not in the library; what is about `given` where nothing was given.
    """
    said, gold = articles(answer), articles(reference)
    shown, about = _named(given), _named(provided)
    found: dict[str, Value] = {"rougeL_jieba": rouge_jieba(answer, reference).rouge_l, "abstains": float(not said)}
    if gold:
        right = agreement(said, gold)
        if said:
            found["citation_precision"] = (float(right.hits), float(right.predicted))
        found["citation_recall"] = (float(right.hits), float(right.expected))
        found["citation_f1"] = right.f1_pair
    if not said:
        return found
    if (exist := existing(said, library.book)).of:
        found["citation_exists"] = exist
    found["citation_provided"] = among(said, about)
    found["fabricated"] = float(fabricates(said, library.book))
    found["mistitled"] = float(mistitles(answer, about, library.quotations, library.book))
    if shown:
        found["citation_given"] = among(said, shown)
        if gold:
            found["redundant"] = float(redundant(said, shown, gold))
    return found


def turns(history: Iterable[str]) -> list[Turn]:
    """Return the turns of a conversation written `[speaker] text`; what one speaker says in a row is one turn.

    Raises ValueError where a text names no speaker.
    """
    found: list[Turn] = []
    for line in history:
        speaker, closed, text = line.removeprefix("[").partition("] ")
        if not line.startswith("[") or not closed:
            raise ValueError(f"'{line[:30]}' does not begin with a [speaker]")
        if found and found[-1].speaker == speaker:
            found[-1] = Turn(speaker, f"{found[-1].text}\n{text}")
        else:
            found.append(Turn(speaker, text))
    return found


def _named(texts: Iterable[str]) -> list[Article]:
    """Return which articles `texts` are, those left out that do not say."""
    return [found[0] for text in texts if (found := entry(text)) is not None]
