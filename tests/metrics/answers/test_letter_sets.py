"""The letters that answers to questions with several right choices name."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.answers import letter_sets

READ = {
    # letters alone
    "AC": "AC",
    " \n\nCA\n": "AC",
    "A,C": "AC",
    "A、C。": "AC",
    "A；C": "AC",
    "A C D": "ACD",
    "(A)(C)": "AC",
    "（A）、（C）": "AC",
    "**A, C**": "AC",
    "ＡＣ": "AC",
    "A和C": "AC",
    "A and C.": "AC",
    "A, B, and D": "ABD",
    "a, c": "AC",
    "b": "B",
    "A\nC\nD": "ACD",
    "选AC。": "AC",
    "A、C两项": "AC",
    "AC\n解析：A项正确，B项错误。": "AC",
    "AC\n\n问：下列哪些？\n答案：BD": "AC",
    "AC。因为B不对。": "AC",
    "AC解析：B项错误": "AC",
    "[正确答案]AC<eoa>": "AC",
    "答案：AC": "AC",
    "ABCD": "ABCD",
    # stated
    "解析：A项说法有误。答案：BD": "BD",
    "本题考查物权。A错误，故选B、C。": "BC",
    "综上所述，正确答案是 A、B 和 D。": "ABD",
    "正确的有ACD，B项错误": "ACD",
    "正确选项为【BD】。": "BD",
    "根据法律规定，应选择A、C。": "AC",
    "我选择A和C，因为": "AC",
    "The answer is A and C.": "AC",
    "The correct answers are (A) and (C).": "AC",
    "Let me think. B is wrong. So the correct options are A, C, and D.": "ACD",
    "I would choose A and D.": "AD",
    "Final answer: **B, D**": "BD",
    "Thus the answer is \\boxed{A, C}": "AC",
    "$\\boxed{\\text{BD}}$": "BD",
    "答案是A。后来想想不对，答案是AC。": "AC",
    "答案：\nA. 巴黎\nC. 里昂": "AC",
    "答案是：A. 巴黎；C. 里昂": "AC",
    "The correct answers are A) Paris and C) Lyon.": "AC",
    # choices at the beginning
    "A. 巴黎\nC. 里昂": "AC",
    "A. Paris": "A",
    "A and C, because both are in France.": "AC",
    "B, since the others are wrong": "B",
    # called right
    "A和C正确，B和D错误。": "AC",
    "A选项正确。B选项错误。C选项的说法正确。D项不正确。": "AC",
    "A and C are correct, B is not.": "AC",
    "Option A is correct. Option B is wrong. Option C is true.": "AC",
    # standing alone
    "我认为是A和D": "AD",
    "我觉得是B、C吧": "BC",
    "I think A and C": "AC",
    "应该是A，还有C。": "AC",
    "C和D项说法正确，A项与B项说法错误": "CD",
    "A项、C项正确": "AC",
    "答案是A、C，B错误": "AC",
    "Probably (B) or maybe (D)": "BD",
}
NOT_UNDERSTOOD = (
    "",
    "\n",
    "不知道",
    "A股上涨",
    "买A股和B股",
    "维生素C很重要",
    "用C语言写",
    "B超检查",
    "A型血",
    "Vitamin C",
    "Apple",
    "Plan B",
    "A man walked in.",
    "CAB drivers DAD",
    "BBC",
    "ABS",
    "AAAAAAAA",
    "in the U.S.A.",
    "除B以外都对",
    "all except B",
    "正确答案不是A",
    "the answer is a mystery",
    "The answer is A mystery",
    "E",
    "A4纸",
    "DNA",
)


@pytest.mark.parametrize("answer", READ)
def test_the_letters_of_an_answer_are_read(answer: str) -> None:
    assert letter_sets.read(answer, "ABCD") == frozenset(READ[answer])


@pytest.mark.parametrize("answer", NOT_UNDERSTOOD)
def test_nothing_is_read_where_no_choice_is_named(answer: str) -> None:
    assert letter_sets.read(answer, "ABCD") is None


WRITTEN = {
    "joined": lambda chosen: "".join(chosen),
    "commas": lambda chosen: ", ".join(chosen),
    "chinese commas": lambda chosen: "、".join(chosen),
    "words": lambda chosen: f"The answers are {' and '.join(chosen)}.",
    "brackets": lambda chosen: f"答案是{''.join(f'（{letter}）' for letter in chosen)}。",
    "stated": lambda chosen: f"本题中，其他选项错误。因此答案为{'和'.join(chosen)}。",
    "markdown": lambda chosen: f"Let us see.\n\n**Answer: {', '.join(chosen)}**",
    "boxed": lambda chosen: f"so we get \\boxed{{{','.join(chosen)}}}",
    "lines": lambda chosen: "\n".join(f"{letter}. 选项的文字" for letter in chosen),
}


@given(st.sampled_from([*WRITTEN]), st.integers(2, 8), st.data())
def test_every_set_of_letters_is_read_as_it_is_written(style: str, count: int, data: st.DataObject) -> None:
    letters = "ABCDEFGH"[:count]
    chosen = data.draw(st.lists(st.sampled_from(letters), min_size=1, unique=True))
    assert letter_sets.read(WRITTEN[style](chosen), letters) == frozenset(chosen)


@given(st.text(st.sampled_from("ABCD ,、和正确错误答案是选.。\n():and"), max_size=40))
def test_any_text_gives_letters_of_the_question_or_none(text: str) -> None:
    chosen = letter_sets.read(text, "ABC")
    assert chosen is None or (chosen and chosen <= set("ABC"))


def test_time_is_proportional_to_length() -> None:
    random.seed(0)
    pieces = [
        "A",
        "A ",
        "A、",
        "答案是",
        "答案：",
        "AB正确",
        "选",
        "A. x\n",
        "(A)",
        "the answer is ",
        "A and ",
        " ",
        "\n",
        "不",
    ]
    patterns = [*pieces, *("".join(pair) for pair in itertools.permutations(pieces, 2) if random.random() < 0.1)]

    def seconds(text: str) -> float:
        start = time.perf_counter()
        letter_sets.read(text, "ABCD")
        return time.perf_counter() - start

    for pattern in patterns:
        short, long = (min(seconds(pattern * n) for _ in range(2)) for n in (500, 4000))
        assert long < 30 * short + 0.01, pattern


@pytest.mark.parametrize(
    ("chosen", "right", "exact", "partial"),
    [
        ("AC", "AC", 1, 1),
        ("A", "AC", 0, 0.5),
        ("AB", "AC", 0, 0),
        ("", "AC", 0, 0),
        ("ABC", "AC", 0, 0),
        ("B", "B", 1, 1),
        ("AB", "ABD", 0, 2 / 3),
    ],
)
def test_credit(chosen: str, right: str, exact: float, partial: float) -> None:
    assert letter_sets.exact_set(chosen, right) == exact
    assert letter_sets.partial_credit(chosen, right) == partial
