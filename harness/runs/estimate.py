"""The forecast of a run's cost: requests and tokens exactly, time and memory roughly.

Tokens are counted with the checkpoint's own tokenizer. Seconds come from timing one matrix product and one sweep
through memory on the device: these estimates distinguish minutes from hours, no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from harness.backends.local import HarnessLM
from harness.backends.work import Cost
from harness.checkpoints import configs, loading, quantization
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.located import Located
from harness.checkpoints.reference import CheckpointReference
from harness.common import progress
from harness.engine.device_limits import free_bytes
from harness.engine.engine import cache_bytes
from harness.runs import checks
from harness.runs.options import Options, prompt_settings, template_arguments
from harness.runs.run import begin
from harness.runs.sweep import load_tasks, locate
from harness.tasks.catalogue import Catalogue

EFFICIENCY = 0.5
"""The speed of a whole forward pass, as a share of the speed of a single matrix product."""


class Forecast(NamedTuple):
    """The expected cost of one checkpoint on all tasks."""

    checkpoint: str
    """The checkpoint's name."""
    tasks: dict[str, Cost]
    seconds: float
    """Wall-clock seconds if every generated answer is as long as its task allows."""
    memory_bytes: int
    """Bytes of memory for weights, one batch's activations, and the cache of generated answers."""
    parameters: int

    @property
    def total(self) -> Cost:
        """The cost of all tasks together."""
        return Cost(*(sum(column) for column in zip(*self.tasks.values(), strict=True)))


class Speed(NamedTuple):
    """The speed of a device with one dtype."""

    flops: float
    """Floating-point operations per second of a matrix product."""
    bytes_per_second: float
    """Bytes of memory read per second."""


def forecast(references: Sequence[CheckpointReference], options: Options) -> list[Forecast]:
    """Return the cost of running each checkpoint; tokenizers and data are read, weights are not.

    Raises HarnessError for the mistakes that `harness.runs.sweep.run` finds without weights.
    """
    with progress.status("reading the tasks' data"):
        catalogue = Catalogue(options.include, options.comparisons)
        located_checkpoints = locate(references, options, catalogue)
        templates = [checks.before_loading(located, options) for located in located_checkpoints]
        tasks = load_tasks(catalogue, options)
    forecasts = []
    for located, template in zip(located_checkpoints, templates, strict=True):
        if template is not None:
            checks.require_history(template, tasks)
        lm = HarnessLM(_without_weights(located), template_arguments=template_arguments(located, options))
        costs: dict[str, Cost] = {}
        with progress.bar(located.name, len(tasks.tasks), "tasks") as bar:
            for name, task in tasks.tasks.items():
                bar.title(f"{located.name} · {name}")
                begin(task, lm, options)
                settings = prompt_settings(options)
                chat = lm.apply_chat_template if options.apply_chat_template else None
                costs[name] = lm.cost(task.build_requests(limit=options.limit, chat_template=chat, **settings))
                task.release_requests()
                bar.advance(1)
        forecasts.append(_forecast(located, costs, lm))
    return forecasts


def measure(device: torch.device, dtype: torch.dtype) -> Speed:
    """Return the speed of `device` with `dtype`, measured in about half a second."""
    size = 2048 if device.type == "cpu" else 8192
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    flops = 2 * size**3 / _seconds(lambda: left @ right, device)
    vector = torch.randn(1, size, device=device, dtype=dtype)
    return Speed(flops, right.nbytes / _seconds(lambda: vector @ right, device))


def _forecast(located: Located, costs: dict[str, Cost], lm: HarnessLM) -> Forecast:
    size = configs.size(located)
    weight_bytes = quantization.expected_bytes(located.quantization, size.parameters, size.body, located.dtype.itemsize)
    speed = measure(located.device, located.dtype)
    tokens = sum(cost.tokens for cost in costs.values())
    generated = sum(cost.generated_at_most for cost in costs.values())
    prefill = 2 * size.body * tokens / (speed.flops * EFFICIENCY)
    # A decoding step reads the weights once for all its rows; its arithmetic may take longer than that.
    step = max(weight_bytes / speed.bytes_per_second / lm.engine.rows, 2 * size.parameters / (speed.flops * EFFICIENCY))
    memory_bytes = weight_bytes + _activation_bytes(located, lm)
    if generated:
        memory_bytes += _cache_bytes(located, tokens + generated, weight_bytes)
    return Forecast(located.name, costs, prefill + generated * step, memory_bytes, size.parameters)


def _activation_bytes(located: Located, lm: HarnessLM) -> int:
    """Return the bytes of a batch's activations.

    These are, for each token, a few vectors as wide as the hidden and the widest layer, and the float logits of the
    rows that are scored.
    """
    text = configs.text_config(located.config)
    width = 8 * int(text.hidden_size) + 3 * int(getattr(text, "intermediate_size", None) or 4 * text.hidden_size)
    return lm.engine.pack_tokens * width * located.dtype.itemsize + 2 * lm.engine.pack_rows * int(text.vocab_size) * 4


def _cache_bytes(located: Located, tokens: int, weight_bytes: int) -> int:
    """Return the bytes of keys and values of answers that are decoded side by side, `tokens` long in total."""
    text = configs.text_config(located.config)
    token_bytes = 2 * int(text.num_hidden_layers) * int(text.hidden_size) * located.dtype.itemsize
    free = free_bytes(located.device) - weight_bytes
    return min(cache_bytes(weight_bytes, located.device.type, free), tokens * token_bytes)


def _without_weights(located: Located) -> Checkpoint:
    return Checkpoint(located, None, loading.load_tokenizer(located), fingerprint="", eos_ids=(), parameters=0)


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds that one call of `work` takes: the fastest of three after one that is not counted."""

    def once() -> float:
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    once()
    return min(once() for _ in range(3))
