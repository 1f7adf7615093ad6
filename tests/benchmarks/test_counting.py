"""The benchmark's own arithmetic: a trie's size, lm-eval's batches, and the documents that it answers."""

from __future__ import annotations

import random

import versus
from sides import Row, trie_size
from versus import Cells
from workloads import Asked


def test_a_tries_size_is_the_number_of_different_prefixes() -> None:
    chance = random.Random(0)
    for _ in range(200):
        words = [tuple(chance.choices(range(3), k=chance.randint(0, 6))) for _ in range(chance.randint(0, 12))]
        assert trie_size(words) == len({word[:end] for word in words for end in range(1, len(word) + 1)})


def test_rows_that_feed_the_same_share_a_cell_and_batches_are_as_wide_as_their_longest() -> None:
    asked = [Asked("loglikelihood", "t", i // 2, ["", ""]) for i in range(6)]
    rows = [Row(0, 0, 5), Row(1, 0, 5), Row(2, 1, 9), Row(3, 1, 9), Row(4, 2, 7), Row(5, 3, 8)]
    everything = list(range(6))
    assert versus.cells(asked, rows, everything, 1) == Cells(5 + 9 + 7 + 8, 0)
    assert versus.cells(asked, rows, everything, 2) == Cells(2 * 9 + 2 * 7, 0)
    assert versus.cells(asked, rows, [0, 1], 2) == Cells(5, 0)


def test_a_batch_of_generations_ends_with_its_longest_answer() -> None:
    asked = [Asked("generate_until", "t", i, [str(i), {}], answer) for i, answer in enumerate((3, 10, 4))]
    rows = [Row(0, 0, 5), Row(1, 1, 6), Row(2, 2, 7)]
    assert versus.cells(asked, rows, [0, 1, 2], 2) == Cells(2 * 7 + 5, 2 * 9 + 2)


def test_windows_of_whole_texts_keep_their_order() -> None:
    asked = [Asked("loglikelihood_rolling", "t", i, [""]) for i in range(2)]
    rows = [Row(0, 0, 4), Row(0, 1, 9), Row(1, 2, 3)]
    assert versus.cells(asked, rows, [0, 1], 2) == Cells(2 * 9 + 3, 0)


def test_a_sample_takes_all_requests_of_documents_spread_over_all_tasks() -> None:
    asked = [Asked("loglikelihood", task, i, [letter]) for task in "abc" for i in range(9) for letter in "xy"]
    found = [asked[i] for i in versus.sample(asked, 6, seed=1)]
    assert len(found) == 12
    assert [sum(one.task == task for one in found) for task in "abc"] == [4, 4, 4]
    assert versus.sample(asked, None, seed=1) == list(range(len(asked)))
