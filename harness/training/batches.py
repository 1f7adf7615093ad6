"""The rows of a training as tensors: examples in their order, packed or one by one, padded on the right.

Padding follows every learned token, so that a model that reads from left to right needs no attention mask for it.

Not here: the order (`harness.training.mixture`) and the training loop (`harness.training.loop`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from harness.training.mixture import Place
from harness.training.store import Lengths, Store

IGNORED = -100
"""The label of tokens that are not learned."""

Row = dict[str, Any]
"""`input_ids`, `labels` and, if examples are packed, `position_ids`, each a NumPy array of the row's tokens."""


class Rows(Dataset[Row]):
    """The rows of a training. Only places are in memory; tokens are read from the corpora's stores."""

    def __init__(self, stores: Sequence[Store], rows: Iterable[Sequence[Place]], *, is_packed: bool) -> None:
        self._stores, self._is_packed = list(stores), is_packed
        corpora, places, starts = array("H"), array("q"), array("q", [0])
        for row in rows:
            for place in row:
                corpora.append(place.corpus)
                places.append(place.row)
            starts.append(len(places))
        self._corpora = np.array(corpora, np.uint16)
        self._places = np.array(places, np.int64)
        self._starts = np.array(starts, np.int64)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def sources(self, number: int) -> list[tuple[int, int]]:
        """Return, for each example of a row, the number of its corpus and that of the corpus's row, from 1."""
        part = slice(int(self._starts[number]), int(self._starts[number + 1]))
        pairs = zip(self._corpora[part], self._places[part], strict=True)
        return [(int(corpus), self._stores[int(corpus)].row(int(place))) for corpus, place in pairs]

    def examples(self, corpus: int) -> int:
        """Return how many examples of the corpus with the number `corpus` are in all rows; repetitions count."""
        return int((self._corpora == corpus).sum())

    def tokens(self, corpus: int) -> int:
        """Return the tokens of the examples of a corpus in all rows; repetitions count."""
        return int(self._stores[corpus].lengths[self._places[self._corpora == corpus]].sum())

    def learned(self, corpus: int) -> int:
        """Return the learned tokens of the examples of a corpus in all rows; repetitions count."""
        return int(self._stores[corpus].learned[self._places[self._corpora == corpus]].sum())

    @property
    def lengths(self) -> Lengths:
        """Tokens of each row."""
        lengths = np.zeros(len(self._places), np.int64)
        for number, store in enumerate(self._stores):
            mask = self._corpora == number
            lengths[mask] = store.lengths[self._places[mask]]
        totals = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        result: Lengths = np.diff(totals[self._starts])
        return result

    def __getitem__(self, number: int) -> Row:
        ids, labels, positions = [], [], []
        for i in range(int(self._starts[number]), int(self._starts[number + 1])):
            own, spans = self._stores[int(self._corpora[i])][int(self._places[i])]
            tokens = own.astype(np.int64)
            learned = np.full(len(tokens), IGNORED, np.int64)
            for start, end in spans.reshape(-1, 2):
                learned[start:end] = tokens[start:end]
            learned[:1] = IGNORED  # nothing precedes it, or, in a packed row, another example
            ids.append(tokens)
            labels.append(learned)
            positions.append(np.arange(len(tokens)))
        row = {"input_ids": np.concatenate(ids), "labels": np.concatenate(labels)}
        return {**row, "position_ids": np.concatenate(positions)} if self._is_packed else row


class Filled(Dataset[Row]):
    """Rows, followed by rows of which nothing is learned, so that every one of several processes has full batches.

    accelerate would fill the last batches up with the first rows, which would then be learned once more.
    """

    def __init__(self, rows: Rows, batch: int, processes: int) -> None:
        self._rows = rows
        together = batch * processes
        self._length = -(-len(rows) // together) * together if processes > 1 else len(rows)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> Row:
        if number < len(self._rows):
            return self._rows[number]
        first = self._rows[0]
        return {key: np.full(2, IGNORED) if key == "labels" else values[:2] for key, values in first.items()}


class Collator:
    """Pads the rows of a batch to the longest of them."""

    def __init__(self, pad: int) -> None:
        self._fillers = {"input_ids": pad, "labels": IGNORED, "position_ids": 0}

    def __call__(self, batch: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Return the batch as tensors (B, T)."""
        width = max(len(row["input_ids"]) for row in batch)
        result = {}
        for key in batch[0]:
            filled = np.full((len(batch), width), self._fillers[key], np.int64)
            for number, row in enumerate(batch):
                filled[number, : len(row[key])] = row[key]
            result[key] = torch.from_numpy(filled)
        return result
