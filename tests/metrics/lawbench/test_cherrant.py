"""ChERRANT's edits: those of upstream's own code for sentences made by hand, and what holds of any two texts."""

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

# What upstream's alignment.py and merger.py give for these sentences with empty tables and no two readings alike.
GOLDEN = [json.loads(line) for line in (Path(__file__).parent / "cherrant.jsonl").read_text("utf-8").splitlines()]
TEXTS = st.text("甲乙丙，AB。", max_size=8)
DISTINCT = st.permutations("甲乙丙丁戊己庚辛").map("".join)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['source']}→{case['target']}")
def test_edits_are_upstreams(case: dict[str, object]) -> None:
    found = edits(str(case["source"]), str(case["target"]))
    assert sorted([*edit, count] for edit, count in found.items()) == case["edits"]


@given(DISTINCT, st.integers(0, 7), st.integers(1, 3), st.text("天地人", min_size=1, max_size=3))
def test_what_was_inserted_deleted_or_substituted_is_the_one_edit(source: str, at: int, many: int, new: str) -> None:
    end = min(at + many, len(source))
    assert edits(source, source[:at] + new + source[at:]) == {Edit(at, at, new): 1}
    assert edits(source, source[:at] + source[end:]) == {Edit(at, end, "-NONE-"): 1}
    other = ("天地人" * 2)[: end - at]
    assert edits(source, source[:at] + other + source[end:]) == {Edit(at, end, other): 1}


@given(DISTINCT, st.integers(0, 6))
def test_two_characters_in_the_other_order_are_one_edit(source: str, at: int) -> None:
    swapped = source[at + 1] + source[at]
    assert edits(source, source[:at] + swapped + source[at + 2 :]) == {Edit(at, at + 2, swapped): 1}


@given(TEXTS, TEXTS)
def test_every_list_of_edits_makes_the_target_of_the_source(source: str, target: str) -> None:
    found: Counter[Edit] = Counter()
    operations = cherrant._operations(source, target, cherrant.NO_TABLES)
    for listed in {cherrant._edit_spans(spans, source, target) for spans in cherrant._alignments(operations)}:
        made = source
        for one in reversed(listed):
            made = made[: one.start] + target[one.to_start : one.to_end] + made[one.end :]
        assert made == target
        found.update(Edit(one.start, one.end, target[one.to_start : one.to_end] or "-NONE-") for one in listed)
    if abs(len(source) - len(target)) <= 10 and source != target:
        assert edits(source, target) == found


@given(TEXTS, TEXTS, TEXTS)
def test_counts_add_up(source: str, prediction: str, reference: str) -> None:
    made, wanted = edits(source, prediction), edits(source, reference)
    assert count_edits(source, reference, reference) == (wanted.total(), 0, 0)
    assert count_edits(source, source, reference) == (0, 0, wanted.total())
    assert count_edits(source, prediction, source) == (0, made.total(), 0)
    found = count_edits(source, prediction, reference)
    assert found.hits + found.missed == wanted.total()
    assert found.surplus == sum(made[edit] for edit in made.keys() - wanted.keys())


@given(st.lists(st.builds(Counts, *[st.integers(0, 9)] * 3), min_size=1))
def test_the_ratio_of_sums_is_f_half_of_the_corpus(found: list[Counts]) -> None:
    hits, surplus, missed = map(sum, zip(*found, strict=True))
    if hits:
        precision, recall = hits / (hits + surplus), hits / (hits + missed)
        assert ratio([one.f_beta_pair() for one in found]) == pytest.approx(
            1.25 * precision * recall / (0.25 * precision + recall)
        )


def test_a_sentence_that_cannot_be_corrected_counts_for_nothing() -> None:
    assert count_edits("错错错", "对对对", "无法标注") == (0, 0, 0)
    assert count_edits("错", "无法标注", "对") == (0, 1, 1)


def test_what_is_known_of_characters_decides_what_stands_for_what() -> None:
    apart = {Edit(0, 1, "-NONE-"): 1, Edit(2, 2, "丙"): 1}  # 2, and two substitutions of 17/12 are more
    assert edits("甲乙", "乙丙") == apart
    one = {Edit(0, 2, "乙丙"): 1}
    assert edits("甲乙", "乙丙", CharacterTables(is_similar=lambda one, other: True)) == one  # two of 11/12
    near = {"甲": "Aa01A01", "乙": "Aa01B01", "丙": "Aa01C01"}
    assert edits("甲乙", "乙丙", CharacterTables(near.get)) == one  # two of 3/4
    far = {"甲": "Aa01A01", "乙": "Bb02A01", "丙": "Cc03A01"}
    assert edits("甲乙", "乙丙", CharacterTables(far.get)) == apart  # two of 7/4
    assert edits("，甲", "甲。", CharacterTables(near.get)) == {Edit(0, 1, "-NONE-"): 1, Edit(2, 2, "。"): 1}


def test_of_more_lists_than_are_told_apart_the_first_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Edit(3, 6, "查明，")
    every = edits("经审理，查明", "经审理查明，")
    assert every == {moved: 1, Edit(3, 4, "-NONE-"): 1, Edit(6, 6, "，"): 1}
    monkeypatch.setattr(cherrant, "MOST_LISTS", 1)
    assert edits("经审理，查明", "经审理查明，") == {moved: 1}


@pytest.mark.parametrize("pair", [("啊", "呀"), ("甲乙", "乙甲"), ("甲", "甲乙"), ("甲，", "甲。")])
def test_long_sentences_end(pair: tuple[str, str]) -> None:
    started = time.process_time()
    edits(pair[0] * 60, pair[1] * 58)
    assert time.process_time() - started < 10
