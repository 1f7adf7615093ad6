"""Beginnings that many prompts share, kept between calls that each ask some of those prompts only.

One call reads a shared beginning once (`harness.engine.packing.tree`); documents asked in blocks would have it read
in every block. Here a caller says beforehand what will be asked. Beginnings that many documents share become packs of
their own, whose bounds no block's other documents move, and their keys and values are kept on the host: read again or
taken from there, they are the same numbers, and so is every answer that stands on them.

Not here: the packs of what follows a beginning, or models whose state cannot be cropped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.checkpoints.root_cache import RootCache
from harness.engine.packing import tree
from harness.engine.packing.last_layer import End
from harness.engine.packing.packs import Context, Layout
from harness.engine.packing.tree import Ints, Limits, Pack

FEWEST = 8
"""Documents that share a beginning at least; fewer are hardly asked in several blocks."""
SHORTEST = 64
"""Tokens of a beginning at least, after the one that it stands on: fewer cost less to read than to move."""
TOKEN = 4
"""Bytes of a token in `tree.sort_key`."""

Key = tuple[int, bytes]
"""Where a piece of a beginning starts, and the tokens up to its end."""
Values = list[tuple[int, torch.Tensor, torch.Tensor]]
"""Keys and values of a piece, by layer."""


class Plan(NamedTuple):
    """Packs in the order they are to be computed, and which of them are pieces of known beginnings."""

    packs: list[Pack]
    pieces: dict[int, Key]
    """By the pack's `id`."""


