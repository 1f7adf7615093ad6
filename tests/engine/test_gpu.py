"""`make gpu`: every kind of checkpoint on a CUDA device answers as the libraries do there, and as on the CPU.

Needs torch, transformers, peft, accelerate, safetensors and pytest, and bitsandbytes for quantised kinds; neither
lm-eval nor data. Writes a dated table to reports/.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.engine.decoding.settings import Settings
from harness.engine.engine import Engine
from harness.engine.requests import LogLikelihood, Pair, Prompt
from harness.engine.walks import Walk
from support import architectures
from support.architectures import ARCHITECTURES, Oracle
from tolerances import BF16_LOGLIKELIHOOD, FP32_LOGLIKELIHOOD

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
REPORTS = Path(__file__).resolve().parents[2] / "reports"
PLAIN = ("base", *architectures.ADAPTERS)
QUANTIZED = [
    *(("base", quantize) for quantize in ("int8", "int4", "fp4")),
    *((method, quantize) for quantize in ("int8", "int4") for method in ("lora", "prefix")),
    *((method, "int4") for method in ("dora", "prompt", "ptuning")),
]
Folders = dict[tuple[str, str], Path]
needs_bitsandbytes = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Return folders by architecture and kind, created at their first use."""
    root = tmp_path_factory.mktemp("architectures")

    class CreatedFolders(dict[tuple[str, str], Path]):
        def __missing__(self, key: tuple[str, str]) -> Path:
            name, kind = key
            folder = root / f"{name}-{kind}"
            if kind == "base":
                self[key] = architectures.base(folder, name)
            else:
                self[key] = architectures.adapter(folder, self[name, "base"], name, kind)
            return self[key]

    return CreatedFolders()


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Yield the rows of a report, which is written at the end."""
    rows: list[str] = []
    yield rows
    if rows:
        today = datetime.now(UTC).date().isoformat()
        about = f"`make gpu` on {torch.cuda.get_device_name()}, torch {torch.__version__}. Largest differences of "
        lines = [
            f"# Checkpoint kinds on a GPU, {today}",
            "",
            about
            + "log-likelihoods, one prompt at a time by the libraries against all in one pack by this project; in "
            "bf16 against one prompt at a time by this project.",
            "",
            "| architecture | kind | weights | fp32, absolute | bf16, relative |",
            "|---|---|---|---|---|",
            *rows,
        ]
        (REPORTS / f"{today}-gpu.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def load(folders: Folders, name: str, kind: str, dtype: str, quantize: str | None) -> Checkpoint:
    base = folders[name, "base"]
    adapter = None if kind == "base" else str(folders[name, kind])
    reference = CheckpointReference(str(base), adapter=adapter, dtype=dtype, quantize=quantize, device="cuda")
    return loading.load(loading.locate(reference))


def random_pairs() -> list[Pair]:
    chance = random.Random(0)
    return [
        Pair(chance.choices(range(3, 380), k=n), chance.choices(range(3, 380), k=m)) for n in (1, 7, 33) for m in (1, 5)
    ]


def score(engine: Engine) -> list[LogLikelihood]:
    pairs = random_pairs()
    answers = {i: answer for batch in engine.score(pairs, [True] * len(pairs)) for i, answer in batch.answers}
    return [answers[i] for i in range(len(pairs))]


def decode(engine: Engine) -> list[str]:
    prompts = [Prompt(pair.context, Settings(max_tokens=6)) for pair in random_pairs()]
    answers = {i: answer.text for batch in engine.decode(prompts, [True] * len(prompts)) for i, answer in batch.answers}
    return [answers[i] for i in range(len(prompts))]


def check(folders: Folders, table: list[str], name: str, kind: str, quantize: str | None = None) -> None:
    checkpoint = load(folders, name, kind, "float32", quantize)
    oracle = Oracle(folders[name, "base"], None if kind == "base" else folders[name, kind], quantize, device="cuda")
    expected = [oracle.logprob(*pair[:2]) for pair in random_pairs()]
    engine = Engine(checkpoint)
    assert engine.walk_choice.walk == (Walk.PLAIN if checkpoint.rounds_activations else Walk.PACK)
    scores, texts = score(engine), decode(engine)
    difference = max(abs(ours.logprob - logprob) for ours, (logprob, _) in zip(scores, expected, strict=True))
    ids = [oracle.greedy(pair.context, 6, checkpoint.eos_ids) for pair in random_pairs()]
    half = load(folders, name, kind, "bfloat16", quantize)
    together, alone = score(Engine(half)), score(Engine(half, batch_tokens=1, walk=Walk.PLAIN))
    share = max(abs(a.logprob - b.logprob) / abs(b.logprob) for a, b in zip(together, alone, strict=True))
    table.append(f"| {name} | {kind} | {quantize or 'as they are'} | {difference:.1e} | {share:.1e} |")
    assert difference <= FP32_LOGLIKELIHOOD
    assert [ours.greedy for ours in scores] == [greedy for _, greedy in expected]
    assert texts == [checkpoint.tokenizer.decode(answer, skip_special_tokens=True) for answer in ids]
    assert share <= BF16_LOGLIKELIHOOD


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_answers_as_the_libraries_do_on_the_device(folders: Folders, table: list[str], name: str, kind: str) -> None:
    check(folders, table, name, kind)


@needs_bitsandbytes
@pytest.mark.parametrize(("kind", "quantize"), QUANTIZED)
@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2"])
def test_quantised_it_answers_as_the_libraries_do(
    folders: Folders, table: list[str], name: str, kind: str, quantize: str
) -> None:
    check(folders, table, name, kind, quantize)


@pytest.mark.parametrize("kind", ["base", "lora", "prefix", "prompt"])
def test_fp32_answers_on_the_gpu_equal_those_on_the_cpu(folders: Folders, kind: str) -> None:
    oracle = Oracle(folders["llama", "base"], None if kind == "base" else folders["llama", kind])
    for ours, pair in zip(score(Engine(load(folders, "llama", kind, "float32", None))), random_pairs(), strict=True):
        logprob, greedy = oracle.logprob(*pair[:2])
        assert abs(ours.logprob - logprob) <= FP32_LOGLIKELIHOOD
        assert ours.greedy == greedy


@needs_bitsandbytes
def test_memory_decreases_with_fewer_bits(folders: Folders) -> None:
    formats = (("float32", None), ("bfloat16", None), ("bfloat16", "int8"), ("bfloat16", "int4"))
    sizes = [load(folders, "llama", "base", dtype, quantize).memory_bytes for dtype, quantize in formats]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
