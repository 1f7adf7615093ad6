"""`make oracle`: every kind of one real checkpoint beside lm-eval's own model, and beside each other.

SmolLM2-135M-Instruct as a GGUF file, as the same weights saved in bf16, with a LoRA trained on those, and in int8 and
int4: its requests are put to lm-eval's HFLM on the same weights; its reports go through journal, compare and gate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness.cli
from harness.checkpoints import gguf
from harness.checkpoints.reference import parse
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.catalogue import Catalogue
from oracle import smollm2
from support import lm_eval_peer as peer
from support import measured
from tolerances import FP32_LOGLIKELIHOOD

pytestmark = [pytest.mark.oracle, pytest.mark.data]

REQUESTS = {"piqa": 8, "mmlu": 4, "ceval": 4, "gsm8k": 1, "adgen": 2, "cluener_sentences": 1}
"""Documents of each task whose requests are put to lm-eval's model, too."""
TOKENS = 48
"""The limit of their answers."""
SAMPLE = 100
"""Documents of PIQA that every kind of checkpoint answers."""
PAIRS = [
    ("gguf in bf16", "bf16"),
    ("gguf", "bf16 in fp32"),
    ("bf16 in fp32", "bf16"),
    ("bf16 in fp32", "int8"),
    ("bf16 in fp32", "int4"),
    ("bf16 in fp32", "lora"),
]
SAME_WEIGHTS = PAIRS[0]
ROUNDED_WEIGHTS = PAIRS[1]
"""Weights of 4 bits times a scale, and the same after rounding to bf16: no decision changes."""
ROWS = [{"prompt": f"Spell {n}.", "completion": f" {word}"} for n, word in enumerate(("zero", "one", "two", "three"))]
REPORT = Path(__file__).resolve().parents[2] / "reports" / f"{date.today():%Y-%m-%d}-oracle-smollm2-kinds.md"
HEAD = """# A real checkpoint of every kind: SmolLM2-135M-Instruct, {today}

Made by `make oracle`. {versions};
Python {python} on {machine}, CPU. The model is the Q4_1 GGUF file of the package {package}; bf16 is a plain
model of its dequantised weights, which the LoRA, int8 and int4 build on.

## Against lm-eval

The same requests put to this project's engine and to lm-eval's `HFLM` at batch size 1 with `logits_cache=False` on the
same weights: float32, 0-shot, answers of up to {tokens} tokens. The tolerance is {tolerance:g} absolute; decisions are
greedy flags and generated texts.

| checkpoint | task | requests | largest difference of log-likelihoods | decisions that differ |
|---|---|---|---|---|
{requests}

## Against each other

The first {sample} documents of PIQA. Verdicts are the gate's, with its margin of 2 points.

| baseline | candidate | largest difference of log-likelihoods | documents lost, gained | verdict |
|---|---|---|---|---|
{pairs}
"""


