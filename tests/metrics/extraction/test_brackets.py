"""Pairs of brackets: which contain which, which are tuples, and where they are divided."""

from __future__ import annotations

from typing import Any

import pytest

from harness.metrics.extraction.brackets import Group, parse_brackets


def described(group: Group, text: str) -> Any:
    """Return the text of a group, its number of separators, and the same of its inner groups."""
    inner = [described(inner_group, text) for inner_group in group.groups]
    return text[group.start : group.end + 1], len(group.separators), inner


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(a,b)", [("(a,b)", 1, [])]),
        ("（a，(b)）", [("（a，(b)）", 1, [("(b)", 0, [])])]),
        ("(a,(b)", [("(b)", 0, [])]),
        ("a),(b", []),
        ("([a),b]", [("([a)", 0, [])]),
        ("(a,[b,c)", [("(a,[b,c)", 2, [])]),
        ("(a,[(b,c),d)", [("(a,[(b,c),d)", 2, [("(b,c)", 1, [])])]),
    ],
)
def test_brackets_in_pairs(text, expected):
    assert [described(group, text) for group in parse_brackets(text, "([").groups] == expected


def test_tuples_are_the_outermost_groups_with_commas_and_words():
    text = "((a,b),(c,(d,e)),[x,y],(f))"
    tuples = [text[group.start : group.end + 1] for group in parse_brackets(text, "([").outermost_tuples("(")]
    assert tuples == ["(a,b)", "(c,(d,e))"]


def test_fields_are_divided_by_one_kind_of_comma():
    for text, fields in (
        ("a，b,c", ["a，b", "c"]),
        ("a、b，c", ["a、b", "c"]),
        ("a", ["a"]),
        ("(a,b),c", ["(a,b)", "c"]),
    ):
        assert [text[start:end] for start, end in parse_brackets(text, "(").field_spans(text)] == fields
