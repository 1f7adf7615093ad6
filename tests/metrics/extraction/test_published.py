"""kg2instruction's and IEPile's readers, compared with upstream's output, and their counts, compared with recounts."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.metrics.extraction import iepile, kg2instruction
from harness.metrics.extraction.records import Argument, Entity, Event, Relation, format_records
from harness.metrics.extraction.tuples import Counts
from support.ie_records import record_of

# Made by running upstream's functions on invented answers. Events are [type, trigger, [[name, role], …]], and null
# stands for a name that is not a string.
CASES = [
    json.loads(line) for line in Path(__file__).with_name("published.jsonl").read_text(encoding="utf-8").splitlines()
]
READERS = {
    ("ner", "zh"): lambda text: kg2instruction.parse_entities(text, "zh"),
    ("ner", "en"): lambda text: kg2instruction.parse_entities(text, "en"),
    ("re", "zh"): lambda text: kg2instruction.parse_relations(text, "zh"),
    ("re", "en"): lambda text: kg2instruction.parse_relations(text, "en"),
    ("iepile", "ner"): iepile.parse_entities,
    ("iepile", "re"): iepile.parse_relations,
    ("iepile", "ee"): iepile.parse_events,
}


def plain(record):
    if isinstance(record, Event):
        arguments = [[None if name.startswith("\x00") else name, role] for name, role in record.arguments]
        return [record.type, record.trigger, arguments]
    return list(record)


def test_there_are_cases_for_every_reader():
    assert {tuple(case["reader"]) for case in CASES} == set(READERS)
    assert sum(bool(case["records"]) for case in CASES) > 40


@pytest.mark.parametrize("case", CASES, ids=[f"{'-'.join(case['reader'])}-{n}" for n, case in enumerate(CASES)])
def test_a_reader_returns_what_upstreams_does(case):
    records = READERS[tuple(case["reader"])](case["text"])
    assert (None if records is None else [plain(record) for record in records]) == case["records"]


def test_kg2instructions_fault_no_chinese_entity_is_read_from_json():
    entities = [Entity("青石镇", "地点")]
    assert kg2instruction.parse_entities(format_records(entities, "ner", "zh", "json"), "zh") == []
    for format in ("tuples", "sentences", "key_value"):
        assert kg2instruction.parse_entities(format_records(entities, "ner", "zh", format), "zh") == entities


@given(st.text() | st.text("(){}'：,\n甲NAN实体是类型头尾关系", max_size=40))
@example("{" * 3000)
@example("[" * 100_000)
@example("9" * 5_000)
def test_any_text_can_be_read_by_every_reader(text):
    for reader in READERS.values():
        records = reader(text)
        assert records is None or isinstance(records, list)


LONG = ["{", "(", "'head': '", "{'entity': ", "实体是", "\n\n", "：\n", "[", '{"a":', "\\"]


@pytest.mark.parametrize("shape", LONG)
def test_100_kb_of_repetition_can_be_read(shape):
    for reader in READERS.values():
        reader(shape * (100_000 // len(shape)))


letters = st.sampled_from("甲乙")
arguments = st.lists(st.builds(Argument, letters, letters), max_size=3).map(tuple)
events = st.lists(st.builds(Event, letters, letters, arguments), max_size=4)


@given(events, events)
def test_events_are_counted_as_eemetric_counts_them(predicted, expected):
    # Upstream's sets of events, in order of first appearance, because its own have no order.
    distinct_predicted, distinct_expected = [], []
    for side, distinct in ((predicted, distinct_predicted), (expected, distinct_expected)):
        for event in side:
            if event not in distinct:
                distinct.append(event)
    hits = argument_hits = 0
    matched = []
    for event in distinct_predicted:
        key = (event.trigger, event.type)
        if key in matched or all((other.trigger, other.type) != key for other in distinct_expected):
            continue
        matched.append(key)
        hits += 1
        last = [other for other in distinct_predicted if (other.trigger, other.type) == key][-1]
        gold = [other for other in distinct_expected if (other.trigger, other.type) == key][-1]
        counted = []
        for argument in last.arguments:
            if argument not in counted:
                counted.append(argument)
                argument_hits += argument in gold.arguments
    counts = kg2instruction.count_events(predicted, expected)
    assert counts.events == (hits, len(distinct_predicted), len(distinct_expected))
    assert counts.arguments == (
        argument_hits,
        sum(len(event.arguments) for event in distinct_predicted),
        sum(len(event.arguments) for event in distinct_expected),
    )


def test_kg2instructions_fault_an_event_predicted_with_two_lists_of_arguments_counts_twice():
    expected = [Event("走", "离职", (Argument("甲", "人"), Argument("乙", "人")))]
    predicted = [
        Event("走", "离职", (Argument("甲", "人"),)),
        Event("走", "离职", (Argument("乙", "人"), Argument("乙", "人"))),
    ]
    assert kg2instruction.count_events(predicted, expected) == (Counts(1, 2, 1), Counts(1, 3, 2))


def test_of_equal_inputs_the_last_counts():
    assert kg2instruction.last_occurrences(["甲", "乙", "甲", "丙", "甲"]) == [False, True, False, True, True]
    assert kg2instruction.last_occurrences([]) == []


tuples = st.lists(st.tuples(letters, letters), max_size=6)


@given(tuples, tuples)
def test_iepile_counts_multisets(predicted, expected):
    remaining, hits = list(expected), 0
    for item in predicted:
        if item in remaining:
            remaining.remove(item)
            hits += 1
    assert iepile.count_matches(predicted, expected) == (hits, len(predicted), len(expected))


@pytest.mark.parametrize(
    ("counts", "percentages"),
    [
        ((1, 3, 7), (33.33, 14.29, 20.0)),
        ((2, 3, 3), (66.67, 66.67, 66.67)),
        # From unrounded precision and recall, F1 would be 54.55 and 28.57.
        ((3, 4, 7), (75.0, 42.86, 54.55)),
        ((1, 1, 6), (100.0, 16.67, 28.58)),
        ((0, 0, 5), (0.0, 0.0, 0.0)),
        ((0, 4, 0), (0.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((5, 5, 5), (100.0, 100.0, 100.0)),
    ],
)
def test_iepile_computes_f1_from_rounded_percentages(counts, percentages):
    assert iepile.corpus_score(Counts(*counts)) == percentages


@given(st.lists(st.tuples(letters, tuples, tuples), max_size=6))
def test_iepile_scores_the_parts_of_a_document_together(parts):
    hits = total_predicted = total_expected = 0
    for document in dict.fromkeys(name for name, _, _ in parts):
        document_parts = [part for part in parts if part[0] == document]
        remaining = list(document_parts[0][2])
        total_expected += len(remaining)
        for _, predicted, _ in document_parts:
            total_predicted += len(predicted)
            for item in predicted:
                if item in remaining:
                    remaining.remove(item)
                    hits += 1
    assert iepile.corpus_counts(parts) == (hits, total_predicted, total_expected)


def test_iepile_compares_an_argument_without_its_trigger():
    pair = [Event("走", "离职", (Argument("甲", "人"),)), Event("辞", "离职", (Argument("甲", "人"),))]
    assert iepile.event_keys(pair) == [("离职", "走"), ("离职", "辞")]
    assert iepile.argument_keys(pair) == [("离职", "甲", "人")] * 2


def test_the_repaired_reader_accepts_the_keys_of_iepiles_data():
    text = '{"出生地": [{"head": "林晚", "tail": "青石镇"}, {"subject": "老周", "object": "山外"}]}'
    assert iepile.parse_relations(text) == [("", "出生地", ""), ("老周", "出生地", "山外")]
    assert iepile.parse_relations(text, is_repaired=True) == [
        ("林晚", "出生地", "青石镇"),
        ("老周", "出生地", "山外"),
    ]


@pytest.mark.parametrize(
    ("kind", "schema", "reader"),
    [
        ("ner", ["甲", "乙"], iepile.parse_entities),
        ("re", ["甲", "乙"], iepile.parse_relations),
        ("ee", [{"event_type": kind, "arguments": ["甲", "乙"]} for kind in "甲乙"], iepile.parse_events),
    ],
)
@given(st.data())
def test_what_iepile_writes_is_parsed_again(kind, schema, reader, data):
    record = {
        "ner": st.builds(Entity, st.text(), letters),
        "re": st.builds(Relation, st.text(), letters, st.text()),
        "ee": st.builds(
            Event,
            st.text(),
            letters,
            st.lists(st.builds(Argument, st.text().filter(lambda t: t != "NAN"), letters), max_size=3).map(tuple),
        ),
    }[kind]
    records = data.draw(st.lists(record, max_size=4))
    parsed = reader(iepile.format_answer(records, kind, schema))

    def keys(listed):
        if kind == "ee":
            return sorted(iepile.event_keys(listed)), sorted(iepile.argument_keys(listed))
        return sorted(listed)

    assert keys(parsed) == keys(records)


@pytest.mark.data
@pytest.mark.parametrize("kind", ["NER", "EET", "EE"])
def test_answers_are_those_that_iepile_trains_on(data, kind):
    rows = pq.read_table(data / "zjunlp" / "iepile-samples" / kind / "train-00000-of-00001.parquet").to_pylist()
    reader = iepile.parse_events if kind == "EE" else iepile.parse_entities
    equal = 0
    for row in rows:
        schema = json.loads(row["instruction"])["schema"]
        answer = iepile.format_answer(reader(row["output"]), "ee" if kind == "EE" else "ner", schema)
        equal += answer == row["output"]
    assert equal == len(rows)


@pytest.mark.data
@pytest.mark.parametrize("kind", ["ner", "re", "ee"])
def test_right_answers_to_iepiles_samples_score_100(data, kind):
    rows = pq.read_table(data / "zjunlp" / "iepile-samples" / kind.upper() / "test-00000-of-00001.parquet").to_pylist()
    reader = {"ner": iepile.parse_entities, "re": iepile.parse_relations, "ee": iepile.parse_events}[kind]
    keys = iepile.event_keys if kind == "ee" else list
    parts = []
    for row in rows:
        expected = [record_of(kind, items) for items in label_items(kind, json.loads(row["label"]))]
        predicted = reader(iepile.format_answer(expected, kind, json.loads(row["instruction"])["schema"]))
        parts.append((row["id"], keys(predicted), keys(expected)))
    assert len({row["id"] for row in rows}) == 6
    counts = iepile.corpus_counts(parts)
    assert counts.expected >= 3
    assert iepile.corpus_score(counts) == (100, 100, 100)


def label_items(kind, labels):
    """Yield the items of each record in IEPile's labels."""
    for label in labels:
        if kind == "ner":
            yield label["entity"], label["entity_type"]
        elif kind == "re":
            yield label["head"], label["relation"], label["tail"]
        else:
            arguments = [(argument["argument"], argument["role"]) for argument in label["arguments"]]
            yield label["event_trigger"], label["event_type"], arguments
