"""The root cache starts a forward pass from virtual tokens, at the position that it states."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig

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


@pytest.mark.parametrize("next_position", [0, 3, None])
def test_generate_begins_where_the_root_says_whatever_the_padding(prefixed, next_position):
    root, model = prefixed.root, prefixed.model
    root = root if next_position is None else RootCache(root.layers, next_position)
    prompts = [list(range(5, 5 + length)) for length in (2, 5, 9)]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0, eos_token_id=None)
    with torch.inference_mode():
        output = model.generate(**root.prompts(ids, mask), generation_config=settings)
        for prompt, row in zip(prompts, output[:, root.length + width :].tolist(), strict=True):
            expected = list(prompt)
            for _ in range(6):  # without any cache but the root
                logits = root.forward(model, torch.tensor([expected])).logits
                expected.append(int(logits[0, -1].argmax()))
            assert row == expected[len(prompt) :]
