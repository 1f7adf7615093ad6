"""Generation beside lm-eval's HF model and vLLM: `python tests/benchmarks/generation.py [LINE…]`, or `make bench`.

Each side of each line answers the same prompts with a model of its own in a fresh process with two threads, one after
another; loading, probing and compiling are left out, and so is one short prompt before the clock starts. Tokens, steps
and rows are counted, and depend on no clock.

HARNESS_VLLM  the Python of an environment with vLLM (`generation_vllm` says how to make one); without it that side is
              left out, and the report says so

Two lines only score answers. Not here: lines of thousands of requests that share beginnings (`versus`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
ROUNDS = 2
"""How often ours and vLLM run in turns."""
EAGER, COMPILED = "vllm-eager", "vllm"


class Line(NamedTuple):
    """Prompts and the model that continues them."""

    title: str
    tasks: Sequence[str]
    documents: int
    """Number of the first documents of each task."""
    limit: int
    """Tokens of an answer at most; 0 if answers are only scored."""
    model: str = "smollm2"
    dtype: str = "bfloat16"
    shots: int | None = None
    has_chat_template: bool = False


LINES = {
    "gsm8k": Line("GSM8K, lm-eval's 5 drawn shots", ["gsm8k"], 12, 128),
    "gsm8k-float32": Line("GSM8K, 5 drawn shots, in float32", ["gsm8k"], 12, 128, dtype="float32"),
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
    "ceval": Line("C-Eval logic, 5 shots, log-likelihoods", ["ceval_logic"], 8, 0),
    "mmlu": Line("MMLU anatomy, 5 shots, log-likelihoods", ["mmlu_anatomy"], 16, 0, shots=5),
    "chat": Line("GSM8K in the chat template, no shots", ["gsm8k"], 24, 128, shots=0, has_chat_template=True),
}


@dataclass(frozen=True)
class Result:
    """What one side spent on a line."""

    seconds: float
    start: float
    """Seconds before the first prompt: importing, loading, probing, compiling."""
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
    return [_limited(request, line, tokenizer) for request in requests] if line.limit else requests


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
        """Return what each side spent on the line `name`, and keep it in the folder."""
        line = LINES[name]
        model, requests = self._model(line.model), self._folder / f"{name}.json"
        if not requests.exists():
            from transformers import AutoTokenizer

            workloads.write(prompts(line, self._data, AutoTokenizer.from_pretrained(model)), requests)
        job = {"model": str(model), "requests": str(requests), "dtype": line.dtype, "context": CONTEXT}
        sides: dict[str, tuple[str, str, dict[str, Any]]] = {"ours": (sys.executable, "generation_sides.py", {})}
        if python := os.environ.get("HARNESS_VLLM"):
            sides |= {side: (python, "generation_vllm.py", {"eager": side == EAGER}) for side in (EAGER, COMPILED)}
        rounds = [
            {
                side: self._run(python, script, {**job, "side": side, **more})
                for side, (python, script, more) in sides.items()
            }
            for _ in range(ROUNDS if len(sides) > 1 else 1)
        ]
        results = {side: _faster(*(one[side] for one in rounds)) for side in sides}
        tried: list[Result] = []
        for batch in BATCHES:
            tried.append(self._run(sys.executable, "generation_sides.py", {**job, "side": "theirs", "batch": batch}))
            if tried[-1].seconds > 1.2 * min(result.seconds for result in tried):
                break
        best = {**job, "side": "theirs", "batch": _faster(*tried).batch}
        results["lm-eval"] = _faster(*tried, self._run(sys.executable, "generation_sides.py", best))
        (self._folder / f"{name}.result.json").write_text(
            json.dumps({"made": _made(), "sides": {side: asdict(result) for side, result in results.items()}})
        )
        return results

    def kept(self) -> dict[str, dict[str, Result]]:
        """Return the results that the folder has kept, by line; those of another day or other packages are left out."""
        results = {}
        for name in LINES:
            file = self._folder / f"{name}.result.json"
            entry = json.loads(file.read_text()) if file.exists() else {}
            if entry.get("made") == _made():
                results[name] = {side: Result(**values) for side, values in entry["sides"].items()}
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


def _faster(*results: Result) -> Result:
    """Return the result of the fastest run: what else the machine does only ever makes a run slower."""
    return min(results, key=lambda result: result.seconds)


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
    rows = "\n".join(_row(name, sides) for name, sides in results.items())
    counts = "\n".join(_counts(name, sides) for name, sides in results.items())
    has_vllm = any(COMPILED in sides for sides in results.values())
    absent = "" if has_vllm else "\n\nvLLM was not measured: HARNESS_VLLM named no environment that has it."
    unmeasured = [f"{line.title} ({name})" for name, line in LINES.items() if name not in results]
    absent += f"\n\nLines that were not measured: {'; '.join(unmeasured)}." if unmeasured else ""
    return (
        HEADER.format(date=_today(), packages=_made().partition(": ")[2], cores=os.cpu_count())
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
    line, ours = LINES[name], sides["ours"]
    others = [sides.get(side) for side in SIDES[1:]]
    seconds = (_number(side, lambda r: f"{r.seconds:.1f}" + f" (batch {r.batch})" * (r.batch > 0)) for side in others)
    ratios = (_number(side, lambda r: f"{r.seconds / ours.seconds:.2f}") for side in others)
    starts = (_number(sides.get(side), lambda r: f"{r.start:.0f}") for side in SIDES)
    peaks = (_number(sides.get(side), lambda r: _mb(r.peak)) for side in SIDES)
    cells = [line.title, f"{line.model}, {line.dtype}", f"{ours.seconds:.1f}", *seconds, *ratios]
    return f"| {' | '.join([*cells, ' / '.join(starts), ' / '.join(peaks)])} |"


def _counts(name: str, sides: dict[str, Result]) -> str:
    ours = sides["ours"]
    generated = " / ".join(_number(sides.get(side), lambda r: f"{r.generated:,}") for side in SIDES)
    rows = f"{ours.rows / ours.steps:.1f}" if ours.steps else "–"
    answers = LINES[name].documents * len(LINES[name].tasks)
    tokens = f"{(ours.generated - answers) / ours.rows:.2f}" if ours.rows else "–"
    return f"| {LINES[name].title} | {ours.prompt_tokens:,} | {generated} | {ours.steps:,} | {rows} | {tokens} |"


def _number(result: Result | None, form: Callable[[Result], str]) -> str:
    return "–" if result is None else form(result)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f}"


def _made() -> str:
    """Return what results depend on besides the machine: the day, and with it the code, and the packages."""
    return f"{_today()}: " + ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "lm_eval"))


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


HEADER = """# Generation beside lm-eval's HF model and vLLM, {date}

