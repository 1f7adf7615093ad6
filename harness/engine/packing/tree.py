"""Token sequences → their prefix tree → packs: what has to go through a model, each token once.

Sequences are sorted and become a radix tree over token ids (not over text, because a prefix of a text may have
different tokens). `plan` cuts the tree, depth first, into packs of bounded size for one cache that grows and shrinks.
If a subtree is too large for one pack, its top edge is appended to the cache. Subtrees below this edge that fit are
packed side by side, and each token sees only its own ancestors. For models that do not support siblings in one pass,
each edge is a pack.

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
    """An edge of the tree: the tokens at depths `start` to `end`, which all sequences below it share."""

    source: Any
    """Token ids of one of the sequences that share this edge."""
    start: int
    end: int
    children: list[Node] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    """(request, depth): the request reads the logits of every token of this edge from that depth to the edge's end."""
    tokens: int = 0
    """Number of tokens of this edge and everything below it."""
    rows: int = 0
    """Number of tokens of this edge and everything below it whose logits some request reads."""

    @property
    def first_read(self) -> int:
        """Depth of the first token of this edge whose logits a request reads; if there is none, the edge's end."""
        return min((depth for _, depth in self.reads), default=self.end)


class Tree(NamedTuple):
    """The prefix tree of a list of sequences, one for each request."""

    root: Node
    lengths: list[int]
    """Number of tokens of each sequence."""
    read_counts: list[int]
    """How many tokens at its end each request reads."""

    @property
    def tokens(self) -> int:
        """Number of unique tokens: the fewest that a model must be fed."""
        return self.root.tokens


class Pack(NamedTuple):
    """Tokens for one forward pass: first a chain of tokens that stay in the cache, then whole subtrees.

    Token j sees everything in the cache, and the tokens i of the pack for which i ≤ j < ends[i].
    """

    parent: int
    """Index of the pack that holds the last token of the trunk (the tokens cached before this pack); -1 without a
    trunk."""
    trunk: int
    """Number of tokens of the trunk, which the cache must hold before this pack."""
    keep: int
    """How many of the pack's first tokens stay in the cache."""
    tokens: Ints
    """Token ids."""
    depths: Ints
    """Depth of each token in the tree."""
    ends: Ints
    """For each token, the place in this pack after the last token that may see this one."""
    rows: Ints
    """For each read (a request that needs the logits of a token), the place of this token in the pack."""
    requests: Ints
    """For each read, the index of the request."""
    nth: Ints
    """For each read, the number of its token among all tokens that its request reads, from 0."""


class Limits(NamedTuple):
    """How much may go into one pack."""

    tokens: int
    """Number of tokens."""
    rows: int
    """Number of tokens whose logits are read."""


def grow(
    sequences: Sequence[Sequence[int]], read_counts: Sequence[int], undivided: Sequence[int] | None = None
) -> Tree:
    """Return the prefix tree of `sequences` (token ids, none empty); request i reads its last `read_counts[i]` tokens.

    The first `undivided[i]` tokens of sequence i share an edge only with sequences that begin with all of them.
    Takes time linear in the number of tokens, except for sorting.
    """
    keys = [sort_key(sequence) for sequence in sequences]
    readers: dict[bytes, list[int]] = {}
    least = dict(zip(keys, undivided, strict=True)) if undivided is not None else {}
    for request, key in enumerate(keys):
        readers.setdefault(key, []).append(request)
    lengths = [len(sequence) for sequence in sequences]
    root = Node(np.empty(0, np.int64), 0, 0)
    path, previous = [root], np.empty(0, np.uint32)
    for key in sorted(readers):
        ids = np.frombuffer(key, ">u4")
        common = common_prefix(previous, ids)
        _insert(path, ids, common if common >= least.get(key, 0) else 0)
        previous = ids
        for request in readers[key]:
            _add_reads(path, request, lengths[request] - read_counts[request])
    _count(root)
    return Tree(root, lengths, list(read_counts))


def sort_key(sequence: Sequence[int]) -> bytes:
    """Return bytes that sort in the same order as `sequence`: four bytes for each token, the most significant first."""
    ids = array.array("I", sequence)
    if sys.byteorder == "little":
        ids.byteswap()
    return ids.tobytes()


def common_prefix(ids: Any, others: Any) -> int:
    """Return the length of the longest common prefix of two arrays."""
    shorter = min(len(ids), len(others))
    differs = ids[:shorter] != others[:shorter]
    first = int(differs.argmax()) if shorter else 0
    return first if shorter and differs[first] else shorter


def _insert(path: list[Node], ids: Any, common: int) -> None:
    """Append a leaf for `ids`, and let `path` lead to it.

    The previous leaf begins with the same `common` tokens as `ids`.
    """
    last = None
    while path[-1].end > common:
        last = path.pop()
    if path[-1].end < common and last is not None:  # the sequences separate within an edge
        upper = Node(last.source, last.start, common, [last])
        # A request that reads the lower part reads as much of the upper part as comes after its first read.
        upper.reads = [(request, depth) for request, depth in last.reads if depth < common]
        last.reads = [(request, max(depth, common)) for request, depth in last.reads]
        last.start = common
        path[-1].children[-1] = upper
        path.append(upper)
    leaf = Node(ids, common, len(ids))
    path[-1].children.append(leaf)
    path.append(leaf)


def _add_reads(path: list[Node], request: int, first: int) -> None:
    """Record on the edges of `path` that `request` reads the logits of all tokens from depth `first` on.

    The tokens of these edges are the sequence of `request`.
    """
    for node in reversed(path):
        if node.end <= first:
            break
        node.reads.append((request, max(first, node.start)))


