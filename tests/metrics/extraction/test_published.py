"""kg2instruction's and IEPile's readers against what upstream's code answers, their counts against recounts by hand."""

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
from support.ie_records import record

# Made by running upstream's functions on answers invented for it; events there are [type, trigger, [[name, role], …]],
# and null stands for a name that is no string.
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


def plain(one):
    if isinstance(one, Event):
        names = [None if name.startswith("\x00") else name for name, _ in one.arguments]
        return [one.type, one.trigger, [list(pair) for pair in zip(names, [r for _, r in one.arguments], strict=True)]]
    return list(one)


def test_there_are_cases_of_every_reader():
    assert {tuple(case["reader"]) for case in CASES} == set(READERS)
    assert sum(bool(case["records"]) for case in CASES) > 40


@pytest.mark.parametrize("case", CASES, ids=[f"{'-'.join(case['reader'])}-{n}" for n, case in enumerate(CASES)])
def test_a_reader_reads_what_upstreams_does(case):
    found = READERS[tuple(case["reader"])](case["text"])
    assert (None if found is None else [plain(one) for one in found]) == case["records"]


def test_kg2instructions_fault_no_chinese_entity_is_read_as_json():
    said = [Entity("青石镇", "地点")]
    assert kg2instruction.parse_entities(format_records(said, "ner", "zh", "json"), "zh") == []
    for format in ("tuples", "sentences", "key_value"):
        assert kg2instruction.parse_entities(format_records(said, "ner", "zh", format), "zh") == said


@given(st.text() | st.text("(){}'：,\n甲NAN实体是类型头尾关系", max_size=40))
@example("{" * 3000)
@example("[" * 100_000)
@example("9" * 5_000)
def test_any_text_can_be_read_by_all_of_them(text):
    for reader in READERS.values():
        found = reader(text)
        assert found is None or isinstance(found, list)


LONG = ["{", "(", "'head': '", "{'entity': ", "实体是", "\n\n", "：\n", "[", '{"a":', "\\"]


