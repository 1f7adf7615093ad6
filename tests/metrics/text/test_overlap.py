"""Scores of generated texts equal those of the libraries that define them, and ChatGLM-6B's published examples."""

from __future__ import annotations

import json

import jieba
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_chinese import Rouge
from rouge_score.rouge_scorer import RougeScorer

from harness.metrics.text import overlap, segmenter

jieba.initialize()
segmenter.load()
texts = st.text(st.sampled_from("春天来了花开了我们去公园玩ab12 \n。，！？?…”’.的牛仔外套"), max_size=40)


def test_scores_equal_the_published_examples(definitions):
    golden = json.loads((definitions / "adgen.json").read_text(encoding="utf-8"))
    assert len(golden["cases"]) == 7
    for case in golden["cases"]:
        pair = case["prediction"], case["reference"]
        ours = [*overlap.rouge_jieba(*pair), overlap.bleu4_characters(*pair)]
        assert [round(100 * value, 4) for value in ours] == case["scores"], case["name"]


@given(texts, texts)
def test_rouge_equals_rouge_chinese(prediction, reference):
    hypothesis, expected = (" ".join(jieba.cut(text)) for text in (prediction, reference))
    ours = overlap.rouge_jieba(prediction, reference)
    if not hypothesis.strip() or not expected.strip():  # rouge-chinese raises
        assert ours == (0, 0, 0)
        return
    theirs = Rouge().get_scores(hypothesis, expected)[0]
    assert list(ours) == [theirs[name]["f"] for name in ("rouge-1", "rouge-2", "rouge-l")]


@given(texts, texts)
def test_bleu_equals_nltks_sentence_bleu_over_characters(prediction, reference):
    theirs = sentence_bleu([list(reference)], list(prediction), smoothing_function=SmoothingFunction().method3)
    assert overlap.bleu4_characters(prediction, reference) == theirs


@given(st.text("ab c,.1", max_size=30), st.text("ab c,.1", max_size=30))
def test_english_rouge_equals_rouge_score(prediction, reference):
    theirs = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(reference, prediction)
    assert overlap.rouge(prediction, reference) == tuple(score.fmeasure for score in theirs.values())


@given(texts)
def test_scores_lie_between_0_and_1_and_are_1_for_the_text_itself(text):
    if text.strip():
        assert overlap.exact_match(f"\n{text} ", text) == 1
        assert overlap.contains(f"甲{text}乙", text) == 1
        assert overlap.rouge_jieba(text, text).rouge_l == pytest.approx(1, abs=1e-7)
    for value in (*overlap.rouge_jieba(text, "春天来了。"), overlap.bleu4_characters(text, "春天来了。")):
        assert 0 <= value <= 1


def test_empty_predictions_score_0():
    for empty in ("", " ", "\n"):
        assert overlap.rouge_jieba(empty, "春天") == (0, 0, 0)
        assert overlap.rouge(empty, "spring") == (0, 0, 0)
        assert overlap.bleu4_characters(empty, "春天") == 0
        assert overlap.exact_match(empty, "春天") == overlap.contains(empty, "春天") == 0
        assert overlap.number(empty, "3") == 0


def test_numbers_are_compared_by_value():
    assert overlap.number("所以一共是 1,200 元。", "1200") == 1
    assert overlap.number("1/2", "0.5") == 1
    assert overlap.number("12", "1200") == 0
    assert overlap.number("没有", "没有") == 0


def test_best_is_the_highest_score_over_references():
    assert overlap.best("exact_match", "巴黎", ["里昂", "巴黎"]) == 1
    assert overlap.best("exact_match", "马赛", ["里昂", "巴黎"]) == 0
