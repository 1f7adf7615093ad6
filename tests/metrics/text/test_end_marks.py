"""Special tokens at the end of recorded answers."""

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
