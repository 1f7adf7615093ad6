"""Which way a checkpoint's requests go through its model: chosen by its layers, then proved on a small tree.

*Pack*: siblings share a forward pass under a mask. *Snapshot*: one edge a pass, each from a copy of the state above it.
*Plain*: every sequence from its beginning, in batches. The first two feed every token once. A tree mask is silently
wrong for recurrent layers from the second sibling on, and no list of architectures is ever complete, so whatever the
layers promise, the logits of a tree with siblings must equal those of its sequences one at a time.

Not here: computing anything a task asks for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import torch

from harness.checkpoints import configs
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.root_cache import RootCache
from harness.engine.packing import last_layer, packs, tree
from harness.engine.packing.last_layer import End
from harness.engine.packing.packs import Context, Snapshots, Walker
from harness.engine.packing.padding import TOLERANCE, TOLERANCE_ELSEWHERE

PROBE = 24  # tokens of the longest of the probe's sequences
_BRANCHES = ((6, 24), (6, 12), (9, 17), (6, 9), (3, 14), (0, 10))
"""(tokens shared with the first sequence, tokens in all) of the others: siblings, and siblings of siblings."""


class Walk(StrEnum):
    """How requests go through a model."""

    PACK = "pack"
    SNAPSHOT = "snapshot"
    PLAIN = "plain"


class Choice(NamedTuple):
    """A walk, and why no faster one was taken."""

    walk: Walk
    why: str = ""


def choose(checkpoint: Checkpoint) -> Choice:
    """Return the fastest walk that answers as one sequence at a time does."""
    if checkpoint.rounds_activations:
        return Choice(Walk.PLAIN, "int8 rounds activations, and company in a pass could tip a rounding over")
    if checkpoint.max_length <= PROBE:
        return Choice(Walk.PLAIN, f"a context of {checkpoint.max_length} tokens is too short to try another")
    model, root = checkpoint.model, checkpoint.root
    selected = configs.selection_limit(model.config)
    if selected is not None and selected < checkpoint.max_length:
        return Choice(Walk.PLAIN, f"in texts of more than {selected:,} tokens its layers select what they see")
    others = configs.other_layers(model.config)
    kept = f"its layers are of the kind {', '.join(others)}" if others else "its layers keep a state"
    is_stateful = bool(others) or getattr(model, "_is_stateful", False)
    tried = (Walk.SNAPSHOT,) if is_stateful else (Walk.PACK, Walk.SNAPSHOT)
    why = ""
    for walk in tried:
        found = failure(walk, model, root)
        if not found:
            return Choice(walk, why or (kept if is_stateful else ""))
        why = why or f"its {walk} walk {found}"
    return Choice(Walk.PLAIN, why)


def shortened(walk: Walk, model: Any, root: RootCache) -> End | None:
    """Return what of `model`, which bears `walk`, need not be computed where nothing is read, or None."""
    part = None if walk == Walk.PLAIN else last_layer.feed_forward(model)
    if part is None:
        return None
    try:  # numbers that are none get through sums and products, however small their share
        refused = failure(walk, model, root, End(part, math.nan))
    except Exception:  # whatever went wrong, full memory included: computing all of it is right
        return None
    return None if refused else End(part)


def walker(walk: Walk, model: Any, root: RootCache, planned: Sequence[tree.Pack], end: End | None = None) -> Walker:
    """Return what computes the packs `planned` for `walk`, which is not plain, from `root` on."""
    return Snapshots(model, root, planned, end) if walk == Walk.SNAPSHOT else context(model, root, planned, end)


def context(model: Any, root: RootCache, planned: Sequence[tree.Pack], end: End | None = None) -> Context:
    """Return an empty context, with room for the packs `planned`, of a model that bears the pack walk."""
    shape = packs.layout(model.config)
    assert shape is not None, "the pack walk needs layers whose sight is known"
    return Context(model, root, shape, max((pack.trunk + len(pack.tokens) for pack in planned), default=0), end)


def failure(walk: Walk, model: Any, root: RootCache, end: End | None = None) -> str:
    """Return what is wrong with `walk` on `model`: it fails, or its logits are others than one at a time; else "".

    With `end`, the last token of every sequence is read and the others are left out of that part.
    """
    if walk == Walk.PACK and packs.layout(model.config) is None:
        return "does not know what some of its layers see"
    vocabulary = model.get_input_embeddings().weight.shape[0]
    sequences = _sequences(vocabulary)
    device = next(model.parameters()).device
    share = TOLERANCE if next(model.parameters()).dtype == torch.float32 else TOLERANCE_ELSEWHERE
    wanted = [1 if end else len(one) for one in sequences]
    grown = tree.grow(sequences, wanted)
    with torch.inference_mode():
        whole = [root.forward(model, torch.tensor([one], device=device)).logits[0].float() for one in sequences]
    alone = [logits[-count:] for logits, count in zip(whole, wanted, strict=True)]
    scale = max(1.0, *(float(one.abs().max()) for one in whole))
    for tokens in (7, 1000):  # a trunk in the cache with siblings on it, and all in one pass
        try:
            planned = tree.plan(grown, tree.Limits(tokens, 1000), siblings=walk == Walk.PACK)
            steps = walker(walk, model, root, planned, end)
            for pack in planned:
                places, which = packs.distinct(pack)
                logits = steps.run(pack, places)[torch.from_numpy(which).to(device)]
                if not len(places):
                    continue
                right = torch.stack([alone[r][n] for r, n in zip(pack.requests, pack.nth, strict=True)])
                if (end and logits.isnan().any()) or float((logits - right).abs().max()) > share * scale:
                    return "gives other answers"
        except (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError) as error:
            if packs.is_memory_error(error):  # which says nothing of the walk
                raise
            return f"fails ({type(error).__name__})"
    return ""


def _sequences(vocabulary: int) -> list[list[int]]:
    drawn = torch.Generator().manual_seed(1)
    first, *others = (torch.randint(vocabulary, (PROBE,), generator=drawn).tolist() for _ in range(1 + len(_BRANCHES)))
    return [
        first,
        *([*first[:shared], *other[shared:end]] for other, (shared, end) in zip(others, _BRANCHES, strict=True)),
    ]
