"""Scores of answers to legal questions: likeness to a lawyer's answer, and the articles of law they cite.

`format_record` writes an answer and its parsed citations as text for people and for `scores`.

Not here: parsing citations (`citations`), the individual citation scores (`citation_scores`), and the likeness to a
reference (`harness.metrics.text.overlap`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from harness.metrics.law import citation_scores
from harness.metrics.law.citation_scores import Quotations
from harness.metrics.law.citations import cited_articles, cited_provisions
from harness.metrics.law.statutes import Article, StatuteBook, parse_entry
from harness.metrics.text.overlap import rouge_jieba

Value = float | tuple[float, float]


class Turn(NamedTuple):
    """Everything that one side of a conversation says before the other side replies."""

    speaker: str
    text: str


class Library:
    """The articles available to a task: `STATUTES`, and the texts that its documents provide."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.book = StatuteBook(texts=dict(entry for text in texts if (entry := parse_entry(text)) is not None))
        self.quotations = Quotations(self.book)


def format_record(answer: str) -> str:
    """Return `answer` and its citations as JSON: `{"citations": ["《民法典》第3条第1款"], "answer": "…"}`."""
    citations = [str(provision) for provision in cited_provisions(answer)]
    return json.dumps({"citations": citations, "answer": answer}, ensure_ascii=False)


def answer_in_record(record: str) -> str:
    """Return the answer in a record that `format_record` wrote."""
    return str(json.loads(record)["answer"])


def scores(
    answer: str, reference: str, *, given: Sequence[str], provided: Sequence[str], library: Library
) -> dict[str, Value]:
    """Return every metric that is defined for one answer; a value that is a pair is for `estimates.ratio` over answers.

    `given` are the articles in the prompt, `provided` the articles that the data set has for the question, each written
    `《X》第N条：…`. The two differ if articles were retrieved or withheld. A metric that is undefined for this answer
    is omitted:

    - precision, recall, F1 and redundancy if the reference cites nothing, since it then does not say what is right;
    - precision, existence and the rates of `citation_scores` if the answer cites nothing, and existence also if the
      answer cites only laws that are not in the library;
    - the metrics about `given` if nothing was given.
    """
    cited, expected = cited_articles(answer), cited_articles(reference)
    in_prompt, about = _articles(given), _articles(provided)
    values: dict[str, Value] = {"rougeL_jieba": rouge_jieba(answer, reference).rouge_l, "abstains": float(not cited)}
    if expected:
        counts = citation_scores.agreement(cited, expected)
        if cited:
            values["citation_precision"] = (float(counts.hits), float(counts.predicted))
        values["citation_recall"] = (float(counts.hits), float(counts.expected))
        values["citation_f1"] = counts.f1_pair
    if not cited:
        return values
    if (existing := citation_scores.existing_share(cited, library.book)).total:
        values["citation_exists"] = existing
    values["citation_provided"] = citation_scores.share_among(cited, about)
    values["fabricated"] = float(citation_scores.cites_fabricated(cited, library.book))
    values["mistitled"] = float(citation_scores.cites_mistitled(answer, about, library.quotations, library.book))
    if in_prompt:
        values["citation_given"] = citation_scores.share_among(cited, in_prompt)
        if expected:
            values["redundant"] = float(citation_scores.cites_redundant(cited, in_prompt, expected))
    return values


def parse_turns(history: Iterable[str]) -> list[Turn]:
    """Return the turns of a conversation of lines `[speaker] text`; consecutive lines of one speaker are one turn.

    Raises ValueError if a line names no speaker.
    """
    turns: list[Turn] = []
    for line in history:
        speaker, closed, text = line.removeprefix("[").partition("] ")
        if not line.startswith("[") or not closed:
            raise ValueError(f"'{line[:30]}' does not begin with a [speaker]")
        if turns and turns[-1].speaker == speaker:
            turns[-1] = Turn(speaker, f"{turns[-1].text}\n{text}")
        else:
            turns.append(Turn(speaker, text))
    return turns


def _articles(texts: Iterable[str]) -> list[Article]:
    """Return the articles in `texts` of the form `《X》第N条：…`; texts of another form are skipped."""
    return [entry[0] for text in texts if (entry := parse_entry(text)) is not None]