@dataclass
class Rows:
    """The rows of the report's tables."""

    requests: list[str] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def rows() -> Iterator[Rows]:
    """Collect the rows of the report, and write it at the end."""
    collected = Rows()
    yield collected
    packages = ("lm_eval", "torch", "transformers", "peft", "bitsandbytes", "gguf")
    text = HEAD.format(
        **measured.on(*packages),
        package=smollm2.PACKAGE.replace("==", " "),
        tokens=TOKENS,
        tolerance=FP32_LOGLIKELIHOOD,
        sample=SAMPLE,
        **{name: "\n".join(lines) for name, lines in vars(collected).items()},
    )
    REPORT.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def saved(smollm2_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights, dequantised by transformers and saved in bf16 by a plain model."""
    from transformers import LlamaForCausalLM

    folder = tmp_path_factory.mktemp("smollm2") / "bf16"
    plain = LlamaForCausalLM(gguf.config(smollm2_file))
    plain.load_state_dict(dequantised(smollm2_file).state_dict())
    plain.to(torch.bfloat16).save_pretrained(folder)
    gguf.tokenizer(smollm2_file).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def lora(saved: Path) -> Path:
    """A LoRA of rank 4 after eight steps of `harness train`."""
    root = saved.parent
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    stage = "{from: bf16, method: lora, corpora: {rows: 1}, steps: 8, batch: 4, rank: 4, learning_rate: 1.0e-3}"
    (root / "recipe.yaml").write_text(f"corpora: {{rows: rows.jsonl}}\nstages:\n  lora: {stage}\n", encoding="utf-8")
    assert harness.cli.main(["train", str(root / "recipe.yaml"), "-o", str(root / "trained")]) == 0
    return root / "trained" / "lora"


@pytest.fixture(scope="module")
def references(smollm2_file: Path, saved: Path, lora: Path) -> dict[str, str]:
    """Every kind of checkpoint by its name in the report."""
    return {
        "gguf": f"{smollm2_file},name=gguf",
        "gguf in bf16": f"{smollm2_file},dtype=bfloat16,name=gguf-bf16",
        "bf16": f"{saved},dtype=bfloat16,name=bf16",
        "bf16 in fp32": f"{saved},name=bf16-fp32",
        "lora": f"{saved},adapter={lora},name=lora",
        "int8": f"{saved},quantize=int8,name=int8",
        "int4": f"{saved},quantize=int4,name=int4",
    }


@pytest.fixture(scope="module")
def options(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Options:
    return Options(("piqa",), tmp_path_factory.mktemp("reports"), data=data, limit=SAMPLE)


@pytest.fixture(scope="module")
def reports(references: dict[str, str], options: Options) -> dict[str, Report]:
    """The report of every kind of checkpoint on the same documents."""
    return {name: evaluate(reference, options) for name, reference in references.items()}


def dequantised(file: Path) -> Any:
    """Return the model that transformers itself makes of the GGUF file."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)


def evaluate(reference: str, options: Options) -> Report:
    """Return the report of one checkpoint."""
    [report] = run([parse(reference)], options)
    return report


def their_model(kind: str, file: Path, saved: Path, lora: Path) -> Any:
    """Return lm-eval's own model on the weights of `kind`."""
    from lm_eval.models.huggingface import HFLM

    if kind == "gguf":
        return HFLM(dequantised(file), tokenizer=gguf.tokenizer(file), batch_size=1, logits_cache=False)
    return peer.theirs(lora if kind == "lora" else saved, kind if kind.startswith("int") else None)


@pytest.mark.parametrize("kind", ["gguf", "bf16", "lora", "int8", "int4"])
def test_every_request_is_answered_as_lm_eval_answers_it(
    smollm2_file: Path, saved: Path, lora: Path, data: Path, rows: Rows, kind: str
) -> None:
    folder = {"gguf": smollm2_file, "lora": lora}.get(kind, saved)
    mine = peer.ours(folder, kind if kind.startswith("int") else None)
    theirs = their_model(kind, smollm2_file, saved, lora)
    unequal = {}
    for task, documents in REQUESTS.items():
        instances = peer.requests(Catalogue().load([task], data, num_fewshot=0), documents)
        for instance in instances:
            if instance.request_type == "generate_until":
                instance.arguments = (instance.args[0], instance.args[1] | {"max_gen_toks": TOKENS})
        result = peer.compare(mine, theirs, instances)
        largest = "–" if result.largest is None else f"{result.largest:.1e}"
        rows.requests.append(f"| {kind} | {task} | {result.requests} | {largest} | {result.decisions} |")
        if result.decisions or (result.largest or 0) > FP32_LOGLIKELIHOOD:
            unequal[task] = result
    assert not unequal


def test_a_second_run_feeds_no_token(references: dict[str, str], reports: dict[str, Report], options: Options) -> None:
    for name, first in reports.items():
        again = evaluate(references[name], options)
        assert again.manifest.engine.tokens_fed == 0
        assert again.manifest.engine.answered_from_journal == again.manifest.engine.requests == 2 * SAMPLE
        assert again.manifest.scores == first.manifest.scores


@pytest.mark.parametrize(("baseline", "candidate"), PAIRS)
def test_pairs_are_compared_and_judged(
    reports: dict[str, Report], rows: Rows, capsys: pytest.CaptureFixture[str], baseline: str, candidate: str
) -> None:
    before, after = reports[baseline], reports[candidate]
    difference = float(np.abs(likelihoods(before) - likelihoods(after)).max())
    change = after.samples("piqa")["acc"] - before.samples("piqa")["acc"]
    lost, gained = int((change < 0).sum()), int((change > 0).sum())
    assert harness.cli.main(["compare", str(before.folder), str(after.folder)]) == 0
    assert f"│ {lost} │" in " ".join(capsys.readouterr().out.split())
    code = harness.cli.main(["gate", str(after.folder), "--baseline", str(before.folder)])
    verdict = {0: "passed", 1: "regressed", 3: "inconclusive"}[code]
    rows.pairs.append(f"| {baseline} | {candidate} | {difference:.1e} | {lost}, {gained} | {verdict} |")
    assert verdict != "regressed"
    if (baseline, candidate) in (SAME_WEIGHTS, ROUNDED_WEIGHTS):
        assert (lost, gained) == (0, 0)
    if (baseline, candidate) == SAME_WEIGHTS:
        assert difference == 0.0


def likelihoods(report: Report) -> np.ndarray:
    """Return the log-likelihoods of all choices of all documents."""
    return np.concatenate([np.asarray(values) for values in report.samples("piqa")["logprobs"]])
