"""ChatGLM's conversations to the byte: written down by hand, and as the published tokenizers made them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.tasks.protocols import dialogues

HISTORY = [("甲是谁？", "一个 人。"), ("乙呢？", "")]


def test_chatglm_counts_rounds_from_0_and_leaves_a_first_question_bare() -> None:
    assert dialogues.chatglm("丙呢？") == "丙呢？"
    assert dialogues.chatglm("丙呢？", HISTORY) == (
        "[Round 0]\n问：甲是谁？\n答：一个 人。\n[Round 1]\n问：乙呢？\n答：\n[Round 2]\n问：丙呢？\n答："
    )


def test_chatglm2_counts_rounds_from_1_and_wraps_a_first_question() -> None:
    assert dialogues.chatglm2("丙呢？") == "[Round 1]\n\n问：丙呢？\n\n答："
    assert dialogues.chatglm2("丙呢？", HISTORY) == (
        "[Round 1]\n\n问：甲是谁？\n\n答：一个 人。\n\n"
        "[Round 2]\n\n问：乙呢？\n\n答：\n\n"
        "[Round 3]\n\n问：丙呢？\n\n答："
    )


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "prompts", "made"),
    [
        ("chatglm-tiny", "prompts", dialogues.chatglm),
        ("chatglm2-tiny", "build_prompt", dialogues.chatglm2),
    ],
)
def test_prompts_are_those_of_the_published_code(data: Path, file: str, prompts: str, made: Callable[..., str]) -> None:
    known = json.loads((data / "chatglm-golden" / f"{file}.golden.json").read_text(encoding="utf-8"))["tokenizer"]
    history = [tuple(turn) for turn in known["history"]]
    *bare, last = known[prompts]
    assert [made(text) for text in known["texts"][: len(bare)]] == bare
    assert made(known["texts"][0], history) == last
