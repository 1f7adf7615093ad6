"""A real training of every method: `python tests/benchmarks/training_methods.py [--folder DIR] [--report]`.

SmolLM2-135M-Instruct and a LLaMA of 20 million parameters are trained on rows of ADGEN (AdvertiseGen): all weights, a
LoRA, a prefix (P-tuning v2) and a LoRA on 4 bits. Each is then evaluated on the first rows of the validation split, in
the shape of the table in ChatGLM-6B's ptuning/README.md. The LLaMA is trained on Chinese texts first, from random
weights. Every step is a command of `harness`, in a process of its own whose peak of memory is measured.

Not here: speed beside transformers' own loop (`test_training_speed`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow.parquet as pq

from harness.checkpoints import files
from versus import DATA, REPORTS, ROOT, THREADS

TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '问：' ~ message['content'] ~ '\\n答：' }}"
    "{% else %}{{ message['content'] ~ eos_token }}{% endif %}{% endfor %}"
)
"""The chat template of the small LLaMA, whose tokenizer has none."""
EVALUATED = 48
"""Rows of the validation split that are evaluated."""
ROUNDS = {"smollm2": 20, "llama": 100}
"""Optimizer steps of each method."""
METHODS = {
    "full": "learning_rate: 2.0e-4",
    "lora": "method: lora, r: 8, lora_alpha: 32, lora_dropout: 0.1, learning_rate: 1.0e-3",
    "ptuning": "method: prefix, num_virtual_tokens: 128, learning_rate: 2.0e-2",
    "qlora": "method: lora, r: 8, lora_alpha: 32, lora_dropout: 0.1, learning_rate: 1.0e-3",
}
TITLES = {"base": "base", "full": "all weights", "lora": "LoRA", "ptuning": "P-tuning v2, 128", "qlora": "LoRA on NF4"}
METRICS = ("bleu4_characters", "rouge1_jieba", "rouge2_jieba", "rougeL_jieba")


class Cost(NamedTuple):
    """What a command cost; the fields are those of `Result`."""

    peak: float = 0.0
    seconds: float = 0.0
    processor: float = 0.0


class Result(NamedTuple):
    """What a method cost and reached."""

    scores: dict[str, float]
    loss: float | None
    validation: float | None
    parameters: int
    share: float
    """Share of the model's parameters that learn."""
    megabytes: float
    """Size of what was saved."""
    peak: float
    """Peak of resident memory in the training, in MB."""
    seconds: float
    """Wall-clock seconds of the training, loading included."""
    processor: float
    """Seconds that its threads together ran on a core."""
    tokens: int


class Difference(NamedTuple):
    """A paired difference of two checkpoints on the same documents, in points."""

    baseline: str
    candidate: str
    metric: str
    difference: float
    low: float
    high: float
    p: float


