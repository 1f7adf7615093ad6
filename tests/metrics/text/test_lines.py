"""The visible text of an answer and its first line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.text import lines


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("7", "7"),
        ("\n7", "7"),
        (" \r\n\t\u3000\ufeff7 \u200b\r\nThe next question", "7"),
        ("\u200b\n\u00a0\n7", "7"),
        ("a b\x85c", "a b"),
        ("", ""),
        (" \n\u200b", ""),
    ],
)
def test_the_first_line_is_the_first_with_visible_characters(text: str, line: str) -> None:
    assert lines.first_line(text) == line


@given(st.text(" \n\r\ta七\u200b\ufeff", max_size=20))
def test_trimming_leaves_what_is_visible(text: str) -> None:
    trimmed = lines.trimmed(text)
    assert trimmed in text
    assert lines.trimmed(trimmed) == trimmed
    assert [letter for letter in trimmed if letter in "a七"] == [letter for letter in text if letter in "a七"]
    assert not trimmed or trimmed[0] in "a七"
    assert lines.first_line(text) in trimmed
    assert lines.is_one_line(lines.first_line(text))
