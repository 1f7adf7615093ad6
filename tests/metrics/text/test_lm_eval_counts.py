"""What pairs add makes sacrebleu's corpus score, its own function making it of the sums."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from harness.metrics.text import lm_eval_counts
from tolerances import SUMS

texts = st.lists(st.sampled_from(["a", "cat", "b.", ",", "白色"]), max_size=9).map(" ".join)
corpora = st.integers(1, 2).flatmap(
    lambda count: st.lists(st.tuples(texts, st.lists(texts, min_size=count, max_size=count)), min_size=1, max_size=5)
)
Corpus = list[tuple[str, list[str]]]


def theirs(scorer: Any, corpus: Corpus) -> float:
    return scorer.corpus_score(
        [said for said, _ in corpus], [*zip(*(wanted for _, wanted in corpus), strict=True)]
    ).score


def sums(count: Any, corpus: Corpus, **settings: Any) -> list[float]:
    return count([said for said, _ in corpus], [wanted for _, wanted in corpus], **settings).sum(axis=0).tolist()


@settings(max_examples=50, deadline=None)
@given(corpora)
def test_bleu_is_made_of_its_counts(corpus: Corpus) -> None:
    said, wanted, *runs = map(int, sums(lm_eval_counts.bleu, corpus))
    made = BLEU.compute_bleu(runs[:4], runs[4:], said, wanted, smooth_method="exp")
    assert made.score == pytest.approx(theirs(BLEU(), corpus), rel=SUMS)


@settings(max_examples=50, deadline=None)
@given(corpora, st.sampled_from([0, 2]))
def test_chrf_is_made_of_its_counts(corpus: Corpus, words: int) -> None:
    found, orders = sums(lm_eval_counts.chrf, corpus, words=words), 6 + words
    said, wanted, both = (found[start : start + orders] for start in range(0, 3 * orders, orders))
    used = [order for order in range(orders) if said[order] and wanted[order]]
    precision, recall = (sum(both[i] / below[i] for i in used) / max(1, len(used)) for below in (said, wanted))
    score = 500 * precision * recall / (4 * precision + recall) if precision + recall else 0
    assert score == pytest.approx(theirs(CHRF(word_order=words), corpus), rel=SUMS)


@settings(max_examples=50, deadline=None)
@given(corpora)
def test_ter_is_made_of_its_counts(corpus: Corpus) -> None:
    edits, length = sums(lm_eval_counts.ter, corpus)
    score = 100 * edits / length if length else 100 * (edits > 0)
    assert score == pytest.approx(theirs(TER(), corpus), rel=SUMS)
