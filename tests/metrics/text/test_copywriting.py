"""ADGEN: upstream's scores to the last digit, attributes, lines of its prediction files."""

from __future__ import annotations

import json
from pathlib import Path

import jieba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_chinese import Rouge

from harness.errors import HarnessError
from harness.metrics.text import copywriting, segmenter
from harness.metrics.text.copywriting import Attribute, Line
from support.growth import is_proportional

jieba.initialize()
segmenter.load()
texts = st.text(st.sampled_from("简约的牛仔外套，白色衣身百搭。polo领3%ab \n！？…”"), max_size=60)


def main_py(prediction: str, reference: str) -> list[float]:
    """Return the scores of THUDM/ChatGLM-6B's compute_metrics for one answer, reimplemented from its description."""
    joined = [" ".join(jieba.cut(text)) for text in (prediction, reference)]
    rouge = Rouge().get_scores(*joined)[0]
    bleu = sentence_bleu([list(reference)], list(prediction), smoothing_function=SmoothingFunction().method3)
    return [*(round(rouge[name]["f"] * 100, 4) for name in ("rouge-1", "rouge-2", "rouge-l")), round(bleu * 100, 4)]


def test_scores_equal_the_published_examples(definitions: Path) -> None:
    golden = json.loads((definitions / "adgen.json").read_text(encoding="utf-8"))
    assert len(golden["cases"]) == 7
    for case in golden["cases"]:
        assert list(copywriting.upstream(case["prediction"], case["reference"])) == case["scores"], case["name"]


@given(texts, texts)
def test_scores_equal_upstreams_to_the_last_digit(prediction: str, reference: str) -> None:
    if prediction.strip() and reference.strip():
        assert list(copywriting.upstream(prediction, reference)) == main_py(prediction, reference)


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_answer_scores_0_where_upstream_fails(empty: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        main_py(empty, "白色上衣")
    assert copywriting.upstream(empty, "白色上衣") == (0, 0, 0, 0)
    assert copywriting.upstream("白色上衣", empty)[:3] == (0, 0, 0)


def test_attributes_are_kinds_with_values() -> None:
    assert copywriting.attributes("类型#上衣*颜色#白色*图案#条纹") == [
        Attribute("类型", "上衣"),
        Attribute("颜色", "白色"),
        Attribute("图案", "条纹"),
    ]
    # Malformed attributes: a value without a kind counts, a kind without a value does not.
    assert copywriting.attributes("上衣*颜色#*#白色**货号#a#1") == [("", "上衣"), ("", "白色"), ("货号", "a#1")]
    assert copywriting.attributes("") == copywriting.attributes("*") == []


def test_a_copy_mentions_the_values_that_it_contains_literally() -> None:
    mentions = copywriting.mentions(
        "这件白色的上衣，印有条纹。", "类型#上衣*颜色#白色*风格#简约*图案#条纹*风格#条纹*衣领型#Polo领"
    )
    assert [*map(str, mentions.mentioned)] == ["类型#上衣", "颜色#白色", "图案#条纹", "风格#条纹"]
    assert [*map(str, mentions.missed)] == ["风格#简约", "衣领型#Polo领"]
    assert mentions.share == 4 / 6
    assert copywriting.mentions("", "颜色#白色").share == 0
    assert copywriting.mentions("随便", "").share == 1


@given(texts, texts)
def test_a_line_is_read_as_upstream_writes_it(labels: str, predict: str) -> None:
    line = json.dumps({"labels": labels, "predict": predict}, ensure_ascii=False)
    assert copywriting.read_line(line + "\n") == Line(labels, predict)


@pytest.mark.parametrize(
    "text", ["", "白色上衣", "[]", "null", '{"labels": "甲"}', '{"labels": "甲", "predict": 1}', "[" * 100_000]
)
def test_a_malformed_line_is_an_error(text: str) -> None:
    with pytest.raises(HarnessError, match=r"generated_predictions\.txt"):
        copywriting.read_line(text)


@given(st.lists(st.lists(st.floats(0, 100), min_size=3, max_size=3), min_size=1, max_size=9))
def test_the_deviation_over_seeds_is_that_of_their_means(values: list[list[float]]) -> None:
    assert copywriting.sd_over_seeds(values) == pytest.approx(float(np.std(np.mean(values, axis=0), ddof=1)), abs=1e-9)


def test_one_seed_has_no_deviation_and_seeds_must_match() -> None:
    assert np.isnan(copywriting.sd_over_seeds([[1.0], [2.0]]))
    with pytest.raises(HarnessError, match="same seeds"):
        copywriting.sd_over_seeds([[1.0, 2.0], [3.0]])


def test_time_is_proportional_to_length() -> None:
    def score(text: str) -> None:
        copywriting.upstream(text, "简约的牛仔外套，白色衣身百搭。")
        copywriting.mentions(text, "类型#上衣*颜色#白色")

    for piece in ("简约的牛仔外套，", "好好好", "，。", "ab "):
        assert is_proportional(score, piece, 1_000, 10_000), piece
