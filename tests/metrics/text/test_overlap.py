"""Scores of generated texts equal those of the libraries that define them, and ChatGLM-6B's published examples."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jieba
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_chinese import Rouge
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from harness.metrics.text import cuts, overlap, segmenter
from support.languages import TEXTS

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


class Tokenizer:
    """A tokenizer for rouge-score."""

    def __init__(self, tokenize: Callable[[str], Any]) -> None:
        self.tokenize = tokenize


foreign = st.text(st.sampled_from("éа я七はกั한ß.,! 3x'"), max_size=30)


@given(foreign, foreign, st.sampled_from(["unicode", "characters"]))
def test_rouge_of_other_cuts_equals_rouge_scores_with_their_words(prediction, reference, cut):
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Tokenizer(cuts.CUTS[cut]))
    theirs = scorer.score(reference, prediction)
    assert overlap.rouge(prediction, reference, cut) == tuple(score.fmeasure for score in theirs.values())


@given(foreign, foreign, st.sampled_from(["intl", "char"]))
def test_bleu_equals_sacrebleus_sentence_bleu(prediction, reference, tokenizer):
    theirs = BLEU(tokenize=tokenizer, effective_order=True).sentence_score(prediction, [reference])
    assert 100 * overlap.METRICS[f"bleu_{tokenizer}"](prediction, reference) == pytest.approx(theirs.score)


@pytest.mark.parametrize("language", TEXTS)
def test_a_text_scores_1_against_itself_and_0_against_one_without_common_words(language):
    first, second, cut = TEXTS[language]
    names = overlap.metrics_of("rouge", [first, second])
    assert names == tuple(f"{name}{'' if cut == 'words' else f'_{cut}'}" for name in ("rouge1", "rouge2", "rougeL"))
    for name in (*names, *overlap.metrics_of("bleu", [first, second])):
        assert overlap.best(name, f"\n{first} \n", [first]) == pytest.approx(1, abs=1e-7), name
    for name in names:
        if language in ("English", "Indonesian", "French", "German", "Turkish", "Russian", "Greek", "Arabic", "Hindi"):
            assert overlap.best(name, second, [first]) == 0, name
    assert overlap.best(names[0], "?! 😀", [first]) == 0


@pytest.mark.parametrize(
    ("reference", "other"),
    [("a café", "a cafe"), ("Köln", "Kln"), ("Łódź", "Łodz"), ("naïve", "nave"), ("мир", "мор"), ("ไป", "ใป")],
)
def test_a_text_that_differs_in_one_letter_scores_below_1(reference, other):
    for name in (*overlap.metrics_of("rouge", [reference]), *overlap.metrics_of("bleu", [reference])):
        if overlap.is_defined(name, reference):
            assert overlap.best(name, other, [reference]) < 0.95, name
            assert overlap.best(name, reference, [reference]) == pytest.approx(1), name


@pytest.mark.parametrize("metric", ["bleu4_characters", "bleu_char", "rougeL_jieba", "exact_match", "contains"])
def test_line_ends_and_accents_may_be_written_in_two_ways(metric):
    assert overlap.best(metric, "第一行 café\n第二行", ["第一行 cafe\u0301\r\n第二行\r\n"]) == pytest.approx(1)


def test_rouge_2_is_defined_by_two_words():
    assert overlap.metrics_of("rouge", ["Paris", "London"]) == ("rouge1", "rougeL")
    assert overlap.metrics_of("rouge", ["Paris", "New York"]) == ("rouge1", "rouge2", "rougeL")
    assert overlap.best("rouge2", "Paris", ["Paris"]) is None
    assert overlap.best("rouge2", "New York", ["New York", "NYC"]) is None
    assert overlap.best("rouge2", "New York", ["New York", "York City"]) == 1


def test_bleu_is_over_characters_where_spaces_do_not_separate_words():
    assert overlap.metrics_of("bleu", ["春天来了", "花开了。"]) == ("bleu4_characters",)
    assert overlap.metrics_of("bleu", ["春天来了", "花开 "]) == ("bleu_char",)
    assert overlap.metrics_of("bleu", ["Spring is here", "été"]) == ("bleu_intl",)


@pytest.mark.parametrize(
    ("prediction", "reference", "score"),
    [
        ("\n7", "7", 1),
        ("7\n问题：二加二？\n答案：4", "7", 1),
        (" \u200b\r\n 7 \r\n8", "7", 1),
        ("七\n7", "7", 0),
        ("7 个", "7", 0),
        ("第一行\n第二行", "第一行\n第二行\n", 1),
        ("第一行\r\n第二行", "第一行\n第二行", 1),
        ("第一行\n第二行\n第三行", "第一行\n第二行", 0),
        ("第一行", "第一行\n第二行", 0),
        ("cafe\u0301", "café", 1),
        ("", "7", 0),
    ],
)
def test_an_exact_match_reads_the_first_visible_line_unless_the_reference_has_several(prediction, reference, score):
    assert overlap.exact_match(prediction, reference) == score
    assert overlap.best("exact_match", prediction, [reference]) == score


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
