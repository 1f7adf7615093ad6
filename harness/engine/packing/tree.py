"""Token sequences → their prefix tree → packs: what has to go through a model, each token once.

Sequences are sorted and made a radix tree over token ids (a prefix of a text is not always a prefix of its tokens).
`plan` then cuts the tree, depth first, into packs of bounded size for one cache that grows and shrinks: what is too big
for one pack is appended to the cache, and all below it that fits is packed side by side, each token seeing its own
ancestors only. For models that cannot have siblings in one pass, each edge is a pack of its own.

Not here: models, tensors, the vocabulary. Pure Python and numpy.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(eq=False, slots=True)
class Node:
    """An edge of the tree: the tokens at depths `start` to `end` that all sequences below it share."""

    source: Any
    """Ids of one of those sequences."""
    start: int
    end: int
    children: list[Node] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    """(request, depth from which on it reads): every token of this edge from there to its end."""
    tokens: int = 0
    """Tokens of this edge and all below it."""
    rows: int = 0
    """Those of them that some request reads."""

    @property
    def first_read(self) -> int:
        """Depth of the first token of this edge that is read; its end where none is."""
        return min((depth for _, depth in self.reads), default=self.end)


class Tree(NamedTuple):
    """The prefix tree of a list of sequences."""

    root: Node
    lengths: list[int]
    """Tokens of each sequence."""
    wanted: list[int]
    """How many of its last tokens each sequence reads."""

    @property
    def tokens(self) -> int:
        """Unique tokens: what a model must be fed at least."""
        return self.root.tokens


class Pack(NamedTuple):
    """Tokens for one forward pass: first those that stay in the cache, one after another, then whole subtrees.

    Token j sees what the cache holds, and the tokens i of the pack with i ≤ j < ends[i].
    """

    parent: int
    """The pack whose kept tokens end the trunk; -1 where the trunk is empty."""
    trunk: int
    """Tokens that the cache is to hold before."""
    keep: int
    """How many of the first tokens stay in the cache."""
    tokens: Ints
    depths: Ints
    ends: Ints
    rows: Ints
    """The place in this pack of each token that is read, once for every reader."""
    requests: Ints
    """Who reads it."""
    nth: Ints
    """Which of that request's wanted tokens it is, from 0."""


class Limits(NamedTuple):
    """How much may go into one pack."""

    tokens: int
    rows: int
    """Tokens that are read."""


def grow(sequences: Sequence[Sequence[int]], wanted: Sequence[int]) -> Tree:
    """Return the prefix tree of `sequences` of token ids, none empty; request i reads the last `wanted[i]` of its own.

    Linear in the number of tokens but for sorting.
    """
    keys = [sort_key(sequence) for sequence in sequences]
    readers: dict[bytes, list[int]] = {}
    for request, key in enumerate(keys):
        readers.setdefault(key, []).append(request)
    lengths = [len(sequence) for sequence in sequences]
    root = Node(np.empty(0, np.int64), 0, 0)
    path, before = [root], np.empty(0, np.uint32)
    for key in sorted(readers):
        ids = np.frombuffer(key, ">u4")
        leaf = _insert(path, ids, common(before, ids))
        before = ids
        for request in readers[key]:
            _read(path, leaf, request, lengths[request] - wanted[request])
    _measure(root)
    return Tree(root, lengths, list(wanted))


def sort_key(sequence: Sequence[int]) -> bytes:
    """Return bytes that sort as `sequence` does."""
    ids = array.array("I", sequence)
    if sys.byteorder == "little":
        ids.byteswap()
    return ids.tobytes()


def common(one: Any, other: Any) -> int:
    """Return the length of the longest common prefix."""
    shorter = min(len(one), len(other))
    differ = one[:shorter] != other[:shorter]
    first = int(differ.argmax()) if shorter else 0
    return first if shorter and differ[first] else shorter


def _insert(path: list[Node], ids: Any, common: int) -> Node:
    """Append the leaf of `ids`, which share `common` tokens with the leaf before, and make `path` lead to it."""
    last = None
    while path[-1].end > common:
        last = path.pop()
    if path[-1].end < common and last is not None:  # the sequences part within an edge
        upper = Node(last.source, last.start, common, [last])
        # Whoever reads the lower part reads as much of the upper as lies behind the first token wanted.
        upper.reads = [(request, depth) for request, depth in last.reads if depth < common]
        last.reads = [(request, max(depth, common)) for request, depth in last.reads]
        last.start = common
        path[-1].children[-1] = upper
        path.append(upper)
    leaf = Node(ids, common, len(ids))
    path[-1].children.append(leaf)
    path.append(leaf)
    return leaf


def _read(path: list[Node], leaf: Node, request: int, first: int) -> None:
    """Note on the edges of `path` that `request`, which ends with `leaf`, reads all tokens from depth `first` on."""
    for node in reversed(path):
        if node.end <= first:
            break
        node.reads.append((request, max(first, node.start)))


def _measure(root: Node) -> None:
    for node in reversed(list(preorder(root))):
        node.tokens = node.end - node.start + sum(child.tokens for child in node.children)
        node.rows = node.end - node.first_read + sum(child.rows for child in node.children)


def preorder(root: Node) -> Iterator[Node]:
    """Yield `root` and all below it, parents first and children in order."""
    agenda = [root]
    while agenda:
        node = agenda.pop()
        yield node
        agenda.extend(reversed(node.children))


