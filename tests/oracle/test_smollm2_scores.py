"""`make oracle`: the scores of a real checkpoint, SmolLM2-135M-Instruct as a GGUF file, beside published ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from harness.checkpoints.reference import parse
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.sweep import run
from oracle import smollm2
from support import measured

pytestmark = [pytest.mark.oracle, pytest.mark.data]

PUBLISHED = {"acc": 0.663, "acc_norm": 0.668}
"""PIQA on the same weights in Q8_0, by lm-eval 0.4.9.1 (ggml-org/llama.cpp#15189)."""
ROUNDING_TO_4_BITS = 0.02
"""What rounding to 4 bits instead of 8 may change besides the sampling error: two points."""
REPORT = Path(__file__).resolve().parents[2] / "reports" / f"{date.today():%Y-%m-%d}-oracle-smollm2.md"
HEAD = """# A real checkpoint: the scores of SmolLM2-135M-Instruct, {today}

Made by `make oracle`. {versions}; Python {python} on {machine}, CPU, fp32.
The model is the Q4_1 GGUF file of the package {package}. Published: PIQA on the same weights in Q8_0, by lm-eval, acc
66.3 %, acc_norm 66.8 %; GSM8K, 5-shot, 1.4 %. Chance on MMLU and C-Eval is 25 %.

Whole PIQA, the first four documents of each subject of MMLU and C-Eval, 0-shot, and the first documents of the others.
Empty, cut and not understood are shares of the generated answers.

| task | documents | metric | score | 95 % interval | empty | cut | not understood | tokens read | generated | seconds |
|---|---|---|---|---|---|---|---|---|---|---|
"""


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """Collect the rows of the report, and write it at the end."""
    collected: list[str] = []
    yield collected
    packages = ("lm_eval", "torch", "transformers", "gguf")
    head = HEAD.format(
        **measured.on(*packages),
        package=smollm2.PACKAGE.replace("==", " "),
    )
    REPORT.write_text(head + "\n".join(collected) + "\n", encoding="utf-8")


def evaluate(file: Path, options: Options) -> Report:
    """Return the report of the model."""
    [report] = run([parse(str(file))], options)
    return report


def rows_of(report: Report, task: str, label: str | None = None) -> list[str]:
    """Return a row for every mean of `task`; `label` replaces its name."""
    parts = report.manifest.tasks.values()
    answers = sum(part.answers for part in parts)
    counts = [sum(getattr(part, name) or 0 for part in parts) for name in ("empty_answers", "cut_answers")]
    known = [part.not_understood for part in parts if part.not_understood is not None]
    shares = [f"{count / answers:.0%}" if answers else "–" for count in counts]
    shares.append(f"{sum(known) / answers:.0%}" if known and answers else "–")
    work = [
        f"{sum(getattr(part, name) for part in parts):,.0f}" for name in ("tokens_fed", "tokens_generated", "seconds")
    ]
    return [
        f"| {label or task} | {score.n:,} | {score.metric}{'' if score.filter == 'none' else f' ({score.filter})'} | "
        f"{score.value:.1%} | {score.low:.1%} to {score.high:.1%} | {' | '.join((*shares, *work))} |"
        for score in report.manifest.scores
        if score.task == task and score.fraction and score.low is not None
    ]


def test_piqa_is_as_published(smollm2_file: Path, data: Path, tmp_path: Path, rows: list[str]) -> None:
    report = evaluate(smollm2_file, Options(("piqa",), tmp_path, data=data))
    rows += rows_of(report, "piqa")
    scores = {score.metric: score for score in report.manifest.scores}
    for metric, published in PUBLISHED.items():
        score = scores[metric]
        assert score.n == 1838
        assert score.low - ROUNDING_TO_4_BITS <= published <= score.high + ROUNDING_TO_4_BITS, metric


@pytest.mark.parametrize(("task", "subjects"), [("mmlu", 57), ("ceval", 52)])
def test_exams_in_letters_are_near_chance(
    smollm2_file: Path, data: Path, tmp_path: Path, rows: list[str], task: str, subjects: int
) -> None:
    report = evaluate(smollm2_file, Options((task,), tmp_path, data=data, limit=4, num_fewshot=0))
    rows += rows_of(report, task)
    score = next(score for score in report.manifest.scores if score.task == task and score.primary)
    assert score.n == subjects * 4
    assert score.low <= 0.28
    assert score.high >= 0.22
    assert not any(part.truncated for part in report.manifest.tasks.values())


@pytest.mark.parametrize("is_chat", [False, True])
def test_sums_are_hardly_ever_solved(
    smollm2_file: Path, data: Path, tmp_path: Path, rows: list[str], is_chat: bool
) -> None:
    report = evaluate(
        smollm2_file, Options(("gsm8k_fixed",), tmp_path, data=data, limit=50, apply_chat_template=is_chat)
    )
    rows += rows_of(report, "gsm8k_fixed", f"gsm8k_fixed, 8-shot, {'with' if is_chat else 'without'} chat template")
    info = report.manifest.tasks["gsm8k_fixed"]
    assert info.answers == info.documents == 50
    assert info.empty_answers == 0
    assert all(score.low <= 0.05 for score in report.manifest.scores)


@pytest.mark.parametrize("task", ["adgen", "cluener_sentences"])
def test_answers_are_counted_as_they_are(
    smollm2_file: Path, data: Path, tmp_path: Path, rows: list[str], task: str
) -> None:
    """The model hardly knows Chinese; the ledger must say what became of its answers."""
    options = Options((task,), tmp_path, data=data, limit=12, apply_chat_template=True, max_gen_toks=96)
    report = evaluate(smollm2_file, options)
    rows += rows_of(report, task, f"{task}, with chat template")
    samples = report.samples(task)
    texts = [responses[0] for responses in samples["responses"]]
    info = report.manifest.tasks[task]
    assert info.empty_answers == sum(not text.strip() for text in texts)
    assert info.cut_answers == sum(endings[0] == "limit" for endings in samples["endings"])
    assert not any("<|im_" in text for text in texts)
