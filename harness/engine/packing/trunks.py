"""Beginnings that many prompts share, kept between calls that each contain only some of those prompts.

One call reads a shared beginning once (`harness.engine.packing.tree`), but if documents are evaluated in blocks, every
block would read it again. Here the caller states in advance which prompts will come. Beginnings that many documents
share become packs of their own, whose bounds do not depend on the other documents of a block. The keys and values of
these packs are kept in host memory. Whether recomputed or copied, the values are identical, and so are later answers.

Not here: the packs of what follows a beginning, or models whose state cannot be cropped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from harness.checkpoints.root_cache import RootCache
from harness.checkpoints.types import Model
from harness.engine.packing import tree
from harness.engine.packing.last_layer import SkippablePart
from harness.engine.packing.packs import Context, Layout
from harness.engine.packing.tree import Ints, Limits, Pack

MIN_DOCUMENTS = 8
"""A beginning is kept if this many documents share it. Others are rarely needed again by a later call."""
MIN_TOKENS = 64
"""Smallest number of tokens by which a beginning extends a shorter one; fewer cost less to read than to copy."""
TOKEN_BYTES = 4
"""Bytes of a token in `tree.sort_key`."""

PieceKey = tuple[int, bytes]
"""Depth at which a piece of a beginning starts, and the sort key of all tokens up to the piece's end."""
PieceStates = list[tuple[int, torch.Tensor, torch.Tensor]]
"""Keys and values of a piece, for each layer: (index of the layer, keys, values)."""


class Plan(NamedTuple):
    """Packs, each the tokens of one forward pass, in the order in which they are computed."""

    packs: list[Pack]
    pieces: dict[int, PieceKey]
    """For packs that are pieces of known beginnings: the `id` of the pack → the key of the piece."""


