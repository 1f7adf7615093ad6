"""Rows as tensors: labels, padding, positions of packed rows, and where a row is from."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.training.batches import IGNORED, Collator, Rows
from harness.training.dialogues import Writer
from harness.training.encoding import ExampleEncoder
from harness.training.examples import Completion, Located, Passage
from harness.training.mixture import Place
from harness.training.store import Store, write
from support import tiny

WORDS = tiny.tokenizer()
PAIRS = [("what is ", "42"), ("q: ", "the lazy dog."), ("春天", "的花开了")]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    folder = tmp_path_factory.mktemp("batches")
    corpora = [[Completion(*pair) for pair in PAIRS], [Passage("The quick brown fox")]]
    result = []
    for number, corpus in enumerate(corpora):
        file = Path(folder, f"{number}.arrow")
        located = [Located(str(i), example) for i, example in enumerate(corpus)]
        write(file, located, Writer(None, "answers", WORDS), ExampleEncoder(WORDS, ()), 99)
        result.append(Store(file))
    return result


def test_labels_are_the_learned_tokens(stores):
    rows = Rows(stores, [[Place(0, i)] for i in range(3)], is_packed=False)
    for number, (prompt, answer) in enumerate(PAIRS):
        row = rows[number]
        assert row["input_ids"].tolist() == [*WORDS(prompt + answer)["input_ids"], WORDS.eos_token_id]
        learned = row["labels"][row["labels"] != IGNORED]
        assert WORDS.decode(learned).lstrip() == answer + WORDS.eos_token
        assert (row["labels"] == row["input_ids"]).sum() == len(learned)
        assert "position_ids" not in row


def test_a_packed_row_has_positions_of_its_own_for_each_example(stores):
    rows = Rows(stores, [[Place(0, 1), Place(1, 0), Place(0, 0)]], is_packed=True)
    lengths = [int(stores[0].lengths[1]), int(stores[1].lengths[0]), int(stores[0].lengths[0])]
    [row] = [rows[0]]
    assert row["position_ids"].tolist() == [place for length in lengths for place in range(length)]
    assert rows.lengths.tolist() == [sum(lengths)]
    assert row["labels"][lengths[0]] == IGNORED  # the first token of a document, which nothing precedes
    assert row["labels"][lengths[0] + 1] == row["input_ids"][lengths[0] + 1]
    assert rows.sources(0) == [(0, 2), (1, 1), (0, 1)]
    assert (rows.examples(0), rows.examples(1)) == (2, 1)
    assert (rows.tokens(0), rows.tokens(1)) == (lengths[0] + lengths[2], lengths[1])


@pytest.mark.parametrize("pad", [0, WORDS.eos_token_id])
def test_padding_is_not_learned_and_the_stop_token_is(stores, pad):
    rows = Rows(stores, [[Place(0, i)] for i in range(3)], is_packed=False)
    batch = Collator(pad)([rows[i] for i in range(3)])
    width = int(rows.lengths.max())
    assert batch["input_ids"].shape == batch["labels"].shape == (3, width)
    assert "attention_mask" not in batch
    for number, length in enumerate(rows.lengths.tolist()):
        assert batch["input_ids"][number, :length].tolist() == rows[number]["input_ids"].tolist()
        assert batch["labels"][number, length - 1] == WORDS.eos_token_id
        assert (batch["input_ids"][number, length:] == pad).all()
        assert (batch["labels"][number, length:] == IGNORED).all()
    assert batch["input_ids"].dtype == torch.int64


def test_padding_of_packed_rows_belongs_to_no_example(stores):
    rows = Rows(stores, [[Place(0, 0), Place(0, 1)], [Place(0, 2)]], is_packed=True)
    batch = Collator(0)([rows[0], rows[1]])
    length = int(rows.lengths[1])
    assert (batch["position_ids"][1, length:] == 0).all()
    assert (batch["labels"][1, length:] == IGNORED).all()


def test_rows_take_few_bytes_each(stores):
    count = 20_000
    tracemalloc.start()
    rows = Rows(stores, ([Place(i % 2, 0)] for i in range(count)), is_packed=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == count
    assert peak < 60 * count  # places and not tokens: 18 bytes, and twice that while arrays grow
    assert sys.getsizeof(rows[0]["input_ids"]) < 1000
    assert np.array_equal(rows[0]["input_ids"], rows[2]["input_ids"])
