"""What reading is made of: dictionaries of both languages, brackets in pairs, names that are tagged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.metrics.extraction import bio_tags
from harness.metrics.extraction.brackets import Group, parse_brackets
from harness.metrics.extraction.literals import parse_dictionaries

leaves = st.text(max_size=5).filter(lambda text: text not in ("null", "None"))
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(leaves, inner, max_size=3))
objects = st.dictionaries(leaves, values, max_size=4)


@given(
    st.lists(objects, max_size=3), st.sampled_from([str, json.dumps, lambda one: json.dumps(one, ensure_ascii=False)])
)
@example([{"a": "'\"\\\n\t\x07\u3000\x85😀"}], json.dumps)
@example([{"a": "'\"\\\n\t\x07\u3000\x85😀\U000e0001"}], str)
def test_what_python_or_json_writes_comes_back(made, write):
    inside: list[dict[str, Any]] = []

    def collect(one: Any) -> None:
        for inner in one.values() if isinstance(one, dict) else one if isinstance(one, list) else ():
            collect(inner)
        if isinstance(one, dict):
            inside.append(one)

    for one in made:
        collect(one)
    assert list(parse_dictionaries(f"答：{write(made)}。")) == inside


@pytest.mark.parametrize(
    ("text", "found"),
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
def test_dictionaries_of_a_text(text, found):
    assert list(parse_dictionaries(text)) == found


@given(st.text("{}[]():,'\"\\ab \n", max_size=60))
def test_any_text_has_some_dictionaries_or_none(text):
    for one in parse_dictionaries(text):
        assert isinstance(one, dict)


def spelled(group: Group, text: str) -> Any:
    """Return what `group` holds: its bracket's text, where it is divided, and the same of inner ones."""
    return text[group.start : group.end + 1], len(group.separators), [spelled(inner, text) for inner in group.groups]


@pytest.mark.parametrize(
    ("text", "inside"),
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
def test_brackets_in_pairs(text, inside):
    assert [spelled(one, text) for one in parse_brackets(text, "([").groups] == inside


def test_tuples_are_the_outermost_that_have_commas_and_words():
    text = "((a,b),(c,(d,e)),[x,y],(f))"
    found = [text[one.start : one.end + 1] for one in parse_brackets(text, "([").outermost_tuples("(")]
    assert found == ["(a,b)", "(c,(d,e))"]


def test_fields_are_cut_at_one_kind_of_comma():
    for text, fields in (
        ("a，b,c", ["a，b", "c"]),
        ("a、b，c", ["a、b", "c"]),
        ("a", ["a"]),
        ("(a,b),c", ["(a,b)", "c"]),
    ):
        assert [text[start:end] for start, end in parse_brackets(text, "(").field_spans(text)] == fields


NAMES = {"PER": "人", "LOC": "地"}


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O O O O", []),
        ("B-PER I-PER O B-LOC", [("甲乙", "人"), ("丁", "地")]),
        ("B-PER B-PER I-PER I-PER", [("甲", "人"), ("乙丙丁", "人")]),
        ("I-PER I-PER O I-LOC", [("甲乙", "人"), ("丁", "地")]),
        ("B-PER I-LOC I-LOC O", [("甲", "人"), ("乙丙", "地")]),
        ("B-PER O I-PER O", [("甲", "人"), ("丙", "人")]),
    ],
)
def test_tagged_names(tags, found):
    assert bio_tags.entities(list("甲乙丙丁"), tags.split(), NAMES) == found


def test_words_have_between_them_what_the_text_has():
    assert bio_tags.entities(["Ada", "Finch"], ["B-PER", "I-PER"], NAMES, separator=" ") == [("Ada Finch", "人")]


@given(st.lists(st.sampled_from(["O", *(f"{mark}-{kind}" for mark in "BI" for kind in NAMES)]), max_size=12))
def test_names_are_runs_of_tags(tags):
    words = [str(place) for place in range(len(tags))]
    runs: list[list[int]] = []
    for place, tag in enumerate(tags):
        joined = place > 0 and tag[:1] == "I" and tags[place - 1][2:] == tag[2:]
        if tag != "O":
            runs[-1].append(place) if joined else runs.append([place])
    wanted = [("".join(words[place] for place in run), NAMES[tags[run[0]][2:]]) for run in runs]
    assert bio_tags.entities(words, tags, NAMES) == wanted
