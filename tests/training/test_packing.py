"""Packing: which examples share a row, and that none of them sees another one."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    OPTConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from harness.errors import HarnessError
from harness.training import mixture, packing
from harness.training.batches import Collator, Rows
from harness.training.dialogues import Writer
from harness.training.encoding import ExampleEncoder
from harness.training.examples import Completion, Located
from harness.training.loop import token_loss
from harness.training.mixture import Place
from harness.training.packing import Sized
from harness.training.store import Store, write
from support import tiny

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}
TOKENS = {"vocab_size": 400, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
APART = {
    "llama": LlamaConfig(**SIZES, **TOKENS, intermediate_size=32),
    "qwen2": Qwen2Config(**SIZES, **TOKENS, intermediate_size=32, num_key_value_heads=1),
    "gpt2": GPT2Config(**TOKENS, n_embd=16, n_layer=2, n_head=2, n_positions=64),  # absolute positions
}
LEAKING = {
    "mamba": MambaConfig(**TOKENS, hidden_size=16, num_hidden_layers=2, state_size=4),  # a recurrent state
    "bloom": BloomConfig(**TOKENS, hidden_size=16, n_layer=2, n_head=2),  # no positions
    "opt": OPTConfig(**SIZES, **TOKENS, ffn_dim=32, word_embed_proj_dim=16),  # positions from the attention mask
}


def model(config: PreTrainedConfig, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).to(dtype)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=300))
def test_each_example_is_in_exactly_one_row_that_it_fits_in(lengths):
    sized = [Sized(Place(0, number), length) for number, length in enumerate(lengths)]
    rows = list(packing.rows(iter(sized), 20))
    assert sorted(place.row for row in rows for place in row) == list(range(len(lengths)))
    used = [sum(lengths[place.row] for place in row) for row in rows]
    assert max(used) <= 20
    assert len(rows) <= len(lengths)
    # Best fit: of two rows that are open at once, each is more than half full but one.
    if len(rows) <= packing.OPEN:
        assert sum(2 * total <= 20 for total in used) <= 1
    assert rows == list(packing.rows(iter(sized), 20))


def test_the_order_of_learning_changes_little():
    sized = [Sized(Place(0, number), 5 + number % 7) for number in range(2000)]
    order = [place.row for row in packing.rows(iter(sized), 32) for place in row]
    assert max(abs(place - number) for place, number in enumerate(order)) < 2 * packing.OPEN * 32 / 5


def test_a_training_that_ends_early_has_the_shares_of_the_mixture():
    lengths = {"long": np.full(9, 256), "short": np.full(9, 20)}  # long ones fill a row at once
    order = mixture.order(lengths, {"long": 1, "short": 1}, "seed", by_tokens=False)
    sized = (Sized(place, (256, 20)[place.corpus]) for place in order)
    learned = Counter(place.corpus for row in itertools.islice(packing.rows(sized, 256), 100) for place in row)
    assert abs(learned[0] - learned[1]) <= packing.OPEN


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", APART)
def test_models_that_read_positions_keep_examples_apart(name, dtype):
    built = model(APART[name], dtype).train()
    packing.require_no_leak(built, 400)
    assert built.training


@pytest.mark.parametrize("name", LEAKING)
def test_a_model_whose_examples_see_one_another_is_refused(name):
    with pytest.raises(HarnessError, match=rf"examples of this {name} would see one another.*packing: false"):
        packing.require_no_leak(model(LEAKING[name]), 400)


def test_a_small_leak_of_an_untrained_model_is_found(monkeypatch):
    built = model(APART["llama"])
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(0.1)  # whatever an example sees of another one changes little
    packing.require_no_leak(built, 400)
    forward = type(built).forward
    monkeypatch.setattr(
        type(built), "forward", lambda self, **inputs: forward(self, **{**inputs, "attention_mask": _all(inputs)})
    )
    with pytest.raises(HarnessError, match="would see one another"):
        packing.require_no_leak(built, 400)


def _all(inputs: dict[str, Any]) -> torch.Tensor:
    """Return an attention mask of ones, with which transformers does not look for packed examples."""
    return torch.ones_like(inputs["input_ids"])


def test_a_model_without_positions_is_refused(monkeypatch):
    built = model(APART["llama"])
    forward = type(built).forward
    monkeypatch.setattr(type(built), "forward", lambda self, input_ids, use_cache: forward(self, input_ids))
    with pytest.raises(HarnessError, match=r"reads no positions of packed examples.*packing: false"):
        packing.require_no_leak(built, 400)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    words = tiny.tokenizer()
    pairs = [
        ("what is ", "42"),
        ("春天的", "花开了，小明买了三个苹果"),
        ("A", ". 甲 B. 乙"),
        ("q: ", "the lazy dog."),
    ] * 2
    examples = [Located(str(i), Completion(f"{prompt}{i} ", text)) for i, (prompt, text) in enumerate(pairs)]
    file = Path(tmp_path_factory.mktemp("packing"), "rows.arrow")
    write(file, examples, Writer(None, "answers", words), ExampleEncoder(words, ()), 40)
    return Store(file)


@pytest.mark.parametrize("name", APART)
def test_the_loss_of_packed_rows_is_the_sum_over_their_examples(name, store):
    built = model(APART[name]).eval()
    places = [Place(0, number) for number in range(len(store))]
    sized = [Sized(place, int(store.lengths[place.row])) for place in places]
    packed = Rows([store], packing.rows(sized, 40), is_packed=True)
    assert 1 < len(packed) < len(places)
    assert int(packed.lengths.max()) * len(packed) < int(store.lengths.max()) * len(store)
    alone = Rows([store], ([place] for place in places), is_packed=False)
    losses = []
    for rows in (packed, alone):
        total = torch.zeros(())
        for start in range(0, len(rows), 2):
            batch = Collator(0)([rows[number] for number in range(start, min(start + 2, len(rows)))])
            labels = batch.pop("labels")
            total += token_loss(built(**batch, use_cache=False), labels, 1)
        losses.append(total)
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-4)
