"""Special tokens and marks of chat templates in recorded answers."""

from __future__ import annotations

import pytest

from harness.metrics.text import end_marks


@pytest.mark.parametrize(
    "marks",
    [
        "<eoa>",
        "</s>",
        "<|im_end|>",
        "<|endoftext|>",
        "[EOS]",
        "<eop>",
        "<|user|>",
        "<｜end▁of▁sentence｜>",
        "<eoa> </s>\n",
    ],
)
def test_end_marks_are_no_part_of_an_answer(marks: str) -> None:
    assert end_marks.without_end_marks(f"甲<eoa>乙{marks}") == "甲<eoa>乙"
    assert end_marks.without_end_marks(marks) == ""


@pytest.mark.parametrize("text", ["甲", "a < b > c", "[EOS]甲", "<b>", "[1]"])
def test_other_text_stays(text: str) -> None:
    assert end_marks.without_end_marks(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("<s>7", "7</s>", "<|im_start|>assistant\n7", "[gMASK]sop 7", "<｜Assistant｜>7", "7<eoa>", "[INST]3[/INST]7"),
        *("assistant\n\n7", "analysisWe add.assistantfinal7", "We add.assistantfinal7", "analysisUser asks", "7[EOS]"),
        *("<start_of_turn>model\n7", "7 <|eot_id|>\n8", "<|start_header_id|>assistant"),
    ],
)
def test_marks_of_a_chat_template_are_recognised(text: str) -> None:
    assert end_marks.has_chat_marks(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "7",
            "it is <s>7</s> 8",
            "a <b> c",
            "|x|",
            "<p>7</p>",
            "[A]",
            "【答案】A",
            "assistant manager",
            "x < |y| > z",
        ),
        *(
            "The assistant final exam",
            "analysis: 7",
            "analysis of A",
            "analysis\nA",
            "Assistant: 7",
            "ls | wc",
            "<|>",
            "a < |y|",
        ),
    ],
)
def test_ordinary_text_has_no_marks_of_a_chat_template(text: str) -> None:
    assert not end_marks.has_chat_marks(text)
