"""Trainings of a model of a few thousand weights on rows of random ids, without a tokenizer or a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import peft
import pyarrow as pa
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harness.training import determinism, loop, packing
from harness.training.batches import Rows
from harness.training.fitting import Data, Fitted, Tasks
from harness.training.mixture import Place
from harness.training.store import Store

VOCABULARY = 40
"""One id more than examples have."""
LENGTHS = (3, 11, 2, 7, 5, 13, 4, 9, 2, 6)
"""Tokens of the examples, so that batches have very different numbers of learned tokens."""


def model(seed: int = 0, **changes: Any) -> Any:
    """Return an untrained LLaMA."""
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LlamaConfig(vocab_size=VOCABULARY, initializer_range=0.2, **{**sizes, **changes})
        return LlamaForCausalLM(config)


def lora(seed: int = 0, **changes: Any) -> Any:
    """Return the same with a LoRA."""
    base = model(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1)
        config = peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM", **changes)
        return peft.get_peft_model(base, config)


def examples(seed: int = 0, lengths: Sequence[int] = LENGTHS) -> list[tuple[list[int], int]]:
    """Return ids with the place of the first that is learned."""
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(1, VOCABULARY - 1, (length,), generator=generator).tolist() for length in lengths]
    return [(row, len(row) // 3) for row in ids]


def rows(file: Path, chosen: Sequence[tuple[list[int], int]] | None = None, capacity: int | None = None) -> Rows:
    """Return `chosen` examples as rows in their order; with a `capacity`, packed into rows of at most that length."""
    chosen = examples() if chosen is None else chosen
    columns = {
        "ids": [ids for ids, _ in chosen],
        "spans": [[first, len(ids)] for ids, first in chosen],
        "row": list(range(1, len(chosen) + 1)),
    }
    schema = pa.schema([("ids", pa.list_(pa.uint32())), ("spans", pa.list_(pa.uint32())), ("row", pa.uint32())])
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, schema) as out:
        out.write_table(pa.table(columns, schema=schema))
    places = [Place(0, number) for number in range(len(chosen))]
    if capacity is None:
        return Rows([Store(file)], [[place] for place in places], is_packed=False)
    sized = (packing.Sized(place, len(chosen[place.row][0])) for place in places)
    return Rows([Store(file)], packing.rows(sized, capacity), is_packed=True)


def fit(
    trained: Any,
    folder: Path,
    settings: Mapping[str, Any],
    *,
    train: Rows | None = None,
    validation: Mapping[str, Rows] | None = None,
    tasks: Tasks | None = None,
    lines: list[str] | None = None,
    epochs: float = 1.0,
) -> Fitted:
    """Train and return what was measured; by default on `examples`, one step an example, at a constant rate."""
    folder.mkdir(exist_ok=True)
    train = rows(folder / "train.arrow") if train is None else train
    values = {
        "per_device_train_batch_size": 1,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        **settings,
    }
    steps = -(-len(train) // loop.batch(values))
    data = Data(train, validation or {}, pad=0, epoch_steps=max(1, round(steps / epochs)), tasks=tasks)
    report = (lines if lines is not None else []).append
    with determinism.random_state(3), determinism.threads(1):
        return loop.fit(trained, data, values, folder, seed=3, title="a stage", report=report)


def weights(trained: Any) -> dict[str, torch.Tensor]:
    """Return copies of the weights that learn."""
    return {name: p.detach().clone() for name, p in trained.named_parameters() if p.requires_grad}


def loss_by_hand(trained: Any, chosen: Sequence[tuple[list[int], int]]) -> float:
    """Return the mean loss of all learned tokens, an example at a time, without padding."""
    total, count = 0.0, 0
    for ids, first in chosen:
        with torch.no_grad():
            logits = trained(input_ids=torch.tensor([ids])).logits[0]
        learned = range(max(first, 1), len(ids))
        chances = torch.log_softmax(logits.double(), -1)
        total -= sum(float(chances[place - 1, ids[place]]) for place in learned)
        count += len(learned)
    return total / count
