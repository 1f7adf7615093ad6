"""C-Eval's extraction rules: by cases worked out from the upstream scripts, and against the official patterns."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics import choices

CASES = [
    json.loads(line)
    for line in Path(__file__).with_name("ceval_answers.jsonl").read_text(encoding="utf-8").splitlines()
]
CASES_LLAMA = [
    json.loads(line)
    for line in Path(__file__).with_name("ceval_llama_answers.jsonl").read_text(encoding="utf-8").splitlines()
]
OPTIONS = {"A": "苹果", "B": "香蕉", "C": "梨", "D": "桃"}
# What answers are made of, so that patterns are hit and miss by a character.
PIECES = st.sampled_from(
    [
        *"ABCDabc。，：: 1",
        "所以",
        "答案",
        "是",
        "为",
        "选",
        "择",
        "选项",
        "应该",
        "正确",
        "的",
        "一项",
        "苹果",
        "梨",
        "\n",
    ]
)


@pytest.mark.parametrize("case", CASES, ids=[case["text"] or "empty" for case in CASES])
def test_a_case(case):
    assert choices.ceval_chatglm(case["text"], OPTIONS) == case["chatglm"]
    assert choices.ceval_chatgpt_zero_shot(case["text"]) == case["chatgpt"]
    assert choices.ceval_chatgpt_reasoned(case["text"]) == case["reasoned"]


@pytest.mark.parametrize("case", CASES_LLAMA, ids=[case["text"] or "empty" for case in CASES_LLAMA])
def test_a_case_of_llama(case):
    assert choices.ceval_llama(case["text"]) == case["llama"]


@given(st.lists(PIECES | st.just("让我们一步一步思考") | st.just("1."), max_size=12).map("".join))
def test_llama_reads_the_first_thought_as_its_own_regex_cuts_it(text):
    [thought, *_] = re.findall(
        r"(让我们一步一步思考[\s\S]+?)(?:(?=让我们一步一步思考)|$)", f"让我们一步一步思考，\n1.{text}"
    )
    found = [hit[1] for pattern in choices._LLAMA if (hit := re.search(pattern, thought))]
    assert choices.ceval_llama(text) == (found[0] if found else "-")


@pytest.mark.parametrize(
    ("text", "letter"),
    [("C", "C"), (" c.\n", "C"), ("(B)", "B"), ("C。", "-"), ("答案是C", "-"), ("C. 梨", "-"), ("选C", "-"), ("", "-")],
)
def test_after_shots_chatgpt_is_right_with_the_bare_letter_alone(text, letter):
    assert choices.ceval_chatgpt(text) == letter


def official(definitions: Path, script: str) -> list[str]:
    found = json.loads((definitions / "ceval.json").read_text(encoding="utf-8"))["extraction_patterns"]
    return found[f"code/evaluator_series/evaluators/{script}.py"][0][1]


def test_the_patterns_are_the_official_ones_in_their_order(definitions):
    assert list(choices._CHATGLM) == official(definitions, "chatglm")
    assert list(choices._CHATGPT) == official(definitions, "chatgpt")


@given(st.lists(PIECES, max_size=12).map("".join))
def test_the_eighth_pattern_of_chatglm_never_decides_so_minimax_reads_the_same(text):
    hits = [index for index, pattern in enumerate(choices._CHATGLM) if re.search(pattern, text)]
    assert not hits or hits[0] != 7


@given(st.text())
def test_whatever_is_said_a_letter_or_a_dash_is_read(text):
    for read in (choices.ceval_chatgpt, choices.ceval_chatgpt_zero_shot, choices.ceval_chatgpt_reasoned):
        assert read(text) in (*"ABCD", "-")
    assert choices.ceval_chatglm(text, OPTIONS) in (*"ABCD", "-")