class Bench:
    """Trains and evaluates in `folder`, which keeps what is finished."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, model: str) -> dict[str, Result]:
        """Return the results of every method on `model`, the base's first."""
        base = self._base(model)
        recipe = self._recipe(model, base)
        results = {}
        checkpoints = self._folder / model
        for stage in ("base", *METHODS):
            cost = Cost()
            if stage != "base":
                cost = self._harness("train", str(recipe), "-o", str(checkpoints), "--stage", stage)
            name = str(base) if stage == "base" else str(checkpoints / stage)
            results[stage] = self._result(model, stage, name, cost)
        return results

    def _result(self, model: str, stage: str, checkpoint: str, cost: Cost) -> Result:
        reports = self._folder / "reports" / model
        quantized = ",quantize=int4" if stage == "qlora" else ""
        label = f"{checkpoint}{quantized},name={stage}"
        file = self._folder / f"{model}-{stage}.json"
        if cost.seconds > 30 or not file.exists():  # a stage that was finished before costs nothing now
            file.write_text(json.dumps(cost))
        cost = Cost(*json.loads(file.read_text()))
        options = ("--limit", str(EVALUATED), "--apply-chat-template", "-o", str(reports))
        for report in reports.glob(f"{stage}_*"):
            shutil.rmtree(report)
        self._harness("run", "--model", label, "--tasks", "adgen", *options)
        scores = self._scores(self._report(model, stage))
        record: dict[str, Any] = {}
        size = 0
        if stage != "base":
            folder = self._folder / model / stage
            record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
            size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        total = files.bytes_on_disk(files.weight_files(self._base(model)))
        parameters = int(record.get("parameters", 0))
        evaluations = record.get("evaluations") or [{}]
        return Result(
            scores,
            record.get("loss"),
            evaluations[-1].get("eval_loss"),
            parameters,
            parameters / (total / self._width(model)),
            size / 1e6,
            *cost,
            int(record.get("tokens", 0)),
        )

    def _width(self, model: str) -> int:
        """Return the bytes of a parameter in the base's files."""
        return 2 if model == "smollm2" else 4

    def _report(self, model: str, stage: str) -> Path:
        (report,) = (self._folder / "reports" / model).glob(f"{stage}_*")
        return report

    def _scores(self, report: Path) -> dict[str, float]:
        results = json.loads((report / "results.json").read_text(encoding="utf-8"))["results"]["adgen"]
        return {name: value for key, value in results.items() for name in METRICS if key.split(",")[0] == name}

    def differences(self, model: str) -> list[Difference]:
        """Return the paired differences between methods, as `harness compare` computes them."""
        output = self._folder / "compared.json"
        result = []
        for baseline, candidates in (("base", list(METHODS)), ("full", [name for name in METHODS if name != "full"])):
            names = [str(self._report(model, name)) for name in candidates]
            self._harness(
                "compare", str(self._report(model, baseline)), *names, "--json", str(output), allowed=(0, 1, 3)
            )
            for candidate in json.loads(output.read_text(encoding="utf-8"))["candidates"]:
                for entry in candidate["comparisons"]:
                    metric = str(entry["metric"]).partition(",")[0]
                    if metric in (METRICS[0], METRICS[3]):
                        low, high = entry["interval"] or (float("nan"),) * 2
                        numbers = (100 * entry["difference"], 100 * low, 100 * high, entry["p"])
                        result.append(Difference(baseline, candidate["name"], metric, *numbers))
        return result

    def _base(self, model: str) -> Path:
        folder = self._folder / f"{model}-base"
        if not folder.exists():
            (_smollm2 if model == "smollm2" else self._llama)(folder)
        return folder

    def _llama(self, folder: Path) -> None:
        """Train a small LLaMA on Chinese texts."""
        from support import tiny

        start = self._folder / "llama-start"
        words = tiny.bench_tokenizer(DATA)
        words.chat_template = TEMPLATE
        sizes = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8, "num_attention_heads": 8}
        sizes |= {"num_key_value_heads": 8, "initializer_range": 0.02}  # type: ignore[dict-item]
        tiny.llama(start, words, context=1024, **sizes)
        recipe = self._folder / "llama-base.yaml"
        texts = next((DATA / "corpora" / "general_zh").rglob("*.parquet"))
        recipe.write_text(
            f"corpora: {{texts: {texts}}}\n"
            "stages:\n"
            f"  llama-base: {{from: {start}, corpora: [texts], max_steps: 250, per_device_train_batch_size: 8,\n"
            "    max_length: 256, packing: true, learning_rate: 1.0e-3, warmup_steps: 20, lr_scheduler_type: cosine}\n",
            encoding="utf-8",
        )
        self._harness("train", str(recipe), "-o", str(self._folder))

    def _recipe(self, model: str, base: Path) -> Path:
        rows = DATA / "shibing624" / "AdvertiseGen" / "data"
        validation = self._folder / "validation.parquet"
        if not validation.exists():  # rows that are not evaluated
            table = pq.read_table(rows / "validation-00000-of-00001.parquet")
            pq.write_table(table.slice(table.num_rows - EVALUATED), validation)
        recipe = self._folder / f"{model}.yaml"
        stages = "\n".join(
            f"  {name}: {{from: '{base}{',quantize=int4' if name == 'qlora' else ''}', {settings}}}"
            for name, settings in METHODS.items()
        )
        recipe.write_text(
            "corpora:\n"
            f"  adgen: {{file: {rows / 'train-00000-of-00001.parquet'}, template: tokenizer}}\n"
            f"  validation: {{file: {validation}, template: tokenizer}}\n"
            "defaults:\n"
            f"  {{corpora: [adgen], validation: validation, max_steps: {ROUNDS[model]}, max_length: 512,\n"
            "   per_device_train_batch_size: 8, per_device_eval_batch_size: 8, warmup_steps: 5}\n"
            f"stages:\n{stages}\n",
            encoding="utf-8",
        )
        return recipe

    def _harness(self, *words: str, allowed: tuple[int, ...] = (0,)) -> Cost:
        """Run a command of this project; return what it cost."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HARNESS_DATA": str(DATA),
            "OMP_NUM_THREADS": str(THREADS),
            "HARNESS_CACHE": str(self._folder / "cache"),
        }
        program = "import sys; sys.argv[0] = 'harness'; from harness.cli import main; sys.exit(main())"
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", program, *words], env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code not in allowed:
            raise SystemExit(f"harness {' '.join(words)} ended with {code}")
        seconds = time.perf_counter() - started
        return Cost(usage.ru_maxrss * 1024 / 1e6, seconds, usage.ru_utime + usage.ru_stime)


def _smollm2(folder: Path) -> None:
    """Save SmolLM2's dequantised weights as a plain model in bfloat16."""
    from generation import MODELS

    MODELS["smollm2"](folder, DATA)


