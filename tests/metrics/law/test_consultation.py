"""Scores of consultations, and records that are parsed as they were written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.law.consultation import Library, Turn, answer_in_record, format_record, parse_turns, scores

GIVEN = ["《民法典》第一条：渡船每年应当由乡镇的检验员检验一次。", "《民法典》第二条：行人依次上船。"]
LIBRARY = Library([*GIVEN, "《民法典》第九条：不得携带易燃的物品。", "没有题目的文字"])
REFERENCE = "依据《民法典》第一条，应当检验。"


def scored(answer, reference=REFERENCE, given=GIVEN, provided=GIVEN):
    return scores(answer, reference, given=given, provided=provided, library=LIBRARY)


def test_an_answer_that_cites_has_every_metric():
    values = scored("《民法典》第1条、第二条、第一千三百条，《航道法》第一条")
    assert 0 < values.pop("rougeL_jieba") < 1
    assert values == {
        "abstains": 0.0,
        "citation_precision": (1, 4),
        "citation_recall": (1, 1),
        "citation_f1": (2, 5),
        "citation_exists": (2, 3),
        "citation_provided": (2, 4),
        "citation_given": (2, 4),
        "fabricated": 1.0,
        "mistitled": 0.0,
        "redundant": 1.0,
    }
    assert scored("《民法典》第二条规定，渡船每年应当由乡镇的检验员检验一次")["mistitled"] == 1.0


def test_an_answer_that_cites_nothing_abstains_and_has_no_rates():
    values = scored("应当检验。")
    assert set(values) == {"rougeL_jieba", "abstains", "citation_recall", "citation_f1"}
    assert (values["abstains"], values["citation_recall"], values["citation_f1"]) == (1.0, (0, 1), (0, 1))


def test_articles_of_an_unknown_law_are_neither_real_nor_fabricated():
    values = scored("《航道法》第一条")
    assert "citation_exists" not in values
    assert values["fabricated"] == 0.0


def test_a_reference_that_cites_nothing_leaves_out_what_depends_on_it():
    values = scored("《民法典》第一条", reference="应当检验。")
    assert not {"citation_f1", "citation_precision", "citation_recall", "redundant"} & set(values)
    assert values["citation_given"] == (1, 1)


def test_articles_in_the_prompt_and_articles_of_the_data_are_distinguished():
    retrieved = ["《民法典》第九条：不得携带易燃的物品。"]
    values = scored("《民法典》第一条、第九条", given=retrieved)
    assert (values["citation_given"], values["citation_provided"]) == ((1, 2), (1, 2))
    assert scored("《民法典》第一条", given=retrieved)["citation_given"] == (0, 1)
    assert "citation_given" not in scored("《民法典》第一条", given=[])


def test_rouge_l_is_that_of_rouge_chinese():
    rouge_chinese = pytest.importorskip("rouge_chinese")
    import jieba

    answer = "您好，依据《民法典》第一条，渡船应当检验。"
    expected = rouge_chinese.Rouge(["rouge-l"]).get_scores(" ".join(jieba.cut(answer)), " ".join(jieba.cut(REFERENCE)))
    assert scored(answer)["rougeL_jieba"] == pytest.approx(expected[0]["rouge-l"]["f"])


@given(st.text())
def test_the_answer_in_a_record_is_unchanged(answer):
    assert answer_in_record(format_record(answer)) == answer


def test_a_record_shows_the_parsed_citations():
    record = json.loads(format_record("依据民法典第一条第二款和《航道法》第3条之一"))
    assert record["citations"] == ["《民法典》第1条第2款", "《航道法》第3条之1"]


def test_turns_of_a_conversation():
    assert parse_turns(["[客户] 甲", "[律师] 乙", "[律师] [丙] 丁"]) == [
        Turn("客户", "甲"),
        Turn("律师", "乙\n[丙] 丁"),
    ]
    for line in ("甲", "客户] 甲", "[客户]甲"):
        with pytest.raises(ValueError, match="does not begin with"):
            parse_turns([line])
