"""The sums of the counts determine sacrebleu's corpus score."""

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


def sacrebleu_score(scorer: Any, corpus: Corpus) -> float:
    predictions = [prediction for prediction, _ in corpus]
    return scorer.corpus_score(predictions, [*zip(*(references for _, references in corpus), strict=True)]).score


def sums(count: Any, corpus: Corpus, **settings: Any) -> list[float]:
    predictions, references = zip(*corpus, strict=True)
    return count(predictions, references, **settings).sum(axis=0).tolist()


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(corpora)
def test_bleu_follows_from_the_sums(corpus: Corpus) -> None:
    predicted, expected, *runs = map(int, sums(lm_eval_counts.bleu, corpus))
    bleu = BLEU.compute_bleu(runs[:4], runs[4:], predicted, expected, smooth_method="exp")
    assert bleu.score == pytest.approx(sacrebleu_score(BLEU(), corpus), rel=SUMS)


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(corpora, st.sampled_from([0, 2]))
def test_chrf_follows_from_the_sums(corpus: Corpus, words: int) -> None:
    counts, orders = sums(lm_eval_counts.chrf, corpus, words=words), 6 + words
    predicted, expected, both = (counts[start : start + orders] for start in range(0, 3 * orders, orders))
    used = [order for order in range(orders) if predicted[order] and expected[order]]
    precision, recall = (sum(both[i] / all_[i] for i in used) / max(1, len(used)) for all_ in (predicted, expected))
    score = 500 * precision * recall / (4 * precision + recall) if precision + recall else 0
    assert score == pytest.approx(sacrebleu_score(CHRF(word_order=words), corpus), rel=SUMS)


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(corpora)
def test_ter_follows_from_the_sums(corpus: Corpus) -> None:
    edits, length = sums(lm_eval_counts.ter, corpus)
    score = 100 * edits / length if length else 100 * (edits > 0)
    assert score == pytest.approx(sacrebleu_score(TER(), corpus), rel=SUMS)
