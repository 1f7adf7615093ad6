"""Generation beside lm-eval's HF model and vLLM: `python tests/benchmarks/generation.py [LINE…]`, or `make bench`.

Each side of each line answers the same prompts with a model of its own in a fresh process with two threads, one after
another; loading, probing and compiling are left out, and so is one short prompt before the clock starts. Tokens, steps
and rows are counted, and depend on no clock.

HARNESS_VLLM  the Python of an environment with vLLM (`generation_vllm` says how to make one); without it that side is
              left out, and the report says so

Not here: lines in which prompts share a beginning or nothing is generated (`versus`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import workloads
from versus import DATA, REPORTS, ROOT, THREADS
from workloads import Asked

HERE = Path(__file__).resolve().parent
BATCHES = (1, 4, 16)
"""Batch sizes at which lm-eval's model is tried."""
CONTEXT = 4096


class Line(NamedTuple):
    """Prompts and the model that continues them."""

    title: str
    tasks: Sequence[str]
    documents: int
    """Number of the first documents of each task."""
    limit: int
    """Tokens of an answer at most."""
    model: str = "smollm2"
    dtype: str = "bfloat16"
    shots: int | None = None
    has_chat_template: bool = False


LINES = {
    "gsm8k": Line("GSM8K, lm-eval's 5 drawn shots", ["gsm8k"], 12, 128),
    "gsm8k-float32": Line("the same in float32", ["gsm8k"], 12, 128, dtype="float32"),
    "gsm8k-fixed": Line("GSM8K, 8 fixed shots", ["gsm8k_fixed"], 24, 128),
    "gsm8k-llama": Line("GSM8K, 5 drawn shots, answers of 128 tokens", ["gsm8k"], 12, 128, "llama", "float32"),
    "lawbench": Line(
        "LawBench, long single prompts, answers up to 256 tokens",
        ["lawbench_2_6", "lawbench_2_8", "lawbench_3_7", "lawbench_3_8"],
        4,
        256,
    ),
    "legal": Line("legal_consult with its articles", ["legal_consult"], 16, 128),
    "extraction": Line("CLUENER, KnowLM's prompts, 1 shot", ["cluener"], 16, 128, shots=1),
    "chat": Line("GSM8K in the chat template, no shots", ["gsm8k"], 24, 128, shots=0, has_chat_template=True),
}


@dataclass(frozen=True)
class Result:
    """What one side spent on a line."""

    seconds: float
    prompt_tokens: int
    generated: int
    peak: int
    """Resident bytes at the peak of answering."""
    loaded: int
    """Resident bytes before the first prompt."""
    steps: int = 0
    """Decoding steps, each of one forward pass."""
    rows: int = 0
    """Rows of all steps together."""
    batch: int = 0
    """lm-eval's batch size."""


def prompts(line: Line, data: Path, tokenizer: Any) -> list[Asked]:
    """Return the requests of `line` as lm-eval's task objects build them."""
    requests = workloads.of_tasks(list(line.tasks), line.shots, each=line.documents)(data, None)
    return [_limited(request, line, tokenizer) for request in requests]


def _limited(request: Asked, line: Line, tokenizer: Any) -> Asked:
    text, settings = request.arguments
    if line.has_chat_template:
        turns = [{"role": "user", "content": text}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    until = list(settings.get("until") or []) if line.model != "llama" else []  # a random model never stops
    arguments = [text, {"until": [stop for stop in until if stop.strip()], "do_sample": False}]
    return Asked(request.kind, request.task, request.document, arguments, line.limit)


class Bench:
    """Runs sides in `folder`, which keeps models and prompts."""

    def __init__(self, folder: Path, data: Path = DATA) -> None:
        self._folder, self._data = folder, data
        folder.mkdir(parents=True, exist_ok=True)

    def line(self, name: str) -> dict[str, Result]:
        """Return what each side spent on the line `name`."""
        line = LINES[name]
        model, requests = self._model(line.model), self._folder / f"{name}.json"
        if not requests.exists():
            from transformers import AutoTokenizer

            workloads.write(prompts(line, self._data, AutoTokenizer.from_pretrained(model)), requests)
        job = {"model": str(model), "requests": str(requests), "dtype": line.dtype, "context": CONTEXT}
        results = {"ours": self._run(sys.executable, "generation_sides.py", {**job, "side": "ours"})}
        tried: list[Result] = []
        for batch in BATCHES:
            tried.append(self._run(sys.executable, "generation_sides.py", {**job, "side": "theirs", "batch": batch}))
            if tried[-1].seconds > 1.2 * min(result.seconds for result in tried):
                break
        results["lm-eval"] = min(tried, key=lambda result: result.seconds)
        if python := os.environ.get("HARNESS_VLLM"):
            results["vllm"] = self._run(python, "generation_vllm.py", job)
        return results

    def _model(self, name: str) -> Path:
        folder = self._folder / name
        if not folder.exists():
            MODELS[name](folder, self._data)
        return folder

    def _run(self, python: str, script: str, job: dict[str, Any]) -> Result:
        file, result = self._folder / "job.json", self._folder / "result.json"
        file.write_text(json.dumps({**job, "result": str(result)}))
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests", HERE))) if python == sys.executable else "",
            "OMP_NUM_THREADS": str(THREADS),
            "HF_HUB_OFFLINE": "1",
            "TQDM_DISABLE": "1",
            "TRANSFORMERS_VERBOSITY": "error",
            "HARNESS_CACHE": str(self._folder / "cache"),
        }
        subprocess.run([python, str(HERE / script), str(file)], env=environment, check=True)
        return Result(**json.loads(result.read_text()))


