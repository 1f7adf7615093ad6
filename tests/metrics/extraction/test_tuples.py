"""Tuples parsed from answers, by cases, by properties and against kg2instruction; counts against a loop."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.metrics.extraction import tuples as tuples_module
from harness.metrics.extraction.tuples import Counts, count_matches, format_tuples, parse_tuples
from harness.metrics.stats.estimates import ratio
from support.ie_records import steps

CASES = [json.loads(line) for line in Path(__file__).with_name("tuples.jsonl").read_text(encoding="utf-8").splitlines()]
MARKS = "()（）,，、\"'“”[]甲乙N无 \n"
QUOTED = ('""', "''", "“”", "‘’")
names = st.sampled_from("甲乙丙")
triples = st.lists(st.tuples(names, names, names), max_size=12)


@pytest.mark.parametrize("case", CASES, ids=[case["text"] or "empty" for case in CASES])
def test_a_case(case):
    assert parse_tuples(case["text"]) == (
        None if case["tuples"] is None else [tuple(items) for items in case["tuples"]]
    )


def test_the_answers_that_kg2instruction_writes(definitions):
    golden = json.loads((definitions / "extraction.json").read_text(encoding="utf-8"))["golden"]
    cases = [case for case in golden if case["task"] in ("ner", "re") and case["format"] == 0]
    assert len(cases) >= 10
    for case in cases:
        records = [tuple(record) for record in case["records"]]
        assert parse_tuples(case["text"]) == [record for record in records if all(record)]
        if case["language"] == "zh":
            assert format_tuples(records) == case["text"].split("\n", 1)[1]


def test_every_empty_answer_that_kg2instruction_writes(definitions):
    golden = json.loads((definitions / "extraction.json").read_text(encoding="utf-8"))["golden"]
    empty = [case["text"] for case in golden if not case["records"]]
    assert empty
    assert [parse_tuples(text) for text in empty] == [[] for _ in empty]


def is_plain(item):
    """Return whether an item without brackets and commas survives `format_tuples` and `parse_tuples`."""
    is_quoted = len(item) >= 2 and item[0] + item[-1] in QUOTED
    return item not in ("", "NAN") and not is_quoted


plain = st.characters(exclude_characters="()（）,") | st.sampled_from("，、\"'“”[]甲乙 \n")
items = st.text(plain, min_size=1, max_size=8).map(str.strip).filter(is_plain)


@given(st.lists(st.lists(items, min_size=2, max_size=4).map(tuple), max_size=5))
@example([("甲，乙", "丙、丁"), ('"', "N")])
@example([])
def test_formatted_tuples_are_parsed_again(tuples):
    assert parse_tuples(format_tuples(tuples)) == tuples
    assert parse_tuples(f"输入中包含的实体是：\n{format_tuples(tuples)}") == tuples


@given(st.text() | st.text(st.sampled_from(MARKS), max_size=60))
def test_any_text_can_be_parsed(text):
    tuples = parse_tuples(text)
    for items in tuples or []:
        assert len(items) >= 2
        assert all(item == item.strip() and item in text and item not in ("", "NAN") for item in items)
    if tuples is None:
        assert text.strip()


@given(st.text(st.sampled_from(MARKS), max_size=40))
def test_the_width_of_brackets_makes_no_difference(text):
    wide = str.maketrans("()", "（）")
    tuples = parse_tuples(text)
    expected = None if tuples is None else [tuple(item.translate(wide) for item in items) for items in tuples]
    assert parse_tuples(text.translate(wide)) == expected


SHAPES = [
    "(",
    ")",
    ",",
    "(,",
    "(甲",
    "甲)",
    "(甲,",
    "(甲,乙)",
    "((甲,乙),",
    '("',
    '"甲,"',
    "(甲,乙",
    "NAN\n",
    "甲",
    " ",
    "（、，",
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("end", ["", ")", "closed"])
def test_the_work_is_linear(shape, end):
    def text(times):
        return shape * times + (")" * times if end == "closed" else end)

    # Linear work grows by a factor of 8, quadratic work by 64.
    small, large = (steps(parse_tuples, text(times), (tuples_module,)) for times in (100, 800))
    assert 0 < large < 8 * 1.5 * small


@pytest.mark.sampled(6)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_long_text_can_be_parsed(shape):
    parse_tuples(shape * (100_000 // len(shape)))
    parse_tuples(shape * (50_000 // len(shape)) + ")" * 50_000)


@given(triples, triples)
def test_counts_are_those_of_a_loop(predicted, expected):
    hits = distinct_predicted = distinct_expected = 0
    for index, item in enumerate(predicted):
        if item not in predicted[:index]:
            distinct_predicted += 1
            hits += item in expected
    for index, item in enumerate(expected):
        distinct_expected += item not in expected[:index]
    assert count_matches(iter(predicted), iter(expected)) == (hits, distinct_predicted, distinct_expected)


@given(triples, triples)
def test_precision_recall_and_f1_are_those_of_their_definitions(predicted, expected):
    counts = count_matches(predicted, expected)
    assert counts.precision == (counts.hits / len(set(predicted)) if predicted else 0)
    assert counts.recall == (counts.hits / len(set(expected)) if expected else 0)
    total = counts.precision + counts.recall
    assert counts.f1 == pytest.approx(2 * counts.precision * counts.recall / total if total else 0)
    swapped = count_matches(expected, predicted)
    assert (swapped.precision, swapped.recall, swapped.f1) == (counts.recall, counts.precision, counts.f1)


def test_undefined_scores_are_0():
    for counts in (Counts(0, 0, 0), Counts(0, 3, 0), Counts(0, 0, 3), Counts(0, 3, 3)):
        assert (counts.precision, counts.recall, counts.f1) == (0, 0, 0)
    assert Counts(0, 0, 0).f1_pair == (0, 0)


@given(st.lists(st.tuples(triples, triples), max_size=6))
def test_the_ratio_of_pairs_is_micro_f1(documents):
    counts = [count_matches(predicted, expected) for predicted, expected in documents]
    hits, predicted, expected = (sum(document[column] for document in counts) for column in range(3))
    micro_f1 = ratio([document.f1_pair for document in counts])
    if not predicted + expected:
        assert math.isnan(micro_f1)
        return
    assert micro_f1 == pytest.approx(Counts(hits, predicted, expected).f1)
    precision, recall = hits / max(1, predicted), hits / max(1, expected)
    assert micro_f1 == pytest.approx(2 * precision * recall / (precision + recall) if hits else 0)
