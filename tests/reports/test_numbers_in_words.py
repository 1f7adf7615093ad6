"""Numbers with their nouns, as notes and tables use them."""

from __future__ import annotations

import pytest

from harness.reports.numbers_in_words import counted, first_and_count


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["law"], "law"),
        (["law", "logic"], "law and 1 more task"),
        ([f"task {k}" for k in range(2000)], "task 0 and 1,999 more tasks"),
        ({"law": 1, "logic": 2, "physics": 3}, "law and 2 more tasks"),
    ],
)
def test_the_first_of_several_names_is_given_with_the_number_of_the_others(names: list[str], text: str) -> None:
    assert first_and_count(names, "task") == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 documents"), (1, "1 document"), (1346, "1,346 documents")])
def test_a_number_has_its_noun_in_singular_or_plural(number: int, text: str) -> None:
    assert counted(number, "document") == text
