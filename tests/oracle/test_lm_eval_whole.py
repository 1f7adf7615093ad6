"""`make oracle`: 200 real documents a task against lm-eval, prompts of whole benchmarks, and the dated report of it."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.tasks.catalogue import Catalogue
from support import lm_eval_peer as peer
from support import mirrors, tiny
from tolerances import FP32_LOGLIKELIHOOD

pytestmark = [pytest.mark.oracle, pytest.mark.data]

DOCUMENTS = 200
REPORT = Path(__file__).resolve().parents[2] / "reports" / f"{date.today():%Y-%m-%d}-oracle-lm-eval.md"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    base = tiny.llama(folder / "base", tiny.bench_tokenizer(data), context=4096, num_hidden_layers=3)
    return {"base": base, "lora": tiny.lora(folder / "lora", base)}


@pytest.fixture(scope="module")
def report() -> Iterator[dict[str, list[str]]]:
    rows: dict[str, list[str]] = {ANSWERS: [], PROMPTS: []}
    yield rows
    tables = [f"{title}\n" + "\n".join(lines) for title, lines in rows.items() if lines]
    REPORT.write_text("\n\n".join([HEADER.format(**_machine()), *tables]) + "\n", encoding="utf-8")


@pytest.mark.parametrize("kind", ["base", "lora"])
@pytest.mark.parametrize("task", ["ceval", "mmlu", "gsm8k"])
def test_every_request_is_answered_as_lm_eval_answers_it(
    checkpoints: dict[str, Path], data: Path, report: dict[str, list[str]], kind: str, task: str
) -> None:
    instances = peer.requests(Catalogue().load([task], data, num_fewshot=5), DOCUMENTS)
    comparison = peer.compare(peer.ours(checkpoints[kind]), peer.theirs(checkpoints[kind]), instances)
    row = (
        task,
        kind,
        str(DOCUMENTS),
        f"{comparison.requests:,}",
        "–" if comparison.largest is None else f"{comparison.largest:.1e}",
        comparison.cell,
    )
    report[ANSWERS].append(f"| {' | '.join(row)} |")
    assert comparison.decisions == 0
    assert comparison.largest is None or comparison.largest <= FP32_LOGLIKELIHOOD


@pytest.mark.parametrize("limit", [None, 10])
@pytest.mark.parametrize("name", ["mmlu", "gsm8k", "gsm8k_cot", "cmmlu"])
def test_prompts_are_stock_lm_evals_to_the_byte(
    data: Path, report: dict[str, list[str]], name: str, limit: int | None
) -> None:
    mine = mirrors.tasks([name], data)
    theirs = peer.stock(name, data, whole_tree=True)
    assert list(mine) == list(theirs)
    count = 0
    for task in mine:
        prompts, expected = peer.arguments(mine[task], limit), peer.arguments(theirs[task], limit)
        assert prompts == expected, task
        count += len(prompts)
    report[PROMPTS].append(f"| {name} | {len(mine)} | {limit or 'none'} | {count:,} | 0 |")


def _machine() -> dict[str, str]:
    packages = ("lm_eval", "torch", "transformers", "peft")
    return {
        "date": f"{date.today():%Y-%m-%d}",
        "versions": ", ".join(f"{name} {version(name)}" for name in packages),
        "python": f"Python {platform.python_version()} on {platform.machine()}, CPU, fp32",
    }


HEADER = """# Equality with lm-eval, {date}

Made by `make oracle`. {versions}; {python}."""
ANSWERS = f"""## Answers

{DOCUMENTS} documents a task, spread over all its subjects, 5-shot. The same requests put to this project's engine and
to lm-eval's `HFLM` at batch size 1 with `logits_cache=False`: a random three-layer LLaMA with grouped-query attention
and a 32k vocabulary, and a LoRA on it. The tolerance is {FP32_LOGLIKELIHOOD:g} absolute; decisions are greedy flags and
generated texts (up to 256 tokens). A text that leaves lm-eval's where its two best logits are equal within the
tolerance is a tie, and no decision.

| task | checkpoint | documents | requests | largest difference of log-likelihoods | decisions that differ |
|---|---|---|---|---|---|"""
PROMPTS = """## Prompts

Every argument of every request (prompt, continuation, generation settings) compared with what stock lm-eval builds
from its whole task tree, byte for byte.

| task | subtasks | limit | requests | that differ |
|---|---|---|---|---|"""
