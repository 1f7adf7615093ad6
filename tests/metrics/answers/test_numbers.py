"""The last number of an answer, by cases and by properties."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.answers.numbers import is_number, last_number

CASES = [
    json.loads(line) for line in Path(__file__).with_name("numbers.jsonl").read_text(encoding="utf-8").splitlines()
]
WIDE = str.maketrans("0123456789,.-/", "０１２３４５６７８９，．－／")


@pytest.mark.parametrize("case", CASES, ids=[case["text"] or "empty" for case in CASES])
def test_cases(case):
    assert last_number(case["text"]) == (None if case["number"] is None else Fraction(case["number"]))


@given(st.integers(-(10**12), 10**12))
def test_an_integer_reads_the_same_in_every_spelling(number):
    for text in (str(number), f"{number:,}", str(number).replace("-", "−"), f"{number:,}".translate(WIDE)):
        assert last_number(f"一共是{text}个。") == number


@given(st.decimals(-(10**6), 10**6, places=3))
def test_a_decimal_is_read_exactly(number):
    assert last_number(f"= {number:f}") == Fraction(number)


@given(st.integers(-999, 999), st.integers(1, 999))
def test_a_fraction_is_read_exactly(top, bottom):
    assert last_number(f"是 {top}/{bottom}") == Fraction(top, bottom)


@pytest.mark.parametrize("text", ["1,200", "-3/4", "3 1/2", "½", " 18. ", "５％", "-$3", "−3", "1.5。"])
def test_is_number_accepts_one_number(text):
    assert is_number(text)


@pytest.mark.parametrize("text", ["2024/05/01", "1,3,4", "3 1 2", "5-3", "18元", "x", "", "%", "3.5.1"])
def test_is_number_rejects_other_texts(text):
    assert not is_number(text)


@given(st.text())
def test_every_text_can_be_read(text):
    assert not is_number(text) or last_number(text) is not None
