"""The root cache starts a forward pass from virtual tokens, at the position that it states."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.root_cache import EMPTY, RootCache
from support.tampering import load
from support.trained_adapters import LEARNED, trained

IDS = torch.arange(3, 40)[None]


@pytest.fixture(scope="module")
def prefixed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A checkpoint whose root cache is a learned prefix."""
    return load(trained(tmp_path_factory.mktemp("prefix") / "adapter", base, LEARNED["prefix"]))


def test_an_empty_root_adds_no_arguments():
    assert EMPTY.start(3) == {}
    assert EMPTY.length == EMPTY.next_position == EMPTY.bytes == 0


def test_a_next_position_that_is_not_the_length_is_used(prefixed):
    root, model = prefixed.root, prefixed.model
    at_zero = RootCache(root.layers, 0)
    with torch.inference_mode():
        logits = at_zero.forward(model, IDS).logits
        expected = model(IDS, position_ids=torch.arange(IDS.shape[1])[None], **root.start(1)).logits
        continued = root.forward(model, IDS).logits
    assert torch.equal(logits, expected)
    assert not torch.allclose(logits, continued, atol=0.01)


def test_a_forward_pass_does_not_change_the_root(prefixed):
    root, model = prefixed.root, prefixed.model
    before = [keys.clone() for keys, _ in root.layers]
    with torch.inference_mode():
        first = root.forward(model, IDS).logits
        second = root.forward(model, IDS).logits
    assert torch.equal(first, second)
    assert all(torch.equal(old, keys) for old, (keys, _) in zip(before, root.layers, strict=True))
