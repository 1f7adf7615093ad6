"""`make gpu`: generation on a CUDA device beside transformers' own, and the dated table of it.

The prompts have the shapes of `tests/benchmarks/generation`, in random ids for a random model, since neither data nor a
trained model can be had there. Steps and rows of a step depend on no clock. Needs torch and transformers only.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import GenerationConfig

from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.engine.decoding.settings import Settings
from harness.engine.engine import Engine
from harness.engine.requests import Prompt
from support import steps, tiny

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
REPORTS = Path(__file__).resolve().parents[2] / "reports"
BATCHES = (4, 16, 64)
"""Batch sizes at which transformers is tried."""


class Line(NamedTuple):
    """Prompts of one shape."""

    title: str
    prompts: int
    shared: int
    """Tokens that all prompts have in common."""
    own: int
    """Tokens of each prompt behind them."""
    answer: int
    """Tokens of each answer."""

    def build(self, vocabulary: int) -> list[Prompt]:
        """Return the prompts, whose lengths differ by up to a fifth."""
        generator = random.Random(self.own)
        common = [generator.randrange(3, vocabulary) for _ in range(self.shared)]
        return [
            Prompt(
                [*common, *(generator.randrange(3, vocabulary) for _ in range(self.own + i % (self.own // 5 + 1)))],
                Settings(max_tokens=self.answer),
            )
            for i in range(self.prompts)
        ]


LINES = [
    Line("GSM8K, drawn shots", 64, 0, 1000, 128),
    Line("GSM8K, fixed shots", 64, 800, 80, 128),
    Line("long single prompts, long answers", 32, 0, 2000, 256),
    Line("short prompts", 128, 30, 60, 128),
]


class Result(NamedTuple):
    """What both sides spent on a line."""

    seconds: float
    seconds_without_drafts: float
    steps: int
    rows: int
    tokens: int
    their_seconds: float
    their_batch: int


def measure(checkpoint: Checkpoint, prompts: Sequence[Prompt], batches: Sequence[int]) -> Result:
    """Decode `prompts` by this project's engine and by transformers at its best of the batch sizes."""
    engine = Engine(checkpoint)
    list(engine.decode([_shortened(prompts[0])], [True]))  # probes and compiles
    with steps.counted() as rows:
        seconds, tokens = _decode(engine, prompts)
    engine.step_tokens = 1
    without_drafts, _ = _decode(engine, prompts)
    theirs = {batch: _generate(checkpoint, prompts, batch) for batch in batches}
    best = min(theirs, key=lambda batch: theirs[batch])
    return Result(seconds, without_drafts, len(rows), sum(rows), tokens, theirs[best], best)


def _decode(engine: Engine, prompts: Sequence[Prompt]) -> tuple[float, int]:
    """Return the seconds that `engine` takes for all answers, and their tokens."""
    started = time.perf_counter()
    tokens = sum(batch.tokens_generated for batch in engine.decode(prompts, [True] * len(prompts)))
    return time.perf_counter() - started, tokens


def _shortened(prompt: Prompt) -> Prompt:
    return prompt._replace(settings=replace(prompt.settings, max_tokens=2))


def _generate(checkpoint: Checkpoint, prompts: Sequence[Prompt], batch: int) -> float:
    """Return the seconds that transformers takes for greedy answers in left-padded batches, the longest first."""
    model: Any = checkpoint.model
    ordered = sorted(prompts, key=lambda prompt: -len(prompt.ids))
    groups = [ordered[start : start + batch] for start in range(0, len(ordered), batch)]
    _generate_batch(checkpoint, model, groups[-1][:1])  # a warm-up
    started = time.perf_counter()
    for group in groups:
        _generate_batch(checkpoint, model, group)
    return time.perf_counter() - started


def _generate_batch(checkpoint: Checkpoint, model: Any, group: Sequence[Prompt]) -> None:
    longest, limit = max(len(prompt.ids) for prompt in group), group[0].settings.max_tokens
    ids, mask = (torch.zeros(len(group), longest, dtype=torch.long, device=checkpoint.device) for _ in range(2))
    for row, prompt in enumerate(group):
        ids[row, longest - len(prompt.ids) :] = torch.tensor(prompt.ids, device=checkpoint.device)
        mask[row, longest - len(prompt.ids) :] = 1
    config = GenerationConfig(max_new_tokens=limit, min_new_tokens=limit, do_sample=False, pad_token_id=0)
    with torch.inference_mode():
        model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    if checkpoint.device.type == "cuda":
        torch.cuda.synchronize()


def endless(folder: Path, *, device: str, **sizes: Any) -> Checkpoint:
    """Return a random LLaMA of these `sizes` in bfloat16 that never ends an answer."""
    reference = CheckpointReference(str(tiny.llama(folder, **sizes)), dtype="bfloat16", device=device)
    checkpoint = loading.load(loading.locate(reference))
    with torch.no_grad():
        checkpoint.model.get_output_embeddings().weight[checkpoint.eos_ids] = 0
    return checkpoint


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Yield the rows of a report, which is written at the end."""
    rows: list[str] = []
    yield rows
    if len(rows) == len(LINES):
        today = datetime.now(UTC).date().isoformat()
        about = HEADER.format(today=today, device=torch.cuda.get_device_name(), torch=torch.__version__)
        (REPORTS / f"{today}-generation-gpu.md").write_text("\n".join([about, *rows, ""]), encoding="utf-8")


HEADER = """# Generation on a GPU, {today}

`make gpu` on {device}, torch {torch}: greedy answers of a random LLaMA (24 layers, 1,024 wide, 151,936
tokens) in bfloat16 to random prompts, by this project's engine and by transformers' `generate` at the best of the batch
sizes 4, 16 and 64. Answers never end before their limit. Random texts run in circles, which flatters drafts: the time
without them stands beside.

| line | prompts × ids | answer | ours, s | without drafts, s | transformers, s | steps | rows a step | tokens a row |
|---|---|---|---|---|---|---|---|---|"""


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.title)
def test_generation_is_not_slower_than_transformers(line: Line, table: list[str], tmp_path: Path) -> None:
    sizes = {"vocab_size": 151_936, "hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 24}
    heads = {"num_attention_heads": 16, "num_key_value_heads": 8, "initializer_range": 0.02}
    checkpoint = endless(tmp_path / "base", device="cuda", context=4096, **sizes, **heads)
    result = measure(checkpoint, line.build(sizes["vocab_size"]), BATCHES)
    table.append(
        f"| {line.title} | {line.prompts} × {line.shared + line.own:,} | {line.answer} | {result.seconds:.1f} "
        f"| {result.seconds_without_drafts:.1f} | {result.their_seconds:.1f} (batch {result.their_batch}) "
        f"| {result.steps:,} | {result.rows / result.steps:.1f} | {(result.tokens - line.prompts) / result.rows:.2f} |"
    )
    print(table[-1])
    assert result.tokens == line.prompts * line.answer
    assert result.seconds_without_drafts <= 1.2 * result.their_seconds


def test_the_measurement_counts_what_is_decoded(tmp_path: Path) -> None:
    """On any machine, so that what `make gpu` runs is known to run."""
    checkpoint = endless(tmp_path / "base", device="cpu", context=256)
    line = Line("a few", 3, 20, 30, 6)
    result = measure(checkpoint, line.build(384), (2,))
    assert result.tokens == 3 * 6
    assert 0 < result.steps <= result.rows <= 3 * 5
    assert result.their_batch == 2
