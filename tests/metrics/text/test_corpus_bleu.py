"""Corpus scores equal sacrebleu's to the last bit, for any documents drawn from a corpus."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

from harness.metrics.text import corpus_bleu
from support.growth import is_proportional

characters = st.text(st.sampled_from("白色的上衣，。简约 \n　…“”a字B-3.5,!-~é㐀𠀀\u2028ｱ￥☀"), max_size=30)
texts = st.one_of(characters, st.text(max_size=8))
corpora = st.lists(st.tuples(texts, texts.filter(bool)), min_size=1, max_size=6)


def sacrebleu_score(metric: str, pairs: list[tuple[str, str]]) -> float:
    scorer = BLEU(tokenize="zh") if metric == "bleu_zh" else CHRF()
    return scorer.corpus_score([prediction for prediction, _ in pairs], [[reference for _, reference in pairs]]).score


def our_score(metric: str, pairs: list[tuple[str, str]]) -> float:
    if metric == "bleu_zh":
        return corpus_bleu.bleu([corpus_bleu.bleu_zh_counts(*pair) for pair in pairs])
    return corpus_bleu.chrf([corpus_bleu.chrf_counts(*pair) for pair in pairs])


@given(st.one_of(texts, st.lists(st.one_of(texts, st.characters()), max_size=9).map("".join)))
def test_tokens_equal_sacrebleus(text: str) -> None:
    assert corpus_bleu.tokens_zh(text) == TokenizerZh()(text).split()


def test_the_same_characters_are_chinese_as_in_sacrebleu() -> None:
    tokenizer = TokenizerZh()
    for code in (*range(0xD800), *range(0xE000, 0x10000), 0x20000, 0x2A6D6, 0x2F800, 0x2FA1D):
        text = f"a{chr(code)}1"
        assert corpus_bleu.tokens_zh(text) == tokenizer(text).split(), hex(code)


@pytest.mark.parametrize("metric", ["bleu_zh", "chrf"])
@given(pairs=corpora)
def test_corpus_scores_equal_sacrebleus(metric: str, pairs: list[tuple[str, str]]) -> None:
    assert our_score(metric, pairs) == sacrebleu_score(metric, pairs)


@pytest.mark.parametrize("metric", ["bleu_zh", "chrf"])
def test_counts_of_resampled_documents_give_the_score_of_those_documents(metric: str) -> None:
    chance = random.Random(0)
    words = ["白色", "上衣", "简约", "polo领", "，", "A字", "3.5"]
    predictions = ["".join(chance.choices(words, k=12)) for _ in range(40)]
    pairs = [(prediction, "".join(chance.choices(words, k=12))) for prediction in predictions]
    for _ in range(5):
        drawn = chance.choices(pairs, k=40)
        assert our_score(metric, drawn) == sacrebleu_score(metric, drawn) > 0


@pytest.mark.parametrize("metric", ["bleu_zh", "chrf"])
def test_empty_predictions_score_0_and_count(metric: str) -> None:
    for pairs in ([], [("", "白色上衣")], [(" \n", "白色上衣")]):
        assert our_score(metric, pairs) == 0
    perfect = [("白色的上衣很百搭", "白色的上衣很百搭")]
    assert our_score(metric, perfect) == pytest.approx(100)
    assert our_score(metric, [*perfect, ("", "白色的上衣很百搭")]) < 100 - 10


def test_counts_stored_as_json_give_the_same_score() -> None:
    pairs = [("白色的上衣", "白色上衣"), ("polo领", "polo领3.5")]
    for count, score in ((corpus_bleu.bleu_zh_counts, corpus_bleu.bleu), (corpus_bleu.chrf_counts, corpus_bleu.chrf)):
        counts = [count(*pair) for pair in pairs]
        assert score(json.loads(json.dumps(counts))) == score(counts) > 0


def test_signatures_equal_sacrebleus() -> None:
    for metric, scorer in (("bleu_zh", BLEU(tokenize="zh")), ("chrf", CHRF())):
        scorer.corpus_score(["甲"], [["甲"]])
        assert corpus_bleu.signature(metric) == str(scorer.get_signature())
    with pytest.raises(KeyError):
        corpus_bleu.signature("bleu")


def test_time_is_proportional_to_length() -> None:
    def count(text: str) -> None:
        corpus_bleu.bleu_zh_counts(text, text[::-1])
        corpus_bleu.chrf_counts(text, text[::-1])

    for piece in ("白色的上衣，", "ab,", "....", "  -1", "。 "):
        assert is_proportional(count, piece, 2_000, 20_000), piece