class Trunks:
    """The beginnings that are known, and keys and values of those used last."""

    def __init__(self, room: int) -> None:
        """Keep no more than `room` bytes."""
        self._room, self._taken = room, 0
        self._known: set[bytes] = set()
        self._depths: list[int] = []
        self._held: OrderedDict[Key, Values] = OrderedDict()
        self._spared = 0

    def learn(self, sequences: Sequence[Sequence[int]]) -> None:
        """Note what `sequences`, one a document, begin with in common."""
        if not sequences:
            return
        root = tree.grow(sequences, [1] * len(sequences)).root
        counts: dict[int, int] = {}
        for node in reversed(list(tree.preorder(root))):
            counts[id(node)] = len(node.reads) + sum(counts[id(child)] for child in node.children)
        agenda = [(root, 0)]
        while agenda:
            node, above = agenda.pop()
            is_shared = len(node.children) > 1 or (bool(node.children) and bool(node.reads))
            if is_shared and node.end - above >= SHORTEST:
                self._known.add(node.source[: node.end].tobytes())
                above = node.end
            agenda += [(child, above) for child in node.children if counts[id(child)] >= FEWEST]
        self._depths = sorted({len(key) // TOKEN for key in self._known})

    def plan(self, sequences: Sequence[Sequence[int]], wanted: Sequence[int], limits: Limits) -> Plan:
        """Return packs for `sequences`, of which request i reads the last `wanted[i]` tokens, as `tree.plan` would.

        Known beginnings stand by themselves, as far as nothing is read from them.
        """
        readers: dict[bytes, list[int]] = {b"": []}
        above: dict[bytes, bytes] = {}
        for request, sequence in enumerate(sequences):
            home = b""
            for beginning in self._beginnings(tree.sort_key(sequence), len(sequence) - wanted[request]):
                above[beginning], home = home, beginning
            readers.setdefault(home, []).append(request)
        made, pieces, ends = list[Pack](), dict[int, Key](), {b"": -1}
        for home in sorted({*readers, *above}):  # what stands on a beginning comes right behind it
            if home:
                ends[home] = self._append(home, len(above[home]) // TOKEN, ends[above[home]], limits, made, pieces)
            if requests := readers.get(home):
                made += _behind(home, ends[home], requests, sequences, wanted, limits, len(made))
        return Plan(made, pieces)

    def _beginnings(self, key: bytes, most: int) -> list[bytes]:
        """Return the known beginnings of `key` that have no more than `most` tokens, the shortest first."""
        cuts = (key[: depth * TOKEN] for depth in self._depths if depth <= most)
        return [cut for cut in cuts if cut in self._known]

    def _append(
        self, home: bytes, start: int, parent: int, limits: Limits, made: list[Pack], pieces: dict[int, Key]
    ) -> int:
        """Append the packs of beginning `home` from depth `start` on; return the number of the last."""
        tokens = np.frombuffer(home, ">u4").astype(np.int64)
        nothing = np.empty(0, np.int64)
        while start < len(tokens):
            end = min(start + limits.tokens, len(tokens))
            size = end - start
            depths, ends = np.arange(start, end), np.full(size, size, np.int64)
            made.append(Pack(parent, start, size, tokens[start:end], depths, ends, nothing, nothing, nothing))
            pieces[id(made[-1])] = (start, home[: end * TOKEN])
            parent, start = len(made) - 1, end
        return parent

    def get(self, key: Key) -> Values | None:
        """Return what is held of a piece."""
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def put(self, key: Key, values: Values) -> None:
        """Hold `values`, and drop what was not used for longest where that is too much."""
        self._taken += _bytes(values)
        self._held[key] = values
        while self._taken > self._room:
            self._taken -= _bytes(self._held.popitem(last=False)[1])

    def spare(self, tokens: int) -> None:
        """Note that so many tokens need not be read."""
        self._spared += tokens

    def spared(self) -> int:
        """Return how many tokens were not read since this was asked last."""
        spared, self._spared = self._spared, 0
        return spared


class KeepingContext(Context):
    """A context that takes the pieces of beginnings from `trunks`, and leaves there those it had to read."""

    def __init__(
        self, model: Any, root: RootCache, shape: Layout, plan: Plan, trunks: Trunks, end: End | None = None
    ) -> None:
        super().__init__(model, root, shape, max((p.trunk + len(p.tokens) for p in plan.packs), default=0), end)
        self._pieces: Mapping[int, Key] = plan.pieces
        self._trunks = trunks

    def feed(self, pack: Pack, rows: Ints) -> torch.Tensor:
        """Append all of `pack` to the cache, which holds its trunk, and return float32 logits (len(rows), V)."""
        key = self._pieces.get(id(pack))
        if key is None:
            return super().feed(pack, rows)
        held = self._trunks.get(key)
        if held is None:
            logits = super().feed(pack, rows)
            self._trunks.put(key, self._last(len(pack.tokens)))
            return logits
        with torch.inference_mode():  # what was fed before is held by tensors that take nothing from outside of it
            for index, keys, values in held:
                self.cache.update(keys.to(self.device), values.to(self.device), index)
        self._trunks.spare(len(pack.tokens))
        return torch.empty(0, 0, device=self.device)

    def _last(self, tokens: int) -> Values:
        """Return copies of the last `tokens` that the cache holds."""
        made = []
        for index, layer in enumerate(self.cache.layers):
            if layer.is_initialized:  # some models share one layer's keys among several
                last = slice(layer.length - tokens, layer.length)
                keys, values = (one[:, :, last].to("cpu", copy=True) for one in (layer.keys, layer.values))
                made.append((index, keys, values))
        return made


def _bytes(values: Values) -> int:
    return sum(keys.nbytes + others.nbytes for _, keys, others in values)


def _behind(
    home: bytes,
    parent: int,
    requests: Sequence[int],
    sequences: Sequence[Sequence[int]],
    wanted: Sequence[int],
    limits: Limits,
    before: int,
) -> list[Pack]:
    """Return the packs of what `requests` feed behind the beginning `home`, which pack `parent` ends.

    `before` packs come before them.
    """
    depth, which = len(home) // TOKEN, np.array(requests, np.int64)
    grown = tree.grow([sequences[i][depth:] for i in requests], [wanted[i] for i in requests])
    return [
        pack._replace(
            parent=parent if pack.parent < 0 else pack.parent + before,
            trunk=pack.trunk + depth,
            depths=pack.depths + depth,
            requests=which[pack.requests],
        )
        for pack in tree.plan(grown, limits)
    ]
