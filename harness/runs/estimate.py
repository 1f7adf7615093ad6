"""What a run would cost, before it is run: requests, tokens, and roughly time and memory.

Tokens are counted exactly, with the checkpoint's own tokenizer. Seconds come from timing one matrix product and one
sweep through memory on the device, so they tell minutes from hours, not more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from harness.backends.local import HarnessLM
from harness.backends.work import Cost
from harness.checkpoints import configs, loading, quantization
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.located import Located
from harness.checkpoints.reference import CheckpointReference
from harness.common import progress
from harness.engine.engine import cache_bytes
from harness.runs.options import Options, prompt_settings, template_arguments
from harness.runs.sweep import load_tasks, locate
from harness.tasks.catalogue import Catalogue

EFFICIENCY = 0.5  # share of the matrix product's speed that a whole forward pass reaches


class Forecast(NamedTuple):
    """The expected cost of one checkpoint on all tasks."""

    checkpoint: str
    tasks: dict[str, Cost]
    seconds: float
    """If every generated answer is as long as its task allows."""
    memory_bytes: int
    parameters: int

    @property
    def total(self) -> Cost:
        """All tasks together."""
        return Cost(*(sum(column) for column in zip(*self.tasks.values(), strict=True)))


class Speed(NamedTuple):
    """What the device does with one dtype."""

    flops: float
    bytes_per_second: float


def forecast(references: Sequence[CheckpointReference], options: Options) -> list[Forecast]:
    """Return what `run` would cost for each checkpoint, having read tokenizers and data but no weights.

    Raises HarnessError as `run` would for whatever shows without weights.
    """
    with progress.status("reading the tasks' data"):
        catalogue = Catalogue(options.include, options.comparisons)
        located = locate(references, options, catalogue)
        tasks = load_tasks(catalogue, options)
    forecasts = []
    for one in located:
        lm = HarnessLM(_without_weights(one), template_arguments=template_arguments(one, options))
        costs: dict[str, Cost] = {}
        with progress.bar(one.name, len(tasks.tasks), "tasks") as bar:
            for name, task in tasks.tasks.items():
                bar.title(f"{one.name} · {name}")
                task.reseed(options.seed)
                settings = prompt_settings(options)
                chat = lm.apply_chat_template if options.apply_chat_template else None
                costs[name] = lm.cost(task.build_requests(limit=options.limit, chat_template=chat, **settings))
                task.release_requests()
                bar.advance(1)
        forecasts.append(_forecast(one, costs, lm))
    return forecasts


def measure(device: torch.device, dtype: torch.dtype) -> Speed:
    """Return the device's speed, measured in about half a second."""
    size = 2048 if device.type == "cpu" else 8192
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    flops = 2 * size**3 / _seconds(lambda: left @ right, device)
    vector = torch.randn(1, size, device=device, dtype=dtype)
    return Speed(flops, right.nbytes / _seconds(lambda: vector @ right, device))


def _forecast(located: Located, costs: dict[str, Cost], lm: HarnessLM) -> Forecast:
    size = configs.size(located)
    held = quantization.expected_bytes(located.quantization, size.parameters, size.body, located.dtype.itemsize)
    speed = measure(located.device, located.dtype)
    tokens = sum(cost.tokens for cost in costs.values())
    generated = sum(cost.generated_at_most for cost in costs.values())
    prefill = 2 * size.body * tokens / (speed.flops * EFFICIENCY)
    # A step reads the weights once for all its rows, or takes its arithmetic's time where that is longer.
    step = max(held / speed.bytes_per_second / lm.engine.rows, 2 * size.parameters / (speed.flops * EFFICIENCY))
    decoding = generated * step
    text = configs.text_config(located.config)
    # Activations of a batch: a few hidden-size copies, the widest layer, and float logits of the scored rows.
    width = 8 * int(text.hidden_size) + 3 * int(getattr(text, "intermediate_size", None) or 4 * text.hidden_size)
    activations = (
        lm.engine.pack_tokens * width * located.dtype.itemsize + 2 * lm.engine.pack_rows * int(text.vocab_size) * 4
    )
    # Keys and values of answers that are decoded side by side.
    token = 2 * int(text.num_hidden_layers) * int(text.hidden_size) * located.dtype.itemsize
    cache = min(cache_bytes(held, located.device.type), (tokens + generated) * token) if generated else 0
    return Forecast(located.name, costs, prefill + decoding, held + activations + cache, size.parameters)


def _without_weights(located: Located) -> Checkpoint:
    return Checkpoint(located, None, loading.load_tokenizer(located), fingerprint="", eos_ids=(), parameters=0)


def _seconds(work: Any, device: torch.device) -> float:
    """Return the seconds one call of `work` takes, best of several."""

    def once() -> float:
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    once()
    return min(once() for _ in range(3))
