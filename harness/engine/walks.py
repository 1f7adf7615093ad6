"""Which walk (way) requests take through a model: chosen by the model's layers, then verified on a small prefix tree.

*Pack*: siblings in the requests' prefix tree share a forward pass under a mask. *Snapshot*: each pass feeds one edge of
the tree, from a copy of the state before that edge. *Plain*: every sequence is fed from its beginning, in batches. The
first two feed every token once. A tree mask is silently wrong for recurrent layers from the second sibling on, and no
list of architectures is complete. Therefore, whatever the layers suggest, the logits of a tree with siblings must equal
the logits of the tree's sequences, fed one at a time.

Not here: computing answers of tasks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import torch

from harness.checkpoints import configs
from harness.checkpoints.chatglm import positions
from harness.checkpoints.chatglm.positions import SpecialIds
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.root_cache import RootCache
from harness.checkpoints.types import Model
from harness.engine.packing import contexts, last_layer, packs, padding, prepacked, tree
from harness.engine.packing.last_layer import SkippablePart
from harness.engine.packing.packs import Context, Snapshots, Walker

PROBE_TOKENS = 24
"""Number of tokens in the longest sequences of the probe."""
_BRANCHES = ((6, 24), (6, 12), (9, 17), (6, 9), (3, 14), (0, 10))
"""(tokens shared with the first sequence, total tokens) of each further sequence in the probe's tree."""


_CONTEXT = 4
"""Tokens of the probe's contexts before `[gMASK] <sop>`, for models that read contexts both ways.

Some branches share a whole context, one shares only the beginning of it."""


class Walk(StrEnum):
    """How requests go through a model."""

    PACK = "pack"
    SNAPSHOT = "snapshot"
    PLAIN = "plain"


class WalkChoice(NamedTuple):
    """The walk that a checkpoint takes."""

    walk: Walk
    reason: str = ""
    """Why no faster walk was chosen; empty for the fastest one."""


def choose(checkpoint: Checkpoint) -> WalkChoice:
    """Return the fastest walk on which `checkpoint` gives the same answers as if sequences are fed one at a time."""
    if checkpoint.rounds_activations:
        return WalkChoice(Walk.PLAIN, "int8 rounds activations, and other rows in a pass could change a rounding")
    if checkpoint.max_length <= PROBE_TOKENS:
        return WalkChoice(Walk.PLAIN, f"a context of {checkpoint.max_length} tokens is too short to probe another walk")
    model, root = checkpoint.model, checkpoint.root
    selected = configs.selection_limit(model.config)
    if selected is not None and selected < checkpoint.max_length:
        return WalkChoice(Walk.PLAIN, f"in texts of more than {selected:,} tokens its layers select what they see")
    others = configs.other_layers(model.config)
    state_reason = f"its layers are of the kind {', '.join(others)}" if others else "its layers keep a state"
    is_stateful = bool(others) or getattr(model, "_is_stateful", False)
    reads_both_ways = configs.context_marks(model.config) is not None
    if reads_both_ways:
        state_reason = "it reads a context both ways, so that contexts share nothing, and each is read whole"
    is_stateful = is_stateful or reads_both_ways
    candidates = (Walk.SNAPSHOT,) if is_stateful else (Walk.PACK, Walk.SNAPSHOT)
    reason = ""
    for walk in candidates:
        problem = failure(walk, model, root)
        if not problem:
            return WalkChoice(walk, reason or (state_reason if is_stateful else ""))
        reason = reason or f"its {walk} walk {problem}"
    return WalkChoice(Walk.PLAIN, reason)


def skippable_part(walk: Walk, model: Model, root: RootCache) -> SkippablePart | None:
    """Return the part of `model` that `walk` need not compute at positions whose logits are not read, or None."""
    module = None if walk == Walk.PLAIN else last_layer.feed_forward(model)
    if module is None:
        return None
    try:  # NaN passes through sums and products, however small its share
        problem = failure(walk, model, root, SkippablePart(module, math.nan))
    except Exception:  # whatever failed, full memory included: computing everything is always correct
        return None
    return None if problem else SkippablePart(module)


def walker(
    walk: Walk, model: Model, root: RootCache, planned: Sequence[tree.Pack], skippable: SkippablePart | None = None
) -> Walker:
    """Return the object that computes the packs `planned` after `root` on `walk`, which must not be the plain walk."""
    if walk == Walk.SNAPSHOT:
        return Snapshots(model, root, planned, skippable)
    return context(model, root, planned, skippable)


def context(
    model: Model, root: RootCache, planned: Sequence[tree.Pack], skippable: SkippablePart | None = None
) -> Context:
    """Return a context with capacity for the packs `planned`, for a `model` that supports the pack walk."""
    layout = packs.layout(model.config)
    assert layout is not None, "the pack walk needs layers whose layout is known"
    capacity = max((pack.trunk + len(pack.tokens) for pack in planned), default=0)
    return Context(model, root, layout, capacity, skippable)


def failure(walk: Walk, model: Model, root: RootCache, skippable: SkippablePart | None = None) -> str:
    """Return why `model` does not support `walk`; empty if it does.

    It does not if the walk raises an error, or gives other logits than sequences fed one at a time. With `skippable`,
    logits are read at the last token of every sequence only, and this part of the model is skipped at all other tokens.
    """
    if walk == Walk.PACK and packs.layout(model.config) is None:
        return "does not know what some of its layers see"
    vocabulary = model.get_input_embeddings().weight.shape[0]
    marks = configs.context_marks(model.config)
    sequences = _sequences(vocabulary, marks)
    device = next(model.parameters()).device
    share = padding.tolerance(next(model.parameters()).dtype)
    read_counts = [1 if skippable else len(sequence) for sequence in sequences]
    undivided = contexts.lengths(sequences, marks)
    grown = tree.grow(sequences, read_counts, undivided)
    with torch.inference_mode(), prepacked.used(model):  # copies and fused layers have probes of their own
        whole = [
            root.forward(model, torch.tensor([sequence], device=device)).logits[0].float() for sequence in sequences
        ]
    expected = [logits[-count:] for logits, count in zip(whole, read_counts, strict=True)]
    scale = max(1.0, *(float(logits.abs().max()) for logits in whole))
    for tokens in (7, 1000):  # a trunk in the cache with siblings after it, and everything in one pass
        try:
            largest = max(tokens, *undivided) if undivided else tokens
            planned = tree.plan(grown, tree.Limits(largest, 1000), siblings=walk == Walk.PACK)
            steps = walker(walk, model, root, planned, skippable)
            for pack in planned:
                places, place_index = packs.distinct_reads(pack)
                logits = steps.run(pack, places)[torch.from_numpy(place_index).to(device)]
                if not len(places):
                    continue
                right = torch.stack([expected[r][n] for r, n in zip(pack.requests, pack.nth, strict=True)])
                if (skippable and logits.isnan().any()) or float((logits - right).abs().max()) > share * scale:
                    return "changes the answers"
        except (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError) as error:
            if packs.is_memory_error(error):  # full memory says nothing about the walk
                raise
            return f"fails ({type(error).__name__})"
    return ""


def _sequences(vocabulary: int, marks: SpecialIds | None) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    ids = [torch.randint(vocabulary, (PROBE_TOKENS,), generator=generator) for _ in range(1 + len(_BRANCHES))]
    first, *others = (positions.with_marks(row, _CONTEXT, marks).tolist() for row in ids)
    return [
        first,
        *([*first[:shared], *other[shared:end]] for other, (shared, end) in zip(others, _BRANCHES, strict=True)),
    ]
