"""`make gpu`: a CUDA device answers as the CPU does. Needs torch, transformers, peft and pytest; no lm-eval."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import tiny
import torch
from tolerances import BF16_LOGLIKELIHOOD, FP32_LOGLIKELIHOOD

from harness.checkpoints import loading
from harness.checkpoints.loading import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.engine import decoding, scoring
from harness.engine.encoding import Pair
from harness.engine.scoring import LogLikelihood

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@pytest.fixture(scope="module", params=["base", "lora"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    base = tiny.llama(models / "base")
    return base if request.param == "base" else tiny.lora(models / "lora", base)


def load(folder: Path, device: str, dtype: str) -> Checkpoint:
    return loading.load(loading.locate(CheckpointReference(str(folder), device=device, dtype=dtype)))


def questions() -> list[Pair]:
    chance = random.Random(0)
    return [
        Pair(chance.choices(range(3, 384), k=n), chance.choices(range(3, 384), k=m)) for n in (1, 7, 60) for m in (1, 5)
    ]


def scored(checkpoint: Checkpoint, batch_tokens: int) -> list[LogLikelihood]:
    asked, answers = questions(), {}
    for batch in scoring.plan(asked, checkpoint.max_length, batch_tokens):
        answers.update(scoring.score(checkpoint.model, batch, asked, checkpoint.device))
    return [answers[i] for i in range(len(asked))]


def test_fp32_on_the_gpu_is_fp32_on_the_cpu(folder: Path) -> None:
    for ours, theirs in zip(
        scored(load(folder, "cuda", "float32"), 400), scored(load(folder, "cpu", "float32"), 1), strict=True
    ):
        assert abs(ours.logprob - theirs.logprob) <= FP32_LOGLIKELIHOOD
        assert ours.greedy == theirs.greedy


def test_bf16_does_not_depend_on_the_batch_beyond_its_tolerance(folder: Path) -> None:
    checkpoint = load(folder, "cuda", "bfloat16")
    for together, alone in zip(scored(checkpoint, 400), scored(checkpoint, 1), strict=True):
        assert abs(together.logprob - alone.logprob) <= BF16_LOGLIKELIHOOD * abs(alone.logprob)


def test_greedy_text_on_the_gpu_is_the_cpus(folder: Path) -> None:
    how = decoding.Settings(max_tokens=16)
    prompts = [decoding.Prompt(pair.context, how) for pair in questions()]
    texts = []
    for device in ("cuda", "cpu"):
        one = load(folder, device, "float32")
        found = decoding.decode(one.model, one.tokenizer, prompts, one.eos_ids, one.max_length, 0)
        texts.append([continuation.text for continuation in found])
    assert texts[0] == texts[1]
