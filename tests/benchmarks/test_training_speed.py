"""`make bench`: the trainer's speed beside transformers' own loop on the same rows, what packing gains, and memory.

Ratios are of runs in turns in one process. Asserted is that the trainer keeps up with the plain loop; memory is that of
places and lengths of examples, counted in bytes, so no clock is needed.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from harness.training import loop, packing
from harness.training.batches import IGNORED, Collator, Rows
from harness.training.dialogues import Writer
from harness.training.encoding import ExampleEncoder
from harness.training.examples import Completion, Located
from harness.training.mixture import Place
from harness.training.store import Store, write
from support import tiny

pytestmark = [pytest.mark.bench, pytest.mark.data]
ROWS, BATCH, CONTEXT, ROUNDS = 256, 8, 256, 3
SIZES = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8, "num_attention_heads": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("speed")
    words = tiny.bench_tokenizer(data)
    tiny.llama(folder / "model", words, context=CONTEXT, num_key_value_heads=8, initializer_range=0.02, **SIZES)
    file = next((data / "local" / "instruct_general" / "alpaca_zh_demo").rglob("*.parquet"))
    rows = pq.read_table(file).slice(0, ROWS).to_pylist()
    examples = (
        Located(str(number), Completion(f"{row['instruction']}\n{row['input']}", row["output"]))
        for number, row in enumerate(rows)
    )
    write(folder / "rows.arrow", examples, Writer("none", "answers", words), ExampleEncoder(words, ()), CONTEXT)
    return folder


def rows_of(store: Store, *, is_packed: bool) -> Rows:
    places = [Place(0, number) for number in range(len(store))]
    if not is_packed:
        return Rows([store], [[place] for place in places], is_packed=False)
    sized = (packing.Sized(place, int(store.lengths[place.row])) for place in places)
    return Rows([store], packing.rows(sized, CONTEXT), is_packed=True)


def seconds_of_ours(folder: Path, rows: Rows, scratch: Path) -> float:
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    started = time.perf_counter()
    settings = {"per_device_train_batch_size": BATCH, "save_strategy": "no"}
    loop.fit(model, rows, {}, settings, scratch, pad=0, seed=0, title="speed", report=lambda _: None)
    return time.perf_counter() - started


def seconds_of_trainer(folder: Path, rows: Sequence[dict[str, Any]], scratch: Path) -> float:
    """Time transformers' Trainer with its own loss on lists of ids, padded as ours are."""
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    arguments = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        train_sampling_strategy="sequential",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    started = time.perf_counter()
    Trainer(model, arguments, train_dataset=rows, data_collator=Collator(0)).train()
    return time.perf_counter() - started


def test_the_trainer_keeps_up_with_the_plain_loop_and_packing_gains(folder: Path, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    store = Store(folder / "rows.arrow")
    plain, packed = rows_of(store, is_packed=False), rows_of(store, is_packed=True)
    listed = [dict(plain[number]) for number in range(len(plain))]
    tokens = int(store.lengths.sum())
    times: dict[str, list[float]] = {"ours": [], "Trainer": [], "packed": []}
    for number in range(ROUNDS):
        times["ours"].append(seconds_of_ours(folder, plain, tmp_path / f"a{number}"))
        times["Trainer"].append(seconds_of_trainer(folder, listed, tmp_path / f"b{number}"))
        times["packed"].append(seconds_of_ours(folder, packed, tmp_path / f"c{number}"))
    speeds = {name: tokens / min(seconds) for name, seconds in times.items()}
    lengths = store.lengths
    slots = sum(int(lengths[i : i + BATCH].max()) * len(lengths[i : i + BATCH]) for i in range(0, len(lengths), BATCH))
    print(f"\n{json.dumps(speeds)}; padding {1 - tokens / slots:.0%} of {slots:,} slots, {len(packed)} packed rows")
    ratios = [theirs / ours for ours, theirs in zip(times["ours"], times["Trainer"], strict=True)]
    assert statistics.median(ratios) > 0.95  # 1.0 but for noise
    assert len(packed) * CONTEXT < slots


def test_memory_does_not_grow_with_the_length_of_examples(folder: Path) -> None:
    """A row in memory is its place and length; ids stay in the file."""
    store = Store(folder / "rows.arrow")
    rows = Rows([store], ([Place(0, number % len(store))] for number in range(100_000)), is_packed=False)
    places = rows._corpora.nbytes + rows._places.nbytes + rows._starts.nbytes
    assert places <= 100_001 * 18
    assert (rows[0]["labels"] != IGNORED).any()