def _count(root: Node) -> None:
    for node in reversed(list(preorder(root))):
        node.tokens = node.end - node.start + sum(child.tokens for child in node.children)
        node.rows = node.end - node.first_read + sum(child.rows for child in node.children)


def preorder(root: Node) -> Iterator[Node]:
    """Yield `root` and everything below it, parents first and children in order."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.children))


def plan(tree: Tree, limits: Limits, *, siblings: bool = True) -> list[Pack]:
    """Return packs that together hold every token of `tree` once, in the order in which they are computed.

    Without `siblings`, each pack holds one edge, or a piece of a long one, and all its tokens stay in the cache.
    """
    planner = _Planner(tree, limits)
    stack = [(tree.root, -1)]
    while stack:
        node, parent = stack.pop()
        parent = planner.append(node, parent)
        large = []
        for child in node.children:
            if siblings and planner.is_small(child):
                planner.pack(child, parent)
            else:
                large.append((child, parent))
        if not siblings:
            planner.close()
        stack.extend(reversed(large))
    return planner.finish()


def needed(packs: Sequence[Pack], missing: Sequence[bool]) -> list[bool]:
    """Return for each pack whether a `missing` request reads from the pack or from one that continues it."""
    is_missing = np.asarray(missing, dtype=bool)
    is_needed = [bool(is_missing[pack.requests].any()) for pack in packs]
    for index in range(len(packs) - 1, -1, -1):
        if is_needed[index] and packs[index].parent >= 0:
            is_needed[packs[index].parent] = True
    return is_needed


class _Planner:
    """Finished packs, and the open one that is being filled; the open pack's index is the number of finished ones."""

    def __init__(self, tree: Tree, limits: Limits) -> None:
        self._tree, self._limits = tree, limits
        self._packs: list[Pack] = []
        self._open: _Draft | None = None

    def is_small(self, node: Node) -> bool:
        """Return whether `node` and everything below it fits into one pack."""
        return node.tokens <= self._limits.tokens and node.rows <= self._limits.rows

    def append(self, node: Node, parent: int) -> int:
        """Append the edge of `node` to the trunk (kept tokens), which ends in pack `parent`.

        Return the index of the trunk's new last pack.
        """
        depth = node.start
        while depth < node.end:
            draft = self._draft_for_trunk(parent, depth)
            end = self._fitting_depth(draft, node, depth)
            if end > depth:
                draft.append(node, depth, end)
                depth = end
                parent = len(self._packs)
            else:
                self.close()
        return parent

    def pack(self, node: Node, parent: int) -> None:
        """Pack `node` and everything below it beside other subtrees, on the trunk that ends in pack `parent`."""
        draft = self._open
        fits = draft is not None and self._fits(draft, node.tokens, node.rows)
        if draft is None or not fits:
            self.close()
            draft = self._open = _Draft(parent, node.start)
        draft.add(node)

    def close(self) -> None:
        """Finish the open pack."""
        if self._open is not None and self._open.size:
            self._packs.append(self._open.finish(self._tree))
        self._open = None

    def finish(self) -> list[Pack]:
        """Finish the open pack and return all packs."""
        self.close()
        return self._packs

    def _draft_for_trunk(self, parent: int, depth: int) -> _Draft:
        """Return the open pack if its index is `parent` and the trunk ends in it at `depth`; else a new pack."""
        draft = self._open
        if draft is not None and parent == len(self._packs) and draft.size == draft.keep and draft.depth == depth:
            return draft
        self.close()
        self._open = _Draft(parent, depth)
        return self._open

    def _fitting_depth(self, draft: _Draft, node: Node, depth: int) -> int:
        """Return the depth up to which the edge of `node`, from `depth` on, fits into `draft`."""
        end = min(node.end, depth + self._limits.tokens - draft.size)
        return min(end, max(depth, node.first_read) + max(self._limits.rows - draft.rows, 0))

    def _fits(self, draft: _Draft, tokens: int, rows: int) -> bool:
        return draft.size + tokens <= self._limits.tokens and draft.rows + rows <= self._limits.rows


class _Draft:
    """A pack that is being filled."""

    def __init__(self, parent: int, trunk: int) -> None:
        self.parent, self.trunk, self.depth = parent, trunk, trunk
        self.size = self.keep = self.rows = 0
        # (node, first depth, end depth, place after the last token that sees these; None for the whole pack)
        self._pieces: list[tuple[Node, int, int, int | None]] = []

    def append(self, node: Node, start: int, end: int) -> None:
        """Add the tokens of `node` at depths `start` to `end` to the pack's tokens that stay in the cache."""
        self._pieces.append((node, start, end, None))
        self.size += end - start
        self.keep += end - start
        self.rows += max(0, end - max(start, node.first_read))
        self.depth = end

    def add(self, node: Node) -> None:
        """Add `node` and everything below it; no token outside this subtree sees it."""
        for descendant in preorder(node):
            self._pieces.append((descendant, descendant.start, descendant.end, self.size + descendant.tokens))
            self.size += descendant.end - descendant.start
        self.rows += node.rows

    def finish(self, tree: Tree) -> Pack:
        """Return the finished pack."""
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
                    first_read = tree.lengths[request] - tree.read_counts[request]
                    nth.extend(range(first - first_read, end - first_read))
            place += end - start
        lengths = [end - start for _, start, end, _ in self._pieces]
        ends = [self.size if end_place is None else end_place for *_, end_place in self._pieces]
        return Pack(
            self.parent,
            self.trunk,
            self.keep,
            np.concatenate([node.source[start:end] for node, start, end, _ in self._pieces]).astype(np.int64),
            np.concatenate([np.arange(start, end) for _, start, end, _ in self._pieces]),
            np.repeat(np.array(ends, np.int64), lengths),
            np.array(rows, np.int64),
            np.array(requests, np.int64),
            np.array(nth, np.int64),
        )
