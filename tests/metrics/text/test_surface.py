"""Properties of texts without a reference, on examples counted by hand."""

from __future__ import annotations

import pytest

from harness.metrics.text import surface


def test_distinct_is_different_runs_divided_by_all_words() -> None:
    texts = [["红", "裙", "红", "裙"], ["裙", "红"], []]
    assert surface.distinct(texts, 1) == 2 / 6
    assert surface.distinct(texts, 2) == 2 / 6  # 红裙 and 裙红; no run crosses from the first text into the second
    assert surface.distinct([["甲"], ["乙"]], 2) == 0
    assert surface.distinct([], 1) == surface.distinct([[]], 2) == 0


def test_distinct_is_over_the_corpus_not_a_mean_over_texts() -> None:
    text = ["白", "上", "衣"]
    assert surface.distinct([text], 1) == 1
    assert surface.distinct([text, text], 1) == pytest.approx(1 / 2)


@pytest.mark.parametrize(("text", "value"), [("", 1), (" \n　", 1), ("。", 0), (" 甲 ", 0)])
def test_white_space_alone_is_empty(text: str, value: float) -> None:
    assert surface.empty(text) == value


def test_lengths_are_characters_without_white_space_at_the_ends() -> None:
    assert surface.lengths(" 白色 上衣\n", "上衣") == (5, 2)
    assert surface.lengths("", "上衣") == (0, 2)
