"""The number that an answer ends with, by cases and by properties."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.numbers import last_number

CASES = [
    json.loads(line) for line in Path(__file__).with_name("numbers.jsonl").read_text(encoding="utf-8").splitlines()
]
WIDE = str.maketrans("0123456789,.-/", "０１２３４５６７８９，．－／")


@pytest.mark.parametrize("case", CASES, ids=[case["text"] or "empty" for case in CASES])
def test_a_case(case):
    assert last_number(case["text"]) == (None if case["number"] is None else Fraction(case["number"]))


@given(st.integers(-(10**12), 10**12))
def test_a_whole_number_reads_the_same_however_it_is_written(number):
    for text in (str(number), f"{number:,}", str(number).replace("-", "−"), f"{number:,}".translate(WIDE)):
        assert last_number(f"一共是{text}个。") == number


@given(st.decimals(-(10**6), 10**6, places=3))
def test_a_decimal_is_read_exactly(number):
    assert last_number(f"= {number:f}") == Fraction(number)


@given(st.integers(-999, 999), st.integers(1, 999))
def test_a_fraction_is_read_exactly(top, bottom):
    assert last_number(f"是 {top}/{bottom}") == Fraction(top, bottom)


@given(st.text())
def test_any_text_can_be_read(text):
    last_number(text)
