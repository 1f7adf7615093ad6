"""Texts that ask the same question have one form, and texts that ask another have another."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tasks.same_question import question_form, text_form

SAME = [
    [
        "三加四是？",
        "三加四是",
        "三加四是。",
        "三加四是?!",
        "三加四是……",
        "三加四是：",
        "三加四是（　）。",
        "三加四是____",
    ],
    [
        "三加四是？",
        "12. 三加四是？",
        "12．三加四是",
        "12、三加四是？",
        "(4) 三加四是？",
        "（4）三加四是？",
        "⑷三加四是？",
    ],
    [
        "三加四是？",
        "第3题：三加四是？",
        "第 三 题 三加四是？",
        "题目5：三加四是",
        "Q5: 三加四是？",
        "Q：三加四是？",
        "三、 三加四是？",
    ],
    [
        "三加四是？",
        "第3题：(2) 三加四是？",
        "【12】三加四是？",
        "7) 三加四是？",
        "例3、三加四是？",
        "问题：8. 三加四是？",
        "⒓三加四是？",
    ],
    [
        "Who wrote it?",
        "12. Who wrote it",
        "12.Who wrote it?",
        "Q5: who wrote it?",
        "Question 5: Who wrote it?",
        "No. 5: Who wrote it",
    ],
    [
        "Who wrote it?",
        "(iv) Who wrote it!",
        "[3] Who wrote it?",
        "Problem 3.\nWho wrote it?",
        "Question 3 of 10: Who wrote it?",
    ],
    [
        "他说“好”",
        "他说「好」",
        "他说『好』。",
        '他说"好"',
        "他说＂好＂",
        "他说‘好’",
        "他说'好'",
        "他说〝好〞",
        "他说«好»",
    ],
    ["他说：“三加四是？”", "他说:「三加四是」", "他说：“三加四是”？"],
    ["it's mine", "it’s mine.", "It´s mine", "itʼs mine"],
    ["三加四", "三\u200b加\u200d四\ufeff", "三\ufe0f加\u2060四", "三\u00ad加\u034f四\u3164", "\u202a三加四\u202c"],
    ["10–20 岁", "10—20 岁", "10-20岁", "10‑20 岁"],
    ["12. 8 减 3 是？", "8减3是？", "(2) 8 减 3 是？"],
    ["1. 3.5 是", "3.5是"],
    ["12. 日本的首都", "日本的首都"],
    ["(4)加拿大的首都", "加拿大的首都"],
    ["12. Is it prime?", "Is it prime"],
    ["春天\n问题：12. 主题是？\n答案：", "春天。\n问题：主题是\n答案："],
    ["问题：春天来了\n12. 主题是？\n答案：", "问题：春天来了\n主题是\n答案："],
    ["Which?\nA. x\nB. y\nAnswer:", "7. Which\nA. x.\nB. y\nAnswer:"],
    ["3.", "3", "３", "3。"],
    ["？？", "？ ？"],
]
OTHER = [
    ["Item 3: price?", "Item 4: price?", "Task 3: price?", "Example 3: price?", "price?"],
    ["-3", "3", "+3", "3.5", "35", "3 5", "3%", "0.3", "3、5", "13", "3/5", "(3)(5)", "(3)5", "5", "^3"],
    ["12、15 的公因数", "15 的公因数", "14、15 的公因数"],
    ["三、四月的天气", "五、四月的天气"],
    ["(3)的平方", "(4)的平方", "的平方"],
    ["(3) + 4 = ?", "(5) + 4 = ?"],
    ["(3)加(4)", "(5)加(4)"],
    ["(3) is prime?", "(5) is prime?"],
    ["⑦减一是？", "⑧减一是？"],
    ["题3的答案", "题4的答案"],
    ["17: prime?", "19: prime?"],
    ["5: 3 的比值", "3 的比值"],
    ["2.x 版本", "3.x 版本"],
    ["-3. 是", "3. 是"],
    ["3.5 的一半", "2.5 的一半", "5 的一半"],
    ["1998. What happened?", "1999. What happened?"],
    ["第3题的答案", "第4题的答案"],
    ["No. 5 is which perfume?", "No. 6 is which perfume?"],
    ["x² 是", "x2 是", "x³ 是"],
    ["10⁵", "105"],
    ["5!", "5", "5!!"],
    ["计算 n!", "计算 n"],
    ["f'(x)", "f''(x)", "f(x)", 'f"(x)'],
    ["12 3 的和", "1 23 的和", "123 的和"],
    ["A, B", "AB"],
    ["C++", "C", "C#"],
    ["O-", "O+", "O"],
    ["他说“好”", "他说好"],
    ["问题：春天\n主题是？", "问题：夏天\n主题是？"],
    ["？？", "！"],
    ["12.", "13."],
    ["(12)", "(13)"],
]


@pytest.mark.parametrize("texts", SAME, ids=lambda texts: texts[0])
def test_texts_that_ask_the_same_question_have_one_form(texts: list[str]) -> None:
    assert {text: question_form(text) for text in texts} == dict.fromkeys(texts, question_form(texts[0]))


@pytest.mark.parametrize("texts", OTHER, ids=lambda texts: texts[0])
def test_texts_that_ask_another_question_have_another_form(texts: list[str]) -> None:
    forms = [question_form(text) for text in texts]
    assert len(set(forms)) == len(texts), dict(zip(texts, forms, strict=True))


@pytest.mark.parametrize(("first", "second"), [("12. 甲", "甲"), ("(1) 甲", "(2) 甲"), ("A. 甲", "甲")])
def test_a_number_in_front_of_a_choice_is_part_of_it(first: str, second: str) -> None:
    assert text_form(first) != text_form(second)
    assert text_form(f"{first}。") == text_form(first)


LABELS = st.sampled_from(["", "12. ", "第3题：", "(4)", "Q5: ", "（十二）", "问题 7：", "\u200b8) "])
ENDS = st.sampled_from(["", "。", "？", " ?", "！", "……", "：", "（　）", "。\u200b"])
STEMS = st.sampled_from(["哪里卖纸", "三加四得几", "who wrote it", "若 -3 为负", "x² 的导数", "五的阶乘"])


@given(STEMS, STEMS, LABELS, LABELS, ENDS, ENDS)
def test_numbering_and_punctuation_at_the_ends_decide_nothing(
    first: str, second: str, front: str, other_front: str, end: str, other_end: str
) -> None:
    forms = question_form(front + first + end), question_form(other_front + second + other_end)
    assert (forms[0] == forms[1]) == (first == second)


@given(st.text(max_size=30))
def test_every_text_has_a_form(text: str) -> None:
    assert question_form(text) == question_form(f" {text}\u200b")


@pytest.mark.parametrize(
    "pattern",
    ["1. ", "(1) ", "。", "!", "'a", "( )", "第1题：", "Q1: ", "问题：\n", " ", "\n", "：\n", "① ", "**1", "( ", "_-"],
)
def test_a_long_text_is_compared_in_time(pattern: str) -> None:
    start = time.perf_counter()
    question_form(pattern * (40_000 // len(pattern)) + "甲")
    assert time.perf_counter() - start < 2
