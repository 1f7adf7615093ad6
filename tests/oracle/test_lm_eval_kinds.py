"""Every kind of checkpoint that lm-eval loads, too, on real C-Eval and GSM8K documents; `make oracle` asks more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from harness.tasks.catalogue import Catalogue
from support import architectures, measured, tiny
from support import lm_eval_peer as peer
from tolerances import FP32_LOGLIKELIHOOD

pytestmark = pytest.mark.data

KINDS = [
    *((method, None) for method in ("dora", "modules_to_save", "prefix", "projected", "ptuning", "prompt")),
    *(("base", how) for how in ("int8", "int4", "fp4")),
    *((method, how) for method in ("lora", "prefix") for how in ("int8", "int4")),
]
SAMPLE = [("prefix", None), ("ptuning", None), ("base", "int8"), ("lora", "int4")]
TASKS = [("ceval", 52), ("gsm8k", 8)]
REPORT = Path(__file__).resolve().parents[2] / "reports" / f"{date.today():%Y-%m-%d}-oracle-checkpoint-kinds.md"
HEAD = """# Every kind of checkpoint against lm-eval, {today}

Made by `make oracle`. {versions}; Python {python} on {machine}, CPU, fp32.

Real documents, 5-shot, the same requests put to this project's engine and to lm-eval's `HFLM` at batch size 1 with
`logits_cache=False`: adapters through `peft=`, quantised models as transformers and PEFT load them
(int8 with threshold 0, 4 bits computing in float32). A random three-layer LLaMA with grouped-query attention and a 32k
vocabulary. The tolerance is {tolerance:g} absolute; decisions are greedy flags and generated texts (up to 256 tokens).

| task | kind | weights | documents | requests | largest difference of log-likelihoods | decisions that differ |
|---|---|---|---|---|---|---|
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, Path]:
    """The base, and an adapter of every method on it."""
    root = tmp_path_factory.mktemp("checkpoints")
    base = tiny.llama(root / "base", tiny.bench_tokenizer(data), context=4096, num_hidden_layers=3)
    methods = dict.fromkeys(kind for kind, _ in KINDS if kind != "base")
    return {"base": base} | {method: architectures.adapter(root / method, base, "llama", method) for method in methods}


@pytest.fixture(scope="module")
def report() -> Iterator[list[str]]:
    rows: list[str] = []
    yield rows
    if rows:
        packages = ("lm_eval", "torch", "transformers", "peft", "bitsandbytes")
        head = HEAD.format(
            **measured.on(*packages),
            tolerance=FP32_LOGLIKELIHOOD,
        )
        REPORT.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")


def compared(
    folders: dict[str, Path], data: Path, kind: str, quantize: str | None, task: str, documents: int
) -> peer.Comparison:
    instances = peer.requests(Catalogue().load([task], data, num_fewshot=5), documents)
    mine, theirs = peer.ours(folders[kind], quantize), peer.theirs(folders[kind], quantize)
    return peer.compare(mine, theirs, instances)


@pytest.mark.oracle
@pytest.mark.parametrize(("kind", "quantize"), KINDS)
@pytest.mark.parametrize(("task", "documents"), TASKS)
def test_every_kind_is_answered_as_lm_eval_answers_it(
    folders: dict[str, Path], data: Path, report: list[str], kind: str, quantize: str | None, task: str, documents: int
) -> None:
    comparison = compared(folders, data, kind, quantize, task, documents)
    largest = "–" if comparison.largest is None else f"{comparison.largest:.1e}"
    report.append(
        f"| {task} | {kind} | {quantize or 'as they are'} | {documents} | {comparison.requests:,} | {largest} | "
        f"{comparison.cell} |"
    )
    assert comparison.decisions == 0
    assert comparison.largest is None or comparison.largest <= FP32_LOGLIKELIHOOD


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("kind", "quantize"), SAMPLE)
def test_a_sample_of_them_is(folders: dict[str, Path], data: Path, kind: str, quantize: str | None) -> None:
    comparison = compared(folders, data, kind, quantize, "ceval_law", 2)
    assert comparison.decisions == 0
    assert comparison.largest is not None
    assert comparison.largest <= FP32_LOGLIKELIHOOD
