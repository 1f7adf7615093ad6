"""Dictionaries parsed from text: round trips of Python's and JSON's literals, cases, and any text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.metrics.extraction.literals import parse_dictionaries

leaves = st.text(max_size=5).filter(lambda text: text not in ("null", "None"))
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(leaves, inner, max_size=3))
objects = st.dictionaries(leaves, values, max_size=4)


@given(
    st.lists(objects, max_size=3),
    st.sampled_from([str, json.dumps, lambda value: json.dumps(value, ensure_ascii=False)]),
)
@example([{"a": "'\"\\\n\t\x07\u3000\x85😀"}], json.dumps)
@example([{"a": "'\"\\\n\t\x07\u3000\x85😀\U000e0001"}], str)
def test_what_python_or_json_writes_is_parsed_again(value, write):
    expected: list[dict[str, Any]] = []

    def collect(inner: Any) -> None:
        for element in inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ():
            collect(element)
        if isinstance(inner, dict):
            expected.append(inner)

    for dictionary in value:
        collect(dictionary)
    assert list(parse_dictionaries(f"答：{write(value)}。")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("{}", [{}]),
        ("{'a': 1, \"b\": true, 'c': null, 'd': -2.5e3,}", [{"a": "1", "b": "true", "c": "", "d": "-2.5e3"}]),
        ("{'a': ('b', 'c',)}", [{"a": ["b", "c"]}]),
        ("{'a': 'b', 'a': 'c'}", [{"a": "c"}]),
        ("{'a': 'b'} {'c': 'd'", [{"a": "b"}]),
        ("[{'a': 'b'}, {'c': {'d': 'e'}, 'f'", [{"a": "b"}, {"d": "e"}]),
        ("{'a': 'O'Dell'}, {'c': 'd'}", [{"c": "d"}]),
        ("{'a': 'b}\n{'c': 'd'}", [{"c": "d"}]),
        ("{'a': 'b', {'c': 'd'}", [{"c": "d"}]),
        ("{{'a': 'b'}}", [{"a": "b"}]),
        ("{'a' 'b'}", []),
        ("{'a':}", []),
        ("{'a': 'b']", []),
        ("{'a': ['b'}", []),
        ("{a: b}", [{"a": "b"}]),
        ("{'a': '\\u4e00\\ud83d\\ude00\\x41\\q'}", [{"a": "一😀A\\q"}]),
        ("{'a': '\\UFFFFFFFF'}", [{"a": "\\UFFFFFFFF"}]),
    ],
)
def test_dictionaries_in_a_text(text, expected):
    assert list(parse_dictionaries(text)) == expected


@given(st.text("{}[]():,'\"\\ab \n", max_size=60))
def test_any_text_can_be_parsed(text):
    for dictionary in parse_dictionaries(text):
        assert isinstance(dictionary, dict)