def plan(tree: Tree, limits: Limits, *, siblings: bool = True) -> list[Pack]:
    """Return packs, in the order they are to be computed, that together hold every token of `tree` once.

    Without `siblings` each holds one edge, or a piece of a long one, and keeps all of it.
    """
    planner = _Planner(tree, limits)
    agenda = [(tree.root, -1)]
    while agenda:
        node, home = agenda.pop()
        home = planner.append(node, home)
        big = []
        for child in node.children:
            if siblings and planner.is_small(child):
                planner.pack(child, home)
            else:
                big.append((child, home))
        if not siblings:
            planner.close()
        agenda.extend(reversed(big))
    return planner.finish()


def needed(packs: Sequence[Pack], missing: Sequence[bool]) -> list[bool]:
    """Tell of each pack whether a request that is `missing` reads from it, or from one that stands on it."""
    wanted = np.asarray(missing, dtype=bool)
    found = [bool(wanted[pack.requests].any()) for pack in packs]
    for index in range(len(packs) - 1, -1, -1):
        if found[index] and packs[index].parent >= 0:
            found[packs[index].parent] = True
    return found


class _Planner:
    """Packs finished so far and the one being filled, whose index is the number of those."""

    def __init__(self, tree: Tree, limits: Limits) -> None:
        self._tree, self._limits = tree, limits
        self._packs: list[Pack] = []
        self._open: _Draft | None = None

    def is_small(self, node: Node) -> bool:
        """Tell whether all of `node` fits one pack."""
        return node.tokens <= self._limits.tokens and node.rows <= self._limits.rows

    def append(self, node: Node, home: int) -> int:
        """Append the edge of `node` to the trunk that ends in pack `home`; return the pack where it ends now."""
        depth = node.start
        while depth < node.end:
            draft = self._trunk(home, depth)
            end = self._reach(draft, node, depth)
            if end > depth:
                draft.append(node, depth, end)
                depth = end
                home = len(self._packs)
            else:
                self.close()
        return home

    def pack(self, node: Node, home: int) -> None:
        """Put `node` and all below it beside others on the trunk that ends in pack `home`."""
        draft = self._open
        fits = draft is not None and self._fits(draft, node.tokens, node.rows)
        if draft is None or not fits:
            self.close()
            draft = self._open = _Draft(home, node.start)
        draft.add(node)

    def close(self) -> None:
        """Finish the pack being filled."""
        if self._open is not None and self._open.size:
            self._packs.append(self._open.finish(self._tree))
        self._open = None

    def finish(self) -> list[Pack]:
        self.close()
        return self._packs

    def _trunk(self, home: int, depth: int) -> _Draft:
        """Return the open pack if it ends the trunk of `home` at `depth`, else a new one."""
        draft = self._open
        if draft is not None and home == len(self._packs) and draft.size == draft.keep and draft.depth == depth:
            return draft
        self.close()
        self._open = _Draft(home, depth)
        return self._open

    def _reach(self, draft: _Draft, node: Node, depth: int) -> int:
        """Return up to which depth the edge of `node`, from `depth` on, fits."""
        end = min(node.end, depth + self._limits.tokens - draft.size)
        return min(end, max(depth, node.first_read) + max(self._limits.rows - draft.rows, 0))

    def _fits(self, draft: _Draft, tokens: int, rows: int) -> bool:
        return draft.size + tokens <= self._limits.tokens and draft.rows + rows <= self._limits.rows


class _Draft:
    """A pack being filled."""

    def __init__(self, parent: int, trunk: int) -> None:
        self.parent, self.trunk, self.depth = parent, trunk, trunk
        self.size = self.keep = self.rows = 0
        self._pieces: list[tuple[Node, int, int, int | None]] = []

    def append(self, node: Node, start: int, end: int) -> None:
        """Keep the tokens of `node` at depths `start` to `end` after all that is here."""
        self._pieces.append((node, start, end, None))
        self.size += end - start
        self.keep += end - start
        self.rows += max(0, end - max(start, node.first_read))
        self.depth = end

    def add(self, node: Node) -> None:
        """Add `node` and all below it, seen by nothing else."""
        for one in preorder(node):
            self._pieces.append((one, one.start, one.end, self.size + one.tokens))
            self.size += one.end - one.start
        self.rows += node.rows

    def finish(self, tree: Tree) -> Pack:
        rows: list[int] = []
        requests: list[int] = []
        nth: list[int] = []
        place = 0
        for node, start, end, _ in self._pieces:
            for request, depth in node.reads:
                first = max(depth, start)
                if first < end:
                    rows.extend(range(place + first - start, place + end - start))
                    requests.extend([request] * (end - first))
                    zero = tree.lengths[request] - tree.wanted[request]
                    nth.extend(range(first - zero, end - zero))
            place += end - start
        lengths = [end - start for _, start, end, _ in self._pieces]
        last = [self.size if closed is None else closed for *_, closed in self._pieces]
        return Pack(
            self.parent,
            self.trunk,
            self.keep,
            np.concatenate([node.source[start:end] for node, start, end, _ in self._pieces]).astype(np.int64),
            np.concatenate([np.arange(start, end) for _, start, end, _ in self._pieces]),
            np.repeat(np.array(last, np.int64), lengths),
            np.array(rows, np.int64),
            np.array(requests, np.int64),
            np.array(nth, np.int64),
        )