`python tests/benchmarks/generation.py --report` on {cores} CPU cores, 2 threads a process; {packages}.
smollm2 is SmolLM2-135M-Instruct, the weights of its Q4_1 GGUF saved in bfloat16; llama has random weights, is 512 wide
and 8 layers deep, and never ends an answer; its texts run in circles, which flatters drafts. All sides answer the same
prompts; texts differ in bfloat16, and with them the number of tokens generated. A ratio above 1 means that ours is
faster.

"""
SIDES = ("ours", "lm-eval", EAGER, COMPILED)
TABLE = """| line | model | ours, s | lm-eval, s | vLLM eager, s | vLLM compiled, s \
| lm-eval ÷ ours | eager ÷ ours | compiled ÷ ours | start, s | peak MB |
|---|---|---|---|---|---|---|---|---|---|---|
"""
COUNTS = """

| line | prompt tokens, ours | generated | our steps | rows a step | tokens a row and step |
|---|---|---|---|---|---|
"""
NOTES = """

Four figures in a cell are of ours, lm-eval, vLLM eager and vLLM compiled. A row gets more than one token in a step
where its draft is right. Seconds are of answering alone; the start (importing, loading, the engine's probes, vLLM's
compilation, which it keeps for later starts, and one short prompt) stands beside them. Where vLLM was measured, ours
and vLLM ran twice in turns, and the faster run of each counts: what else the machine does only ever makes a run
slower. lm-eval ran at the best of the batch sizes 1, 4 and 16, and there twice, too. vLLM ran with `enforce_eager`
and with its defaults, which compile the model; 2 GiB for keys and values are part of its peak. Peaks are resident
memory while answering."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Time generation against lm-eval's HF model and vLLM.")
    parser.add_argument(
        "lines", nargs="*", metavar="LINE", help=f"of {', '.join(LINES)}; default: all lines, or none with --report"
    )
    parser.add_argument("--folder", type=Path, help="keep models, prompts and results here, for the next time")
    parser.add_argument("--report", action="store_true", help="write the report of all results in the folder")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.lines if name not in LINES]:
        parser.error(f"there is no line {unknown[0]}")
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(arguments.folder or Path(temporary))
        for name in arguments.lines or ([] if arguments.report else LINES):
            results = bench.line(name)
            print(_row(name, results), _counts(name, results), sep="\n", flush=True)
        if arguments.report:
            print(write(report(bench.kept())))


if __name__ == "__main__":
    main()