class Trunks:
    """The known beginnings of prompts, and the keys and values of the beginnings that were used most recently."""

    def __init__(self, capacity: int) -> None:
        """Keep at most `capacity` bytes of keys and values."""
        self._capacity, self._used_bytes = capacity, 0
        self._known: set[bytes] = set()
        self._depths: list[int] = []
        self._pieces: OrderedDict[PieceKey, PieceStates] = OrderedDict()
        self._skipped = 0

    def learn(self, sequences: Sequence[Sequence[int]]) -> None:
        """Make known the beginnings that many of `sequences` share; each document has one sequence."""
        if not sequences:
            return
        root = tree.grow(sequences, [1] * len(sequences)).root
        counts: dict[int, int] = {}
        for node in reversed(list(tree.preorder(root))):
            counts[id(node)] = len(node.reads) + sum(counts[id(child)] for child in node.children)
        stack = [(root, 0)]
        while stack:
            node, above = stack.pop()
            is_shared = len(node.children) > 1 or (bool(node.children) and bool(node.reads))
            if is_shared and node.end - above >= MIN_TOKENS:
                self._known.add(node.source[: node.end].tobytes())
                above = node.end
            stack += [(child, above) for child in node.children if counts[id(child)] >= MIN_DOCUMENTS]
        self._depths = sorted({len(key) // TOKEN_BYTES for key in self._known})

    def plan(self, sequences: Sequence[Sequence[int]], read_counts: Sequence[int], limits: Limits) -> Plan:
        """Return packs for `sequences` as `tree.plan` does; request i reads logits of its last `read_counts[i]` tokens.

        Known beginnings of a request are packs of their own, unless the request reads logits of their tokens.
        """
        readers: dict[bytes, list[int]] = {b"": []}
        above: dict[bytes, bytes] = {}
        for request, sequence in enumerate(sequences):
            last = b""
            for beginning in self._beginnings(tree.sort_key(sequence), len(sequence) - read_counts[request]):
                above[beginning], last = last, beginning
            readers.setdefault(last, []).append(request)
        packs, pieces, ends = list[Pack](), dict[int, PieceKey](), {b"": -1}
        for beginning in sorted({*readers, *above}):  # what continues a beginning comes right after it
            if beginning:
                parent = above[beginning]
                ends[beginning] = self._append(
                    beginning, len(parent) // TOKEN_BYTES, ends[parent], limits, packs, pieces
                )
            if requests := readers.get(beginning):
                packs += _packs_after(beginning, ends[beginning], requests, sequences, read_counts, limits, len(packs))
        return Plan(packs, pieces)

    def _beginnings(self, key: bytes, max_tokens: int) -> list[bytes]:
        """Return the known beginnings, at most `max_tokens` long, of the sequence with sort `key`, shortest first."""
        prefixes = (key[: depth * TOKEN_BYTES] for depth in self._depths if depth <= max_tokens)
        return [prefix for prefix in prefixes if prefix in self._known]

    def _append(
        self,
        beginning: bytes,
        start: int,
        parent: int,
        limits: Limits,
        packs: list[Pack],
        pieces: dict[int, PieceKey],
    ) -> int:
        """Append the packs of `beginning` from depth `start` on; return the index of the last one."""
        tokens = np.frombuffer(beginning, ">u4").astype(np.int64)
        nothing = np.empty(0, np.int64)
        while start < len(tokens):
            end = min(start + limits.tokens, len(tokens))
            size = end - start
            depths, ends = np.arange(start, end), np.full(size, size, np.int64)
            packs.append(Pack(parent, start, size, tokens[start:end], depths, ends, nothing, nothing, nothing))
            pieces[id(packs[-1])] = (start, beginning[: end * TOKEN_BYTES])
            parent, start = len(packs) - 1, end
        return parent

    def get(self, key: PieceKey) -> PieceStates | None:
        """Return the keys and values of the piece `key`, or None if they are not kept."""
        if key in self._pieces:
            self._pieces.move_to_end(key)
        return self._pieces.get(key)

    def put(self, key: PieceKey, states: PieceStates) -> None:
        """Keep the `states` of a piece; drop the least recently used pieces if the capacity is exceeded."""
        self._used_bytes += _size_in_bytes(states)
        self._pieces[key] = states
        while self._used_bytes > self._capacity:
            self._used_bytes -= _size_in_bytes(self._pieces.popitem(last=False)[1])

    def add_skipped(self, tokens: int) -> None:
        """Count `tokens` tokens that need not be read."""
        self._skipped += tokens

    def take_skipped(self) -> int:
        """Return how many tokens were skipped since the last call, and reset the count."""
        skipped, self._skipped = self._skipped, 0
        return skipped


class KeepingContext(Context):
    """A context that copies pieces of known beginnings from `trunks`, and stores the pieces that it has to read."""

    def __init__(
        self,
        model: Model,
        root: RootCache,
        layout: Layout,
        plan: Plan,
        trunks: Trunks,
        skippable: SkippablePart | None = None,
    ) -> None:
        capacity = max((pack.trunk + len(pack.tokens) for pack in plan.packs), default=0)
        super().__init__(model, root, layout, capacity, skippable)
        self._pieces: Mapping[int, PieceKey] = plan.pieces
        self._trunks = trunks

    def feed(self, pack: Pack, rows: Ints) -> torch.Tensor:
        """Append all of `pack` to the cache, which holds the tokens before it; return float32 logits (len(rows), V)."""
        key = self._pieces.get(id(pack))
        if key is None:
            return super().feed(pack, rows)
        states = self._trunks.get(key)
        if states is None:
            logits = super().feed(pack, rows)
            self._trunks.put(key, self._last_states(len(pack.tokens)))
            return logits
        with torch.inference_mode():  # the cache holds inference tensors, which cannot be changed outside this mode
            for index, keys, values in states:
                self.cache.update(keys.to(self.device), values.to(self.device), index)
        self._trunks.add_skipped(len(pack.tokens))
        return torch.empty(0, 0, device=self.device)

    def _last_states(self, tokens: int) -> PieceStates:
        """Return copies of the keys and values of the last `tokens` tokens in the cache."""
        copies = []
        for index, layer in enumerate(self.cache.layers):
            if layer.is_initialized:  # some models share one layer's keys among several
                last = slice(layer.length - tokens, layer.length)
                keys, values = (states[:, :, last].to("cpu", copy=True) for states in (layer.keys, layer.values))
                copies.append((index, keys, values))
        return copies


def _size_in_bytes(states: PieceStates) -> int:
    return sum(keys.nbytes + values.nbytes for _, keys, values in states)


def _packs_after(
    beginning: bytes,
    parent: int,
    requests: Sequence[int],
    sequences: Sequence[Sequence[int]],
    read_counts: Sequence[int],
    limits: Limits,
    index: int,
) -> list[Pack]:
    """Return the packs of the tokens that `requests` feed after `beginning`, numbered from `index`.

    The pack with the index `parent` holds the last tokens of `beginning`.
    """
    depth, request_index = len(beginning) // TOKEN_BYTES, np.array(requests, np.int64)
    subtree = tree.grow([sequences[i][depth:] for i in requests], [read_counts[i] for i in requests])
    return [
        pack._replace(
            parent=parent if pack.parent < 0 else pack.parent + index,
            trunk=pack.trunk + depth,
            depths=pack.depths + depth,
            requests=request_index[pack.requests],
        )
        for pack in tree.plan(subtree, limits)
    ]