@pytest.mark.parametrize("shape", LONG)
def test_100_kb_of_repetition_can_be_read(shape):
    for reader in READERS.values():
        reader(shape * (100_000 // len(shape)))


letters = st.sampled_from("甲乙")
arguments = st.lists(st.builds(Argument, letters, letters), max_size=3).map(tuple)
found_events = st.lists(st.builds(Event, letters, letters, arguments), max_size=4)


@given(found_events, found_events)
def test_events_are_counted_as_eemetric_does(said, wanted):
    # Sets of triples, with the order of first appearance where upstream's have none.
    ours, theirs = [], []
    for side, kept in ((said, ours), (wanted, theirs)):
        for one in side:
            if one not in kept:
                kept.append(one)
    hits = argument_hits = 0
    keys = []
    for one in ours:
        key = (one.trigger, one.type)
        if key in keys or all((other.trigger, other.type) != key for other in theirs):
            continue
        keys.append(key)
        hits += 1
        last = [other for other in ours if (other.trigger, other.type) == key][-1]
        gold = [other for other in theirs if (other.trigger, other.type) == key][-1]
        seen = []
        for argument in last.arguments:
            if argument not in seen:
                seen.append(argument)
                argument_hits += argument in gold.arguments
    counted = kg2instruction.count_events(said, wanted)
    assert counted.events == (hits, len(ours), len(theirs))
    assert counted.arguments == (
        argument_hits,
        sum(len(one.arguments) for one in ours),
        sum(len(one.arguments) for one in theirs),
    )


def test_kg2instructions_fault_one_event_with_two_lists_of_arguments_counts_twice():
    wanted = [Event("走", "离职", (Argument("甲", "人"), Argument("乙", "人")))]
    said = [
        Event("走", "离职", (Argument("甲", "人"),)),
        Event("走", "离职", (Argument("乙", "人"), Argument("乙", "人"))),
    ]
    assert kg2instruction.count_events(said, wanted) == (Counts(1, 2, 1), Counts(1, 3, 2))


def test_of_equal_inputs_the_last_counts():
    assert kg2instruction.last_occurrences(["甲", "乙", "甲", "丙", "甲"]) == [False, True, False, True, True]
    assert kg2instruction.last_occurrences([]) == []


tuples = st.lists(st.tuples(letters, letters), max_size=6)


@given(tuples, tuples)
def test_iepile_counts_multisets(said, wanted):
    left, hits = list(wanted), 0
    for one in said:
        if one in left:
            left.remove(one)
            hits += 1
    assert iepile.count_matches(said, wanted) == (hits, len(said), len(wanted))


@pytest.mark.parametrize(
    ("counted", "percentages"),
    [
        ((1, 3, 7), (33.33, 14.29, 20.0)),
        ((2, 3, 3), (66.67, 66.67, 66.67)),
        # Out of unrounded precision and recall, F1 would be 54.55 and 28.57.
        ((3, 4, 7), (75.0, 42.86, 54.55)),
        ((1, 1, 6), (100.0, 16.67, 28.58)),
        ((0, 0, 5), (0.0, 0.0, 0.0)),
        ((0, 4, 0), (0.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((5, 5, 5), (100.0, 100.0, 100.0)),
    ],
)
def test_iepile_computes_f1_from_rounded_percentages(counted, percentages):
    assert iepile.corpus_score(Counts(*counted)) == percentages


@given(st.lists(st.tuples(letters, tuples, tuples), max_size=6))
def test_iepile_puts_the_parts_of_a_document_together(parts):
    hits = said = wanted = 0
    for document in dict.fromkeys(name for name, _, _ in parts):
        own = [part for part in parts if part[0] == document]
        left = list(own[0][2])
        wanted += len(left)
        for _, ours, _ in own:
            said += len(ours)
            for one in ours:
                if one in left:
                    left.remove(one)
                    hits += 1
    assert iepile.corpus_counts(parts) == (hits, said, wanted)


def test_iepile_counts_an_argument_without_its_trigger():
    found = [Event("走", "离职", (Argument("甲", "人"),)), Event("辞", "离职", (Argument("甲", "人"),))]
    assert iepile.event_keys(found) == [("离职", "走"), ("离职", "辞")]
    assert iepile.argument_keys(found) == [("离职", "甲", "人")] * 2


def test_iepile_repaired_reads_what_its_data_say():
    text = '{"出生地": [{"head": "林晚", "tail": "青石镇"}, {"subject": "老周", "object": "山外"}]}'
    assert iepile.parse_relations(text) == [("", "出生地", ""), ("老周", "出生地", "山外")]
    assert iepile.parse_relations(text, is_repaired=True) == [("林晚", "出生地", "青石镇"), ("老周", "出生地", "山外")]


@pytest.mark.parametrize(
    ("kind", "schema", "reader"),
    [
        ("ner", ["甲", "乙"], iepile.parse_entities),
        ("re", ["甲", "乙"], iepile.parse_relations),
        ("ee", [{"event_type": kind, "arguments": ["甲", "乙"]} for kind in "甲乙"], iepile.parse_events),
    ],
)
@given(st.data())
def test_what_iepile_writes_is_read_again(kind, schema, reader, data):
    one = {
        "ner": st.builds(Entity, st.text(), letters),
        "re": st.builds(Relation, st.text(), letters, st.text()),
        "ee": st.builds(
            Event,
            st.text(),
            letters,
            st.lists(st.builds(Argument, st.text().filter(lambda t: t != "NAN"), letters), max_size=3).map(tuple),
        ),
    }[kind]
    records = data.draw(st.lists(one, max_size=4))
    found = reader(iepile.format_answer(records, kind, schema))

    def keys(some):
        if kind == "ee":
            return sorted(iepile.event_keys(some)), sorted(iepile.argument_keys(some))
        return sorted(some)

    assert keys(found) == keys(records)


@pytest.mark.data
@pytest.mark.parametrize("kind", ["NER", "EET", "EE"])
def test_answers_are_those_that_iepile_trains_on(data, kind):
    rows = pq.read_table(data / "zjunlp" / "iepile-samples" / kind / "train-00000-of-00001.parquet").to_pylist()
    read = iepile.parse_events if kind == "EE" else iepile.parse_entities
    written = 0
    for row in rows:
        schema = json.loads(row["instruction"])["schema"]
        written += iepile.format_answer(read(row["output"]), "ee" if kind == "EE" else "ner", schema) == row["output"]
    assert written == len(rows)


@pytest.mark.data
@pytest.mark.parametrize("kind", ["ner", "re", "ee"])
def test_right_answers_to_iepiles_samples_score_100(data, kind):
    rows = pq.read_table(data / "zjunlp" / "iepile-samples" / kind.upper() / "test-00000-of-00001.parquet").to_pylist()
    reader = {"ner": iepile.parse_entities, "re": iepile.parse_relations, "ee": iepile.parse_events}[kind]
    keys = iepile.event_keys if kind == "ee" else list
    parts = []
    for row in rows:
        wanted = [record(kind, one) for one in labels(kind, json.loads(row["label"]))]
        said = reader(iepile.format_answer(wanted, kind, json.loads(row["instruction"])["schema"]))
        parts.append((row["id"], keys(said), keys(wanted)))
    assert len({row["id"] for row in rows}) == 6
    counted = iepile.corpus_counts(parts)
    assert counted.expected >= 3
    assert iepile.corpus_score(counted) == (100, 100, 100)


def labels(kind, listed):
    for one in listed:
        if kind == "ee":
            arguments = [(each["argument"], each["role"]) for each in one["arguments"]]
            yield one["event_trigger"], one["event_type"], arguments
        else:
            yield (one["entity"], one["entity_type"]) if kind == "ner" else (one["head"], one["relation"], one["tail"])
