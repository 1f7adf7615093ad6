"""Entities of BIO tags, by cases and as runs of tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.extraction import bio_tags

TYPE_NAMES = {"PER": "人", "LOC": "地"}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O O O", []),
        ("B-PER I-PER O B-LOC", [("甲乙", "人"), ("丁", "地")]),
        ("B-PER B-PER I-PER I-PER", [("甲", "人"), ("乙丙丁", "人")]),
        ("I-PER I-PER O I-LOC", [("甲乙", "人"), ("丁", "地")]),
        ("B-PER I-LOC I-LOC O", [("甲", "人"), ("乙丙", "地")]),
        ("B-PER O I-PER O", [("甲", "人"), ("丙", "人")]),
    ],
)
def test_tagged_entities(tags, expected):
    assert bio_tags.entities(list("甲乙丙丁"), tags.split(), TYPE_NAMES) == expected


def test_words_are_joined_by_the_separator():
    entities = bio_tags.entities(["Ada", "Finch"], ["B-PER", "I-PER"], TYPE_NAMES, separator=" ")
    assert entities == [("Ada Finch", "人")]


@given(st.lists(st.sampled_from(["O", *(f"{mark}-{kind}" for mark in "BI" for kind in TYPE_NAMES)]), max_size=12))
def test_entities_are_runs_of_tags(tags):
    words = [str(index) for index in range(len(tags))]
    runs: list[list[int]] = []
    for index, tag in enumerate(tags):
        continues = index > 0 and tag[:1] == "I" and tags[index - 1][2:] == tag[2:]
        if tag != "O":
            runs[-1].append(index) if continues else runs.append([index])
    expected = [("".join(words[index] for index in run), TYPE_NAMES[tags[run[0]][2:]]) for run in runs]
    assert bio_tags.entities(words, tags, TYPE_NAMES) == expected
