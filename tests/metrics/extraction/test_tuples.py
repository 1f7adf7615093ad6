"""Tuples read out of answers, by cases, against kg2instruction's templates and by properties; counts against a loop."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.metrics.extraction import tuples as tuples_module
from harness.metrics.extraction.tuples import Counts, count_matches, format_tuples, parse_tuples
from harness.metrics.stats.estimates import ratio

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


def test_every_kind_of_empty_answer_that_kg2instruction_writes(definitions):
    golden = json.loads((definitions / "extraction.json").read_text(encoding="utf-8"))["golden"]
    empty = [case["text"] for case in golden if not case["records"]]
    assert empty
    assert [parse_tuples(text) for text in empty] == [[] for _ in empty]


def is_plain(item):
    """Tell whether `format_tuples` promises that `item`, which holds no bracket and no comma, can be read again."""
    quoted = len(item) >= 2 and item[0] + item[-1] in QUOTED
    return item not in ("", "NAN") and not quoted


plain = st.characters(exclude_characters="()（）,") | st.sampled_from("，、\"'“”[]甲乙 \n")
items = st.text(plain, min_size=1, max_size=8).map(str.strip).filter(is_plain)


@given(st.lists(st.lists(items, min_size=2, max_size=4).map(tuple), max_size=5))
@example([("甲，乙", "丙、丁"), ('"', "N")])
@example([])
def test_what_is_written_can_be_read(several):
    assert parse_tuples(format_tuples(several)) == several
    assert parse_tuples(f"输入中包含的实体是：\n{format_tuples(several)}") == several


@given(st.text() | st.text(st.sampled_from(MARKS), max_size=60))
def test_any_text_can_be_read(text):
    found = parse_tuples(text)
    for read in found or []:
        assert len(read) >= 2
        assert all(item == item.strip() and item in text and item not in ("", "NAN") for item in read)
    if found is None:
        assert text.strip()


@given(st.text(st.sampled_from(MARKS), max_size=40))
def test_the_width_of_brackets_changes_nothing(text):
    wide = str.maketrans("()", "（）")
    found = parse_tuples(text)
    widened = None if found is None else [tuple(item.translate(wide) for item in read) for read in found]
    assert parse_tuples(text.translate(wide)) == widened


class Watched(str):
    """A text that counts the characters copied out of it."""

    copied = 0

    def __getitem__(self, key):
        part = str(self)[key]
        self.copied += len(part)
        return part


def steps(text):
    """Return how many instructions of the module reading `text` takes, and the characters that they copy."""
    watched, executed = Watched(text), 0

    def trace(frame, event, _):
        nonlocal executed
        if frame.f_code.co_filename != tuples_module.__file__:
            return None
        frame.f_trace_opcodes = True
        executed += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parse_tuples(watched)
    finally:
        sys.settrace(before)
    return executed + watched.copied


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

    # Linear work grows by 8, quadratic by 64.
    assert 0 < steps(text(800)) < 8 * 1.5 * steps(text(100))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_long_text_can_be_read(shape):
    parse_tuples(shape * (100_000 // len(shape)))
    parse_tuples(shape * (50_000 // len(shape)) + ")" * 50_000)


@given(triples, triples)
def test_counts_are_those_of_a_loop(said, wanted):
    hits = ours = theirs = 0
    for i, one in enumerate(said):
        if all(one != other for other in said[:i]):
            ours += 1
            hits += any(one == other for other in wanted)
    for i, one in enumerate(wanted):
        theirs += all(one != other for other in wanted[:i])
    assert count_matches(iter(said), iter(wanted)) == (hits, ours, theirs)


@given(triples, triples)
def test_precision_recall_and_f1_are_those_of_their_definitions(said, wanted):
    found = count_matches(said, wanted)
    assert found.precision == (found.hits / len(set(said)) if said else 0)
    assert found.recall == (found.hits / len(set(wanted)) if wanted else 0)
    total = found.precision + found.recall
    assert found.f1 == pytest.approx(2 * found.precision * found.recall / total if total else 0)
    turned = count_matches(wanted, said)
    assert (turned.precision, turned.recall, turned.f1) == (found.recall, found.precision, found.f1)


def test_undefined_scores_are_0():
    for nothing in (Counts(0, 0, 0), Counts(0, 3, 0), Counts(0, 0, 3), Counts(0, 3, 3)):
        assert (nothing.precision, nothing.recall, nothing.f1) == (0, 0, 0)
    assert Counts(0, 0, 0).f1_pair == (0, 0)


@given(st.lists(st.tuples(triples, triples), max_size=6))
def test_the_ratio_of_pairs_is_micro_f1(documents):
    found = [count_matches(said, wanted) for said, wanted in documents]
    hits, said, wanted = (sum(one[place] for one in found) for place in range(3))
    corpus = ratio([one.f1_pair for one in found])
    if not said + wanted:
        assert math.isnan(corpus)
        return
    assert corpus == pytest.approx(Counts(hits, said, wanted).f1)
    precision, recall = hits / max(1, said), hits / max(1, wanted)
    assert corpus == pytest.approx(2 * precision * recall / (precision + recall) if hits else 0)
