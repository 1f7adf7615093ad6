"""Retrieval, from files to measures: read a corpus and questions, index the corpus, search it, evaluate the results.

Not here: file formats (`harness.retrieval.corpus`, `harness.retrieval.articles`), ranking (`harness.retrieval.index`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.common import progress
from harness.metrics.stats.estimates import Estimate, mean_estimate
from harness.metrics.text.ranking import hit_at, recall_at, reciprocal_rank_at
from harness.retrieval import articles, corpus
from harness.retrieval import index as indexes
from harness.retrieval.corpus import Question
from harness.retrieval.index import Hit, Index, Passage


class Encoding(NamedTuple):
    """The encoder of dense retrieval."""

    name: str
    """The encoder: a folder, or a name on the hub."""
    query_prefix: str = ""
    """Text put before every query."""
    device: str | None = None


@dataclass(frozen=True)
class Retrieval:
    """What passages to retrieve, for which questions, and how."""

    corpus: str
    """The passages: a file, a folder, or `ORG/NAME:CONFIG` in `data`. `questions` has the same forms."""
    questions: str
    cut_offs: Sequence[int]
    """The numbers k of recall@k and hit@k."""
    top: int
    """The number of passages needed per question; more are retrieved if `cut_offs` need more."""
    data: Path | None = None
    """The folder of a mirror of data sets, with a folder `<org>/<name>` for each data set."""
    encoding: Encoding | None = None
    """The encoder of dense retrieval; None for retrieval by words (BM25)."""


class Retrieved(NamedTuple):
    """The passages found for each question, and how good they are."""

    description: str
    """How the index ranks passages, in a few words."""
    passages: list[Passage]
    questions: list[Question]
    hits: list[list[Hit]]
    """The passages found for each question, the best first."""
    replaced: int
    """The number of articles that were left out because a text of the same law, further on in the corpus, has them,
    too."""
    measures: Mapping[tuple[str, str], Estimate]
    """Estimates by (set of right passages, measure), both by name. Empty if no question has right passages."""

    def write(self, file: Path, top: int) -> None:
        """Write the best `top` passages of each question to the JSON Lines file `file`.

        Raises HarnessError if the file cannot be written.
        """
        articles.write(file, self.questions, [hits[:top] for hits in self.hits], self.passages)


def retrieve(retrieval: Retrieval) -> Retrieved:
    """Search the corpus for every question, and evaluate what is found.

    Raises HarnessError if a file is missing or malformed, or the encoder cannot be loaded.
    """
    with progress.status("reading the corpus and the questions"):
        passage_corpus = corpus.read_corpus(corpus.find_files(retrieval.corpus, retrieval.data))
        questions = corpus.read_questions(corpus.find_files(retrieval.questions, retrieval.data), passage_corpus)
    index = _index([passage.text for passage in passage_corpus.passages], retrieval.encoding)
    depth = max(retrieval.top, *retrieval.cut_offs)
    with progress.bar("searching", len(questions), "questions") as bar:
        hits = index.search([question.query for question in questions], depth, bar.advance)
    ids = [[passage_corpus.passages[hit.place].id for hit in of_query] for of_query in hits]
    return Retrieved(
        description=index.description,
        passages=passage_corpus.passages,
        questions=questions,
        hits=hits,
        replaced=passage_corpus.replaced,
        measures=evaluate(questions, ids, retrieval.cut_offs),
    )


def _index(texts: Sequence[str], encoding: Encoding | None) -> Index:
    encode = None if encoding is None else indexes.sentence_encoder(encoding.name, encoding.device)
    with progress.bar("indexing", len(texts), "passages") as bar:
        if encoding is None or encode is None:
            return indexes.WordIndex(texts, bar.advance)
        return indexes.DenseIndex(texts, encode, encoding.name, encoding.query_prefix, bar.advance)


def evaluate(
    questions: Sequence[Question], ranked: Sequence[Sequence[str]], cut_offs: Sequence[int]
) -> dict[tuple[str, str], Estimate]:
    """Return the mean of every measure for every set of right passages, over the questions that have this set.

    The keys are (set, measure). The measures are `recall@k` and `hit@k` for each k of `cut_offs`, and `mrr@k` for the
    largest k. `ranked` has, per question, as many passage ids as the largest k, or fewer if fewer were found.
    """
    measures: dict[tuple[str, str], Estimate] = {}
    for name in dict.fromkeys(name for question in questions for name in question.gold):
        pairs = [
            (question.gold[name], ids) for question, ids in zip(questions, ranked, strict=True) if name in question.gold
        ]
        for k in cut_offs:
            measures[name, f"recall@{k}"] = mean_estimate([recall_at(ids, gold, k) for gold, ids in pairs])
            measures[name, f"hit@{k}"] = mean_estimate([hit_at(ids, gold, k) for gold, ids in pairs])
        depth = max(cut_offs)
        measures[name, f"mrr@{depth}"] = mean_estimate([reciprocal_rank_at(ids, gold, depth) for gold, ids in pairs])
    return measures
