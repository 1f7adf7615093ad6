"""ChERRANT's edits, compared with upstream's output for sentences made by hand, and by properties of any two texts."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.lawbench import cherrant
from harness.metrics.lawbench.cherrant import CharacterTables, Counts, Edit, count_edits, edits
from harness.metrics.stats.estimates import ratio

# The output of upstream's alignment.py and merger.py with empty tables and no two readings alike.
GOLDEN = [json.loads(line) for line in (Path(__file__).parent / "cherrant.jsonl").read_text("utf-8").splitlines()]
TEXTS = st.text("甲乙丙，AB。", max_size=8)
DISTINCT = st.permutations("甲乙丙丁戊己庚辛").map("".join)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['source']}→{case['target']}")
def test_edits_are_upstreams(case: dict[str, object]) -> None:
    counted = edits(str(case["source"]), str(case["target"]))
    assert sorted([*edit, count] for edit, count in counted.items()) == case["edits"]


@given(DISTINCT, st.integers(0, 7), st.integers(1, 3), st.text("天地人", min_size=1, max_size=3))
def test_an_insertion_a_deletion_or_a_substitution_is_one_edit(source: str, start: int, length: int, new: str) -> None:
    end = min(start + length, len(source))
    assert edits(source, source[:start] + new + source[start:]) == {Edit(start, start, new): 1}
    assert edits(source, source[:start] + source[end:]) == {Edit(start, end, "-NONE-"): 1}
    other = ("天地人" * 2)[: end - start]
    assert edits(source, source[:start] + other + source[end:]) == {Edit(start, end, other): 1}


@given(DISTINCT, st.integers(0, 6))
def test_two_swapped_characters_are_one_edit(source: str, at: int) -> None:
    swapped = source[at + 1] + source[at]
    assert edits(source, source[:at] + swapped + source[at + 2 :]) == {Edit(at, at + 2, swapped): 1}


@given(TEXTS, TEXTS)
def test_every_list_of_edits_turns_the_source_into_the_target(source: str, target: str) -> None:
    counted: Counter[Edit] = Counter()
    operations = cherrant._operations(source, target, cherrant.NO_TABLES)
    for spans in {cherrant._edit_spans(spans, source, target) for spans in cherrant._alignments(operations)}:
        edited = source
        for span in reversed(spans):
            edited = edited[: span.start] + target[span.to_start : span.to_end] + edited[span.end :]
        assert edited == target
        counted.update(Edit(span.start, span.end, target[span.to_start : span.to_end] or "-NONE-") for span in spans)
    if abs(len(source) - len(target)) <= 10 and source != target:
        assert edits(source, target) == counted


@given(TEXTS, TEXTS, TEXTS)
def test_counts_add_up(source: str, prediction: str, reference: str) -> None:
    predicted, expected = edits(source, prediction), edits(source, reference)
    assert count_edits(source, reference, reference) == (expected.total(), 0, 0)
    assert count_edits(source, source, reference) == (0, 0, expected.total())
    assert count_edits(source, prediction, source) == (0, predicted.total(), 0)
    counts = count_edits(source, prediction, reference)
    assert counts.hits + counts.missed == expected.total()
    assert counts.surplus == sum(predicted[edit] for edit in predicted.keys() - expected.keys())


@given(st.lists(st.builds(Counts, *[st.integers(0, 9)] * 3), min_size=1))
def test_the_ratio_of_sums_is_the_f_0_5_of_the_corpus(sentences: list[Counts]) -> None:
    hits, surplus, missed = map(sum, zip(*sentences, strict=True))
    if hits:
        precision, recall = hits / (hits + surplus), hits / (hits + missed)
        assert ratio([counts.f_beta_pair() for counts in sentences]) == pytest.approx(
            1.25 * precision * recall / (0.25 * precision + recall)
        )


def test_a_sentence_that_cannot_be_corrected_counts_for_nothing() -> None:
    assert count_edits("错错错", "对对对", "无法标注") == (0, 0, 0)
    assert count_edits("错", "无法标注", "对") == (0, 1, 1)


def test_tables_of_characters_decide_which_substitutions_are_cheap() -> None:
    separate = {Edit(0, 1, "-NONE-"): 1, Edit(2, 2, "丙"): 1}  # costs 2; two substitutions of 17/12 cost more
    assert edits("甲乙", "乙丙") == separate
    joint = {Edit(0, 2, "乙丙"): 1}
    assert edits("甲乙", "乙丙", CharacterTables(is_similar=lambda character, other: True)) == joint  # two of 11/12
    near = {"甲": "Aa01A01", "乙": "Aa01B01", "丙": "Aa01C01"}
    assert edits("甲乙", "乙丙", CharacterTables(near.get)) == joint  # two of 3/4
    far = {"甲": "Aa01A01", "乙": "Bb02A01", "丙": "Cc03A01"}
    assert edits("甲乙", "乙丙", CharacterTables(far.get)) == separate  # two of 7/4
    assert edits("，甲", "甲。", CharacterTables(near.get)) == {Edit(0, 1, "-NONE-"): 1, Edit(2, 2, "。"): 1}


def test_of_too_many_alignments_only_the_first_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Edit(3, 6, "查明，")
    all_edits = edits("经审理，查明", "经审理查明，")
    assert all_edits == {moved: 1, Edit(3, 4, "-NONE-"): 1, Edit(6, 6, "，"): 1}
    monkeypatch.setattr(cherrant, "MOST_LISTS", 1)
    assert edits("经审理，查明", "经审理查明，") == {moved: 1}


@pytest.mark.parametrize("pair", [("啊", "呀"), ("甲乙", "乙甲"), ("甲", "甲乙"), ("甲，", "甲。")])
def test_long_sentences_take_bounded_time(pair: tuple[str, str]) -> None:
    started = time.process_time()
    edits(pair[0] * 60, pair[1] * 58)
    assert time.process_time() - started < 10
