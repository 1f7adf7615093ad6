"""A consultation's scores: what counts where, and records that are read as they were written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.law.consultation import Library, Turn, answer_in_record, format_record, parse_turns, scores

GIVEN = ["《民法典》第一条：渡船每年应当由乡镇的检验员检验一次。", "《民法典》第二条：行人依次上船。"]
LIBRARY = Library([*GIVEN, "《民法典》第九条：不得携带易燃的物品。", "没有题目的文字"])
REFERENCE = "依据《民法典》第一条，应当检验。"


def told(answer, reference=REFERENCE, given=GIVEN, provided=GIVEN):
    return scores(answer, reference, given=given, provided=provided, library=LIBRARY)


def test_an_answer_that_cites_has_every_metric():
    found = told("《民法典》第1条、第二条、第一千三百条，《航道法》第一条")
    assert 0 < found.pop("rougeL_jieba") < 1
    assert found == {
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
    assert told("《民法典》第二条规定，渡船每年应当由乡镇的检验员检验一次")["mistitled"] == 1.0


def test_an_answer_that_cites_nothing_abstains_and_has_no_rate():
    found = told("应当检验。")
    assert set(found) == {"rougeL_jieba", "abstains", "citation_recall", "citation_f1"}
    assert (found["abstains"], found["citation_recall"], found["citation_f1"]) == (1.0, (0, 1), (0, 1))


def test_a_law_that_nobody_knows_neither_exists_nor_not():
    found = told("《航道法》第一条")
    assert "citation_exists" not in found
    assert found["fabricated"] == 0.0


def test_a_reference_that_cites_nothing_does_not_say_what_is_right():
    found = told("《民法典》第一条", reference="应当检验。")
    assert not {"citation_f1", "citation_precision", "citation_recall", "redundant"} & set(found)
    assert found["citation_given"] == (1, 1)


def test_given_and_provided_are_told_apart():
    retrieved = ["《民法典》第九条：不得携带易燃的物品。"]
    found = told("《民法典》第一条、第九条", given=retrieved)
    assert (found["citation_given"], found["citation_provided"]) == ((1, 2), (1, 2))
    assert told("《民法典》第一条", given=retrieved)["citation_given"] == (0, 1)
    assert "citation_given" not in told("《民法典》第一条", given=[])


def test_likeness_is_rouge_chinese_s():
    rouge_chinese = pytest.importorskip("rouge_chinese")
    import jieba

    answer = "您好，依据《民法典》第一条，渡船应当检验。"
    wanted = rouge_chinese.Rouge(["rouge-l"]).get_scores(" ".join(jieba.cut(answer)), " ".join(jieba.cut(REFERENCE)))
    assert told(answer)["rougeL_jieba"] == pytest.approx(wanted[0]["rouge-l"]["f"])


@given(st.text())
def test_a_record_is_read_as_it_was_written(answer):
    assert answer_in_record(format_record(answer)) == answer


def test_a_record_shows_what_was_understood():
    shown = json.loads(format_record("依据民法典第一条第二款和《航道法》第3条之一"))
    assert shown["citations"] == ["《民法典》第1条第2款", "《航道法》第3条之1"]


def test_turns():
    assert parse_turns(["[客户] 甲", "[律师] 乙", "[律师] [丙] 丁"]) == [
        Turn("客户", "甲"),
        Turn("律师", "乙\n[丙] 丁"),
    ]
    for wrong in ("甲", "客户] 甲", "[客户]甲"):
        with pytest.raises(ValueError, match="does not begin with"):
            parse_turns([wrong])
