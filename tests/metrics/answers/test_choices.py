"""Extraction rules: cases worked out from upstream's scripts, the official patterns, and published scores."""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
import time
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.metrics.answers import choices

CASES = [
    json.loads(line)
    for line in Path(__file__).with_name("ceval_answers.jsonl").read_text(encoding="utf-8").splitlines()
]
CASES_LLAMA = [
    json.loads(line)
    for line in Path(__file__).with_name("ceval_llama_answers.jsonl").read_text(encoding="utf-8").splitlines()
]
OPTIONS = {"A": "苹果", "B": "香蕉", "C": "梨", "D": "桃"}
# Parts of answers, so that patterns match, or fail to match by one character.
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
def test_cases(case):
    assert choices.ceval_chatglm(case["text"], OPTIONS) == case["chatglm"]
    assert choices.ceval_chatgpt_zero_shot(case["text"]) == case["chatgpt"]
    assert choices.ceval_chatgpt_reasoned(case["text"]) == case["reasoned"]


@pytest.mark.parametrize("case", CASES_LLAMA, ids=[case["text"] or "empty" for case in CASES_LLAMA])
def test_cases_of_llama(case):
    assert choices.ceval_llama(case["text"]) == case["llama"]


@example("A\n\n让我们一步一步思考")
@given(st.lists(PIECES | st.just("让我们一步一步思考") | st.just("1."), max_size=12).map("".join))
def test_llama_reads_the_first_thought_as_upstreams_pattern_cuts_it(text):
    [thought, *_] = re.findall(
        r"(让我们一步一步思考[\s\S]+?)(?:(?=让我们一步一步思考)|$)", f"让我们一步一步思考，\n1.{text}"
    )
    letters = [match[1] for pattern in choices._LLAMA if (match := re.search(pattern, thought))]
    assert choices.ceval_llama(text) == (letters[0] if letters else "-")


@pytest.mark.parametrize(
    ("text", "letter"),
    [("C", "C"), (" c.\n", "C"), ("(B)", "B"), ("C。", "-"), ("答案是C", "-"), ("C. 梨", "-"), ("选C", "-"), ("", "-")],
)
def test_after_shots_chatgpt_accepts_the_bare_letter_only(text, letter):
    assert choices.ceval_chatgpt(text) == letter


def official(definitions: Path, script: str) -> list[str]:
    patterns = json.loads((definitions / "ceval.json").read_text(encoding="utf-8"))["extraction_patterns"]
    return patterns[f"code/evaluator_series/evaluators/{script}.py"][0][1]


def test_patterns_equal_the_official_ones_in_order(definitions):
    assert list(choices._CHATGLM) == official(definitions, "chatglm")
    assert list(choices._CHATGPT) == official(definitions, "chatgpt")


@given(st.lists(PIECES, max_size=12).map("".join))
def test_the_eighth_pattern_of_chatglm_never_decides_so_minimax_reads_the_same(text):
    matches = [index for index, pattern in enumerate(choices._CHATGLM) if re.search(pattern, text)]
    assert not matches or matches[0] != 7


@given(
    st.sampled_from([("所以答案是", "。"), ("答案是", "。"), ("选项", "是正确的。")]),
    st.lists(
        st.sampled_from(["所以", "答案是", "选项", "是正确的。", "是", "。", "A", "\n", "\r", "\u2028"]), max_size=14
    ),
)
def test_framed_text_is_what_the_published_patterns_find(frame, pieces):
    start, end = frame
    text = "".join(pieces)
    assert choices._framed(start, end, text) == re.findall(f"{start}(.+?){end}", text)


@given(st.text())
def test_every_text_gives_a_letter_or_a_dash(text):
    for read in (choices.ceval_chatgpt, choices.ceval_chatgpt_zero_shot, choices.ceval_chatgpt_reasoned):
        assert read(text) in (*"ABCD", "-")
    assert choices.ceval_chatglm(text, OPTIONS) in (*"ABCD", "-")


def upstream_disc_law(text: str, definitions: dict[str, Any]) -> set[str]:
    """Return the letters read by the steps of the definitions' file, with its patterns unchanged."""
    answer = text
    if len(text) >= 10:
        first = (match[1] for pattern in definitions["search_first"] if (match := re.search(pattern, text)))
        several = (
            "".join(matches)
            for pattern in [definitions["letters_with_dot"], *definitions["findall"]]
            if (matches := re.findall(pattern, text))
        )
        answer = next(first, None) or next(several, text)
    return set(re.findall("[ABCD]", answer))


@given(
    text=st.lists(
        st.one_of(PIECES, st.sampled_from(["A、C", "．", "</s>", "都", "属于", "A属于", "BC属于", "故", " ,"]))
    ).map("".join)
)
def test_disc_law_equals_upstreams_steps(definitions: Path, text: str) -> None:
    upstream = json.loads((definitions / "disc_law_eval.json").read_text("utf-8"))
    assert choices.disc_law(text) == upstream_disc_law(text, upstream)


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("AB", "AB"),
        ("B和D都有可能啊", "BD"),  # under ten characters, all letters
        ("本题的正确答案是A、C，因为B不对", "AC"),
        ("A. 发明专利 C. 实用新型专利", "AC"),
        ("经过分析，A、D选项正确无疑了", "AD"),
        ("无法确定应当选择什么才好呢", ""),
        ("甲和A属于BC属于这一类情形", "AC"),  # B is consumed by [^错不] after 属于
        ("我认为A和其他的一些说法是错的，B是对的", "AB"),
    ],
)
def test_disc_law_by_hand(text: str, letters: str) -> None:
    assert choices.disc_law(text) == set(letters)


@pytest.mark.parametrize("piece", ["A", "A、", " ", "选A", "A.", "答案"])
def test_disc_law_is_fast_on_repetitions(piece: str) -> None:
    started = time.process_time()
    choices.disc_law(piece * 50_000)
    assert time.process_time() - started < 5


@pytest.mark.data
def test_disc_law_reproduces_the_published_accuracies_of_four_models(data: Path) -> None:
    cells = 0
    with tarfile.open(data / "predictions" / "disc-law-eval.tar.xz") as archive:
        files = {member.name.removeprefix("./"): archive.extractfile(member) for member in archive if member.isfile()}
        texts = {name: file.read().decode("utf-8-sig") for name, file in files.items() if file}
    for name, text in texts.items():
        if not name.endswith("accuracy.json"):
            continue
        folder = name.removesuffix("accuracy.json")
        short = {"single": "sing", "multi": "mult"}[folder.split("/")[-2]]
        for subject, published in json.loads(text).items():
            answers = csv.DictReader(io.StringIO(texts[f"{folder}{subject}_results.csv"], newline=""))
            gold = pandas.read_parquet(data / "FudanDISC" / "DISC-Law-Eval" / f"mcq_{short}_{subject}")["output"]
            is_right = [
                choices.disc_law(answer["model_output"]) == set(letters)
                for answer, letters in zip(answers, gold, strict=True)
            ]
            assert f"{100 * sum(is_right) / len(is_right):.2f}" == published, (folder, subject)
            cells += 1
    assert cells == 40
