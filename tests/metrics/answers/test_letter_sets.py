"""The letters that answers to questions with several right choices name."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.answers import letter_sets
from support.growth import is_proportional

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
    "答案：\nA\nC": "AC",
    "The correct answers are:\nA\nC\nD": "ACD",
    "答案是A以及C": "AC",
    "答案是A还有C": "AC",
    "答案是A并且C": "AC",
    "答案是A、C以及D": "ACD",
    "The answers are A as well as C.": "AC",
    "The answers are A, and also C.": "AC",
    "\\boxed{A}, \\boxed{C}": "AC",
    "$\\boxed{A}$、$\\boxed{C}$": "AC",
    "\\boxed{A}\n\\boxed{C}": "AC",
    # corrected
    "答案是A。等等，答案是B": "B",
    "选A。哦不，选B": "B",
    "The answer is A. Wait, the answer is C.": "C",
    "答案：A。实际上应该选择C。": "C",
    "Answer: A. Upon reflection, the answer should be B": "B",
    "Answer: A\nCorrection: answer: B": "B",
    "Answer: C. Wait, let me double-check: C is right.": "C",
    "The answer is A. No other choice fits, B is wrong.": "A",
    "答案是A，不是B": "A",
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
    "A选项是押金制。B选项是许可证制。因此，选项A是正确答案。": "A",
    "A. 巴黎\nB. 里昂\nC. 尼斯\nD. 梅斯\n综上所述，正确的表述是选项A：巴黎。": "A",
    # verdicts on single choices, and lists of all choices
    "A: 正确\nB: 错误\nC: 正确\nD: 错误": "AC",
    "A. 错误\nB. 正确\nC. 错误\nD. 错误": "B",
    "A: True\nB: False\nC: True": "AC",
    "A. yes; B. no; C. yes": "AC",
    "A✓ B✗": "A",
    "下列哪些？\nA. 巴黎\nB. 里昂\nC. 马赛\nD. 尼斯\n答案：AC": "AC",
    "A. 巴黎\nB. 里昂\nC. 马赛\nD. 尼斯\n我认为是A和C": "AC",
    "A：对\nB：错\nC：对\nD：错": "AC",
    "A对B错C对D错": "AC",
    "A. 是\nB. 否\nC. 否\nD. 是": "AD",
    "A、正确 B、错误 C、正确 D、不正确": "AC",
    "选项A：正确。\n选项B：错误。\n选项C：正确。\n选项D：错误。": "AC",
    "A项，正确；B项，错误；C项，错误；D项，正确。": "AD",
    "**A**: ✓\n**B**: ✗\n**C**: ✓": "AC",
    "✓ A\n✗ B\n✓ C\n✗ D": "AC",
    "A ✅ B ❌ C ✅ D ❌": "AC",
    "A√ B× C√ D×": "AC",
    "| A | 正确 |\n| B | 错误 |\n| C | 正确 |": "AC",
    '{"A": true, "B": false, "C": true, "D": false}': "AC",
    "A = correct, B = wrong, C = correct": "AC",
    "A is true. B is false. C is true. D is false.": "AC",
    "A. 巴黎：正确\nB. 里昂：错误\nC. 马赛：正确\nD. 尼斯：错误": "AC",
    "A. Paris (correct)\nB. Lyon (incorrect)\nC. Nice (correct)\nD. Metz (incorrect)": "AC",
    "A. 该选项正确，因为如此。\nB. 该选项错误，因为。\nC. 说法正确。\nD. 说法错误。": "AC",
    "A. 正确，因为法律规定。\nB. 错误，理由如下。\nC. 错误。\nD. 正确。": "AD",
    "A: 正确\nB: 错误\nC: 正确\nD: 错误\n因此答案是AC。": "AC",
    "答案：\nA: 正确\nB: 错误\nC: 正确\nD: 错误": "AC",
    "答案：A: 正确 B: 错误 C: 正确": "AC",
    "A\n正确\nB\n错误\nC\n正确": "AC",
    "A. 正确的做法是报警": "A",
    "A. 不正确\nB. 不对\nC. 对的\nD. 是的": "CD",
    "A) True\nB) False\nC) True\nD) False": "AC",
    "A - yes\nB - no\nC - no\nD - yes": "AD",
    "A: 不清楚\nB: 正确\nC: 错误\nD: 正确": "BD",
    "A: T\nB: F\nC: T\nD: F": "AC",
    "1. A：正确\n2. B：错误\n3. C：正确": "AC",
    "- A: right\n- B: wrong\n- C: right": "AC",
    "A：正确；B：错误；C：正确；D：错误": "AC",
    "A:正确,B:错误,C:正确,D:错误": "AC",
    "（A）正确（B）错误（C）正确": "AC",
    "A（正确）B（错误）C（正确）D（错误）": "AC",
    "正确：A、C；错误：B、D": "AC",
    "A: Yes, because it is in France.\nB: No, it is not.\nC: Yes.\nD: No.": "AC",
    "Option A: correct\nOption B: incorrect\nOption C: correct": "AC",
    "A: This statement is correct.\nB: This statement is false.\nC: It is true.\nD: It's false.": "AC",
    "A is correct; B isn't correct; C is correct": "AC",
    "A. 对，B. 错，C. 对": "AC",
    "A→正确 B→错误": "A",
    "A. 巴黎 ✓\nB. 里昂 ✗\nC. 马赛 ✓": "AC",
    "A: 正确。B: 错误。C: 正确。D: 错误。综上，选AC": "AC",
    "A错，B对，C错，D对": "BD",
    "A：是；B：否；C：是；D：否": "AC",
    "【A】正确\n【B】错误\n【C】正确": "AC",
    "A选项：正确\nB选项：错误\nC选项：正确": "AC",
    "A 正确，B 错误，C 正确，D 错误": "AC",
    "A是对的，B是错的，C是对的": "AC",
    "A: 真\nB: 假": "A",
    "A: 并非正确\nB: 正确": "B",
    "A: 部分正确\nB: 正确": "B",
    "A: not correct\nB: correct": "B",
    "A: Incorrect.\nB: Correct.": "B",
    "A：❌\nB：✔️\nC：❌\nD：✔️": "BD",
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
    # ranges
    *(
        "A-D",
        "A到D",
        "答案是A至C",
        "选B~D",
        "A–C",
        "The answer is A to C.",
        "A through D",
        "(A)-(C)",
        "A-C都正确",
        "A..D",
    ),
    # alternatives
    *("A或C", "答案是A或者C", "A还是C", "A or C", "The answer is either A or C.", "A, B, or C", "A (or C)"),
    *("Probably (B) or maybe (D)", "A, possibly C", "A (maybe C)", "可能是A，也可能是C", "不是A就是C", "\\boxed{A或C}"),
    # ranges with blanks or an em dash
    *("A - D", "答案是A - D", "The answer is A – C.", "A -- C", "A - D are right", "答案：C - D。"),
    *("A—D", "答案是A——C"),
    # letters that are no choice
    *(
        "A. 巴黎\nE. 里昂",
        "答案：A. 巴黎；E. 里昂",
        "A、C、E",
        "答案是A、C、E",
        "A, C and E",
        "A C E",
        "A\nC\nE",
        "答案：\nA\nC\nE",
        "\\boxed{A,C,E}",
        "答案是A和Z",
    ),
    # corrections that state no answer
    "答案是A。不对，应该是B",
    "The answer is A. Wait, actually it's B",
    "The answer is A. No, it's B.",
    "答案是A。抱歉，我说错了，是B。",
    "The answer is A. Let me reconsider. It should be B.",
    "A\n不对，应该是B",
    "答案是A。不对。",
    "The answer is A. That's wrong.",
    "答案是A。仔细想想，应该是B",
    "先选A，后来改选B",
    "The answer is A — no, B.",
    "Answer: A. Wait, I think C is better.",
    "The answer is A. Actually, it's not A but B.",
    "答案是A，应改为B",
    "答案：B。纠正一下，是AC两项。",
    "A. I made a mistake; it's D.",
    # every choice is listed, called wrong, or denied
    "A. 巴黎\nB. 里昂\nC. 马赛\nD. 尼斯",
    "A: 可能\nB: 也许\nC: 不清楚\nD: 难说",
    "A 巴黎\nB 里昂\nC 马赛\nD 尼斯",
    "(A) Paris (B) Lyon (C) Nice (D) Metz",
    "选项：\nA. 巴黎\nB. 里昂\nC. 马赛\nD. 尼斯",
    "选项: A. 巴黎 B. 里昂 C. 马赛 D. 尼斯",
    "A: 错误\nB: 错误\nC: 错误\nD: 错误",
    "正确答案不是C",
    "A. 合同有效\nB. 合同无效\nC. 可撤销\nD. 效力待定\n",
    "A: 1\nB: 0\nC: 1\nD: 0",
    "A: 0.9\nB: 0.1\nC: 0.8\nD: 0.2",
)


@pytest.mark.parametrize("answer", READ)
def test_the_letters_of_an_answer_are_read(answer: str) -> None:
    assert letter_sets.read(answer, "ABCD") == frozenset(READ[answer])


ORDINARY = yaml.safe_load(Path(__file__).with_name("ordinary_letters.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("answer", "letters"), [case for cases in ORDINARY.values() for case in cases])
def test_ordinary_right_answers_are_read(answer: str, letters: str) -> None:
    assert letter_sets.read(answer, "ABCD") == frozenset(letters)


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
    repeats_the_question = style == "lines" and chosen == [*letters]
    assert letter_sets.read(WRITTEN[style](chosen), letters) == (None if repeats_the_question else frozenset(chosen))


@given(
    st.permutations("ABCDEFGH").map(lambda letters: letters[:2]),
    st.sampled_from(
        ["{}", "答案是{}", "The answer is {}.", "**{}**", "故选{}。", "\\boxed{{{}}}", "Answer: {}\n\nThat is it."]
    ),
    st.sampled_from(["{}-{}", "{} to {}", "{}到{}", "{}~{}", "{}或{}", "{} or {}", "either {} or {}", "{}还是{}"]),
)
def test_ranges_and_alternatives_are_never_read(letters: list[str], sentence: str, notation: str) -> None:
    assert letter_sets.read(sentence.format(notation.format(*letters)), "ABCDEFGH") is None


@given(
    st.sampled_from(["答案是{}。", "The answer is {}.", "Answer: {}\n", "我选{}。"]),
    st.sampled_from(
        ["不对，是{}。", "等等，应该是{}", "Wait, it is {}.", "No, {}.", "Actually it should be {}.", "更正：{}"]
    ),
    st.permutations("ABCD"),
)
def test_a_corrected_letter_is_never_read(answer: str, correction: str, letters: list[str]) -> None:
    result = letter_sets.read(answer.format(letters[0]) + correction.format(letters[1]), "ABCD")
    assert result in (None, {letters[1]})


SEPARATORS = (": ", "：", ". ", "、", " ", " - ", "=", "选项：", "项，", " | ")
VERDICTS = (
    *(("正确", "错误"), ("对", "错"), ("是", "否"), ("正确", "不正确"), ("对", "不对"), ("true", "false")),
    *(
        ("yes", "no"),
        ("Correct", "Incorrect"),
        ("Right", "Wrong"),
        ("✓", "✗"),
        ("√", "×"),
        ("该说法正确", "该说法错误"),
    ),
)


@given(
    st.sampled_from(SEPARATORS),
    st.sampled_from(VERDICTS),
    st.sampled_from(["\n", "；", "; ", "。", ", "]),
    st.lists(st.booleans(), min_size=2, max_size=6),
)
def test_verdicts_on_single_choices_name_those_called_right(
    separator: str, words: tuple[str, str], end: str, are_right: list[bool]
) -> None:
    letters = "ABCDEF"[: len(are_right)]
    items = [f"{letter}{separator}{words[not is_right]}" for letter, is_right in zip(letters, are_right, strict=True)]
    expected = frozenset(letter for letter, is_right in zip(letters, are_right, strict=True) if is_right)
    if expected:
        assert letter_sets.read(end.join(items), letters) == expected
    elif len(letters) > 2:
        assert letter_sets.read(end.join(items), letters) is None


@pytest.mark.parametrize(("answer", "expected"), [("A. 正确", "A"), ("B. 错误", "B"), ("答案：B. 错误", "B")])
def test_a_verdict_may_be_the_text_of_one_of_two_choices(answer: str, expected: str) -> None:
    assert letter_sets.read(answer, "AB") == {expected}


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

    for pattern in patterns:
        assert is_proportional(lambda text: letter_sets.read(text, "ABCD"), pattern, 500, 4_000), pattern