def _smollm2(folder: Path, data: Path) -> None:
    """Save SmolLM2's dequantised weights as a plain model in bfloat16."""
    sys.path.insert(0, str(ROOT / "tests" / "oracle"))
    import smollm2
    import torch
    from transformers import AutoModelForCausalLM, LlamaForCausalLM

    from harness.checkpoints import gguf

    file = smollm2.fetch()
    weights = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    plain = LlamaForCausalLM(gguf.config(file))
    plain.load_state_dict(weights.state_dict())
    plain.to(torch.bfloat16).save_pretrained(folder)
    gguf.tokenizer(file).save_pretrained(folder)


def _llama(folder: Path, data: Path) -> None:
    workloads.model(folder, data, workloads.WORDS)


MODELS: dict[str, Callable[[Path, Path], None]] = {"smollm2": _smollm2, "llama": _llama}


# -- the report


def report(results: dict[str, dict[str, Result]]) -> str:
    """Return the report as Markdown."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "lm_eval"))
    rows = "\n".join(_row(name, sides) for name, sides in results.items())
    counts = "\n".join(_counts(name, sides) for name, sides in results.items())
    has_vllm = any("vllm" in sides for sides in results.values())
    absent = "" if has_vllm else "\n\nvLLM was not measured: HARNESS_VLLM named no environment that has it."
    return (
        HEADER.format(date=_today(), packages=packages, cores=os.cpu_count())
        + TABLE
        + rows
        + COUNTS
        + counts
        + (f"{NOTES}{absent}\n")
    )


def write(text: str) -> Path:
    """Write the report into `reports/`."""
    file = REPORTS / f"{_today()}-generation-cpu.md"
    file.write_text(text, encoding="utf-8")
    return file


def _row(name: str, sides: dict[str, Result]) -> str:
    line, ours, theirs, vllm = LINES[name], sides["ours"], sides["lm-eval"], sides.get("vllm")
    return (
        f"| {line.title} | {line.model}, {line.dtype} | {ours.seconds:.1f} | {theirs.seconds:.1f} "
        f"(batch {theirs.batch}) "
        f"| {_number(vllm, lambda r: f'{r.seconds:.1f}')} | {theirs.seconds / ours.seconds:.2f} "
        f"| {_number(vllm, lambda r: f'{r.seconds / ours.seconds:.2f}')} "
        f"| {_mb(ours.peak)} / {_mb(theirs.peak)} / {_number(vllm, lambda r: _mb(r.peak))} |"
    )


def _counts(name: str, sides: dict[str, Result]) -> str:
    ours = sides["ours"]
    generated = " / ".join(f"{sides[side].generated:,}" for side in sides)
    mean = f"{ours.rows / ours.steps:.1f}" if ours.steps else "–"
    return f"| {LINES[name].title} | {ours.prompt_tokens:,} | {generated} | {ours.steps:,} | {mean} |"


def _number(result: Result | None, form: Callable[[Result], str]) -> str:
    return "–" if result is None else form(result)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f}"


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


HEADER = """# Generation beside lm-eval's HF model and vLLM, {date}

`python tests/benchmarks/generation.py` on {cores} CPU cores, 2 threads a process; {packages}. smollm2
is SmolLM2-135M-Instruct, the weights of its Q4_1 GGUF saved in bfloat16; llama has random weights, is 512 wide and 8
layers deep, and never ends an answer. All sides answer the same prompts; texts differ in bfloat16, and with them the
number of tokens generated. A ratio above 1 means that ours is faster.

"""
TABLE = """| line | model | ours, s | lm-eval, s | vLLM, s | lm-eval ÷ ours | vLLM ÷ ours \
| peak MB, ours / lm-eval / vLLM |
|---|---|---|---|---|---|---|---|
"""
COUNTS = """

| line | prompt tokens, ours | generated, ours / lm-eval / vLLM | our steps | rows a step |
|---|---|---|---|---|
"""
NOTES = """

Seconds are of answering alone: loading, the engine's probes, vLLM's start and one short prompt before are left out.
lm-eval ran at the best of the batch sizes 1, 4 and 16, vLLM with `enforce_eager` and 2 GiB for keys and values, which
its peak includes. Peaks are resident memory while answering."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Time generation against lm-eval's HF model and vLLM.")
    parser.add_argument("lines", nargs="*", metavar="LINE", help=f"of {', '.join(LINES)}; default: all lines")
    parser.add_argument("--folder", type=Path, help="keep models and prompts here, for the next time")
    parser.add_argument("--report", action="store_true", help="write the report")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.lines if name not in LINES]:
        parser.error(f"there is no line {unknown[0]}")
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(arguments.folder or Path(temporary))
        results = {}
        for name in arguments.lines or LINES:
            results[name] = bench.line(name)
            print(_row(name, results[name]), _counts(name, results[name]), sep="\n", flush=True)
        if arguments.report:
            print(write(report(results)))


if __name__ == "__main__":
    main()