# --- the report


def report(results: dict[str, dict[str, Result]], differences: dict[str, list[Difference]]) -> str:
    """Return the report as Markdown."""
    tables = "\n".join(_table(model, entries) + _pairs(differences[model]) for model, entries in results.items())
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "bitsandbytes"))
    return HEADER.format(date=f"{datetime.now(UTC):%Y-%m-%d}", cores=os.cpu_count(), packages=packages) + tables + NOTES


def _table(model: str, entries: dict[str, Result]) -> str:
    lines = [f"\n## {MODEL_TITLES[model]}, {ROUNDS[model]} steps of 8 rows\n", HEAD]
    for stage, result in entries.items():
        scores = [f"{100 * result.scores.get(name, float('nan')):.2f}" for name in METRICS]
        costs = [
            "–" if result.loss is None else f"{result.loss:.2f}",
            "–" if result.validation is None else f"{result.validation:.3f}",
            f"{result.parameters:,}" if result.parameters else "–",
            f"{result.share:.2%}" if result.parameters else "–",
            f"{result.megabytes:,.1f}" if result.parameters else "–",
            f"{result.peak:,.0f}" if result.parameters else "–",
            f"{result.seconds:,.0f}" if result.parameters else "–",
            f"{result.processor:,.0f}" if result.parameters else "–",
            f"{result.tokens:,}" if result.parameters else "–",
        ]
        lines.append(f"| {' | '.join([TITLES[stage], *scores, *costs])} |")
    return "\n".join(lines) + "\n"


def _pairs(differences: list[Difference]) -> str:
    rows = "\n".join(
        f"| {TITLES[d.candidate]} − {TITLES[d.baseline]} | {d.metric} | {d.difference:+.2f} "
        f"| {d.low:+.2f} to {d.high:+.2f} | {d.p:.2g} |"
        for d in differences
    )
    return f"\n| paired difference | metric | points | 95 % interval | p |\n|---|---|---|---|---|\n{rows}\n"


MODEL_TITLES = {
    "smollm2": "SmolLM2-135M-Instruct, bfloat16 on disk",
    "llama": "A LLaMA of 20 million parameters, trained on Chinese texts before",
}
HEADER = """# Methods of training on ADGEN, {date}

`python tests/benchmarks/training_methods.py --report` on {cores} CPU cores; {packages}.

Every method learns from the same rows of AdvertiseGen's training split in the same order, and is evaluated on the first
rows of the validation split by the task `adgen` (greedy, full references), with the chat template it was trained in.
Scores are in %; losses in nats per learned token, the second on 64 other rows of the validation split.
"""
HEAD = (
    "| method | BLEU-4 | ROUGE-1 | ROUGE-2 | ROUGE-L | loss | validation | learns | share | MB saved | peak MB | s "
    "| core s | tokens |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)
NOTES = """
Seconds (s) are of the whole command, loading and validation included, on a machine that may have done other work
meanwhile; core seconds are those in which its threads ran. Tokens are those that the model read, padding left out.
These are small models after minutes of training on a CPU: the table shows that every method learns and what it costs,
not which is best at scale.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Train and evaluate every method on ADGEN.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(ROUNDS)}; default: all")
    parser.add_argument("--folder", type=Path, help="keep checkpoints and reports here, for the next time")
    parser.add_argument("--report", action="store_true", help="write the report")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench((arguments.folder or Path(temporary)).resolve())
        results = {model: bench.run(model) for model in arguments.models or ROUNDS}
        text = report(results, {model: bench.differences(model) for model in results})
    print(text)
    if arguments.report:
        (REPORTS / f"{datetime.now(UTC):%Y-%m-%d}-training-methods-cpu.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
