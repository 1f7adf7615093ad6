"""The engine beside lm-eval's HF model, line by line: `python tests/benchmarks/versus.py LINE…`, or `make bench`.

Every side of every line runs alone in a fresh process with two threads, one after another. Ours answers all documents.
lm-eval's cost is a row's, whatever stands in other rows, so it answers a seeded sample, at the batch size that is the
fastest for it, and its time for the line is scaled by the tokens it feeds, padding included: those of the sample are
counted, those of the line follow from how it sorts and batches, and the rule is checked against the count.

HARNESS_BENCH_DOCUMENTS       at most so many documents a line, the first ones, for a quick look
HARNESS_BENCH_PEER_DOCUMENTS  how many of them lm-eval answers, or `all`; by default up to two minutes' worth

Not here: what is asked (`workloads`), what a process does (`sides`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import sides
import workloads
from sides import Job, Row, Spent
from workloads import LINES, Asked, Line

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HARNESS_DATA") or ROOT.parent / "shared" / "data").resolve()
REPORTS = ROOT / "reports"
THREADS = 2
BATCHES = (1, 2, 4, 8, 16, 32)
LOGITS_COPIES = 2  # lm-eval's own and their log-softmax
MEMORY_OF_LOGITS = 1 / 3
PLANNED = (1_000, 10_000, 60_000)
PROBE = 600  # tokens at most by which a walk is proved, once a checkpoint
PROFILED, PROFILED_DOCUMENTS = "ceval", 48


class Cells(NamedTuple):
    """Tokens that lm-eval feeds, padding included."""

    prompts: int
    steps: int
    """One a row, after the prompts."""


class Batched(NamedTuple):
    """A batch size of lm-eval's, and how long it would take for the whole line."""

    size: int
    seconds: float


@dataclass(frozen=True)
class Result:
    """A line of the table."""

    line: str
    requests: int
    documents: int
    needed: int
    """Tokens that have to go through the backbone: a trie's nodes, and every generated token that is fed back."""
    to_generate: int
    """Tokens of all answers."""
    forecast_kept: bool
    """The engine fed what it said it would, by its own count."""
    ours: Spent
    gflops: float
    """Ours, in linear layers and vocabulary; attention is left out."""
    theirs: Spent
    theirs_seconds: float
    """Scaled to all documents."""
    theirs_tokens: int
    """Without padding, of all documents."""
    batch: int
    tried: list[Batched]
    sampled: int
    difference: float | None
    """The largest difference of log-likelihoods on the sample; None for generations."""

    @property
    def token_ratio(self) -> float:
        """Return tokens through our backbone ÷ those that have to."""
        return self.ours.tokens / self.needed

    @property
    def ratio(self) -> float:
        """Return how many times faster ours is."""
        return self.theirs_seconds / self.ours.seconds


def above(spent: Spent) -> int:
    """Return the bytes at the peak above what was resident before the first request."""
    return spent.peak - spent.loaded


class Bench:
    """One run of the benchmark in `folder`, which keeps models and requests; both are made when first needed."""

    def __init__(self, folder: Path, data: Path = DATA) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._data = folder, data
        self._processes = 0

    def line(self, name: str) -> Result:
        """Run both sides of a line."""
        line, requests = LINES[name], self._requests(name)
        asked = workloads.read(requests)
        here = {"model": str(self._model(line)), "requests": str(requests)}
        fed = self._run(Job("rows", **here))
        rows = [Row(*row) for row in fed["rows"]]
        mine = self._run(Job("ours", **here))
        ours = Spent(**mine["spent"])
        layers, head = mine["layer_weights"] * ours.tokens, mine["head_weights"] * ours.head_rows
        tried = self._search(line, asked, rows, here)
        batch = min(tried, key=lambda one: one.seconds).size
        pick = sample(asked, peer_documents(line), seed=1)
        warm_up = _longest(asked, rows, batch)
        answered = self._run(Job("theirs", **here, pick=pick, warm_up=warm_up, batches=[batch]))
        theirs = Spent(**answered["spent"])
        scores = asked[0].kind == "loglikelihood"
        return Result(
            line=name,
            requests=len(asked),
            documents=len(_documents(asked)),
            needed=fed["unique"] + sum(one.answer - 1 for one in asked if one.answer),
            to_generate=sum(one.answer for one in asked),
            forecast_kept=mine["fed"] == mine["forecast"],
            ours=ours,
            gflops=2 * (layers + head) / ours.seconds / 1e9,
            theirs=theirs,
            theirs_seconds=scaled(theirs, asked, rows, pick, batch),
            theirs_tokens=sum(_groups(rows).values()) + sum(one.answer - 1 for one in asked if one.answer),
            batch=batch,
            tried=tried,
            sampled=len(_documents([asked[i] for i in pick])),
            difference=_difference([mine["answers"][i] for i in pick], answered["answers"]) if scores else None,
        )

    def ours(self, name: str) -> Spent:
        """Run our side of a line alone."""
        requests = str(self._requests(name))
        return Spent(**self._run(Job("ours", model=str(self._model(LINES[name])), requests=requests))["spent"])

    def matmul(self) -> float:
        """Return the machine's GFLOP/s."""
        return float(self._run(Job("matmul"))["gflops"])

    def profile(self) -> dict[str, Any]:
        """Return where our time goes on the first documents of a line."""
        requests = self._requests(PROFILED)
        asked = workloads.read(requests)
        first = set(_documents(asked)[:PROFILED_DOCUMENTS])
        pick = [i for i, one in enumerate(asked) if (one.task, one.document) in first]
        model = str(self._model(LINES[PROFILED]))
        return self._run(Job("profile", model=model, requests=str(requests), pick=pick))

    def planner(self, requests: Sequence[int] = PLANNED) -> list[tuple[int, float]]:
        """Return how many seconds planning takes for every number of requests."""
        return [(n, seconds) for n, seconds in self._run(Job("planner", batches=list(requests)))["planned"]]

    def _search(self, line: Line, asked: list[Asked], rows: list[Row], here: dict[str, str]) -> list[Batched]:
        pick = sample(asked, line.search_documents, seed=2)
        longest, chosen = max(row.tokens for row in rows), set(pick)
        most = len({row.group for row in rows if row.request in chosen})
        scores = not asked[0].answer
        sizes = [n for n in BATCHES if n < 2 * most and (not scores or _fits(n * longest, line.vocabulary))]
        found = self._run(Job("search", **here, pick=pick, warm_up=pick[:1], batches=sizes))["batches"]
        return [Batched(n, scaled(Spent(**spent), asked, rows, pick, n)) for n, spent in found]

    def _requests(self, name: str) -> Path:
        limit = [n for n in (LINES[name].documents, _number("HARNESS_BENCH_DOCUMENTS")) if n]
        file = self._folder / f"{name}-{min(limit, default='all')}.json"
        if not file.exists():
            workloads.write(LINES[name].build(self._data, min(limit, default=None)), file)
        return file

    def _model(self, line: Line) -> Path:
        folder = self._folder / f"model-{line.vocabulary}"
        return folder if folder.exists() else workloads.model(folder, self._data, line.vocabulary)

    def _run(self, job: Job) -> Any:
        """Do `job` in a process of its own."""
        self._processes += 1
        file, result = (self._folder / f"process-{self._processes}.{kind}" for kind in ("job", "result"))
        file.write_text(json.dumps({**asdict(job), "result": str(result)}))
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(one) for one in (ROOT, ROOT / "tests")),
            "OMP_NUM_THREADS": str(THREADS),
            "HF_HUB_OFFLINE": "1",
            "TQDM_DISABLE": "1",
            "TRANSFORMERS_VERBOSITY": "error",
            "TOKENIZERS_PARALLELISM": "true",
            "HARNESS_CACHE": str(self._folder / "cache"),
        }
        environment.pop("OMP_WAIT_POLICY", None)
        subprocess.run([sys.executable, sides.__file__, str(file)], env=environment, check=True)
        return json.loads(result.read_text())


# -- lm-eval's batches


def scaled(spent: Spent, asked: list[Asked], rows: list[Row], pick: list[int], batch: int) -> float:
    """Return the seconds that lm-eval would take for all of `asked`, having spent `spent` on `pick`."""
    part, whole = cells(asked, rows, pick, batch), cells(asked, rows, list(range(len(asked))), batch)
    counted = Cells(spent.prompt_cells, spent.step_cells)
    if counted != part:
        raise AssertionError(f"lm-eval fed {counted} tokens where its rule of batching says {part}")
    steps = (spent.seconds - spent.prompt_seconds) * whole.steps / part.steps if part.steps else 0.0
    return spent.prompt_seconds * whole.prompts / part.prompts + steps


def cells(asked: list[Asked], rows: list[Row], pick: list[int], batch: int) -> Cells:
    """Return what lm-eval feeds for the requests `pick`: rows longest first, in batches as wide as their longest.

    A batch of generations goes on until its longest answer ends; windows of whole texts keep their order.
    """
    chosen = set(pick)
    mine = [row for row in rows if row.request in chosen]
    kind = asked[0].kind
    if kind == "loglikelihood":
        mine = [Row(0, group, tokens) for group, tokens in _groups(mine).items()]
        mine.sort(key=lambda row: -row.tokens)
    elif kind == "generate_until":
        mine.sort(key=lambda row: (-row.tokens, asked[row.request].arguments[0]))
    prompts = steps = 0
    for chunk in _chunks(mine, batch):
        width = max(row.tokens for row in chunk)
        prompts += width * len({row.group for row in chunk} if kind == "loglikelihood_rolling" else chunk)
        steps += len(chunk) * max(0, max(asked[row.request].answer for row in chunk) - 1)
    return Cells(prompts, steps)


def sample(asked: list[Asked], documents: int | None, seed: int) -> list[int]:
    """Return the requests of `documents` documents (all: None) drawn as evenly from all tasks as it goes."""
    tasks: dict[str, list[tuple[str, int]]] = {}
    for one in _documents(asked):
        tasks.setdefault(one[0], []).append(one)
    wanted, chance = min(documents or len(asked), len(_documents(asked))), random.Random(seed)
    queues = [chance.sample(found, len(found)) for found in tasks.values()]
    chance.shuffle(queues)
    rounds = (one for turn in range(max(map(len, queues))) for queue in queues for one in queue[turn : turn + 1])
    chosen = {one for one, _ in zip(rounds, range(wanted), strict=False)}
    return [i for i, one in enumerate(asked) if (one.task, one.document) in chosen]


def peer_documents(line: Line) -> int | None:
    """Return how many documents lm-eval answers; None: all."""
    if os.environ.get("HARNESS_BENCH_PEER_DOCUMENTS") == "all":
        return None
    return _number("HARNESS_BENCH_PEER_DOCUMENTS") or line.peer_documents


def _number(variable: str) -> int | None:
    return int(os.environ[variable]) if os.environ.get(variable) else None


def _documents(asked: Sequence[Asked]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((one.task, one.document) for one in asked))


def _groups(rows: list[Row]) -> dict[int, int]:
    """Return the tokens of every different row."""
    return {row.group: row.tokens for row in rows}


def _longest(asked: list[Asked], rows: list[Row], batch: int) -> list[int]:
    """Return the requests of lm-eval's first batch, the one that needs most memory."""
    first: dict[int, Row] = {}
    for row in sorted(rows, key=lambda row: -row.tokens):
        first.setdefault(row.group, row)
    return sorted({row.request for row in list(first.values())[:batch]})


def _chunks(rows: list[Row], size: int) -> Iterator[list[Row]]:
    return (rows[i : i + size] for i in range(0, len(rows), size))


def _fits(tokens: int, vocabulary: int) -> bool:
    """Tell whether lm-eval's logits of so many tokens leave most of the memory to others."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return tokens * vocabulary * 4 * LOGITS_COPIES <= MEMORY_OF_LOGITS * memory


def _difference(one: list[Any], other: list[Any]) -> float:
    return max(abs(a[0] - b[0]) for a, b in zip(one, other, strict=True))


# -- the report


def report(results: list[Result], limit: float, profile: dict[str, Any], planned: list[tuple[int, float]]) -> str:
    """Return the report as Markdown; `limit` is the machine's GFLOP/s when it was measured by itself."""
    limit = max([limit, *(speed for one in results for side in (one.ours, one.theirs) for speed in side.pace)])
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "lm_eval"))
    parts = [
        HEADER.format(date=_today(), cores=os.cpu_count(), threads=THREADS, packages=packages, quick=_quick()),
        "\n".join([TABLE, *(_row(one) for one in results)]),
        NOTES,
        "\n".join([SPEEDS.format(limit=limit), *(_speed(one, limit) for one in results)]),
        "\n".join([TRIED, *(_tried(one) for one in results)]),
        _profile(profile),
        "\n".join([PLANNING, *(f"| {n:,} | {seconds:.2f} | {seconds / n * 1e6:.0f} |" for n, seconds in planned)]),
    ]
    return "\n\n".join(parts) + "\n"


def write(text: str) -> Path:
    """Write a report into `reports/`."""
    file = REPORTS / f"{_today()}-engine-cpu.md"
    file.write_text(text, encoding="utf-8")
    return file


def _row(one: Result) -> str:
    line = LINES[one.line]
    peer = f"{_seconds(one.theirs_seconds)} (batch {one.batch}, {one.sampled:,} of {one.documents:,})"
    target = f"≥ {line.target:g}" if line.target else "–"
    memory = f"{_mb(one.ours.peak)} / {_mb(one.theirs.peak)} | {_mb(above(one.ours))} / {_mb(above(one.theirs))}"
    return (
        f"| {line.title} | {one.requests:,} | {one.token_ratio:.3f} | {one.theirs_tokens / one.needed:.2f} "
        f"| {_seconds(one.ours.seconds)} | {peer} | {one.ratio:.1f} | {target} | {memory} |"
    )


def _speed(one: Result, limit: float) -> str:
    difference = "–" if one.difference is None else f"{one.difference:.1e}"
    pace = " / ".join("–".join(f"{speed:.0f}" for speed in side.pace) for side in (one.ours, one.theirs))
    counts = f"{one.ours.tokens:,} | {one.ours.generated:,} | {one.ours.head_rows:,}"
    speed = f"{one.ours.tokens / one.ours.seconds:,.0f} | {one.gflops:.0f} | {one.gflops / limit:.0%} | {pace}"
    return f"| {LINES[one.line].title} | {counts} | {speed} | {difference} |"


def _tried(one: Result) -> str:
    found = {tried.size: _seconds(tried.seconds) for tried in one.tried}
    return f"| {LINES[one.line].title} | {' | '.join(found.get(size, '–') for size in BATCHES)} |"


def _profile(found: dict[str, Any]) -> str:
    total = found["seconds"]
    kinds = [f"| {kind} | {seconds:.1f} | {seconds / total:.0%} |" for kind, seconds in found["kinds"]]
    operations = ", ".join(f"`{name}` {seconds / total:.0%}" for name, seconds in found["operations"])
    functions = ", ".join(f"`{name}` {share:.0%}" for name, share in found["functions"])
    head = PROFILE.format(line=LINES[PROFILED].title, documents=PROFILED_DOCUMENTS, seconds=total)
    return "\n".join([head, *kinds, "", LONGEST.format(operations=operations, functions=functions)])


def _seconds(spent: float) -> str:
    return f"{spent:,.0f}" if spent >= 10 else f"{spent:.1f}"


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f}"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _quick() -> str:
    limit = _number("HARNESS_BENCH_DOCUMENTS")
    return f"\n\n**A quick look at {limit:,} documents a line, not the figures.**" if limit else ""


HEADER = """# The engine beside lm-eval's HF model, {date}

`make bench` on {cores} CPU cores, {threads} threads a process; {packages}.
One LLaMA of random weights, 512 wide, 8 layers, float32, context 4,096, 32,000 words or as many as the line says. Every
side of every line ran alone in a process of its own. One line: `python tests/benchmarks/versus.py ceval`.{quick}"""
TABLE = """| line | requests | tokens ÷ needed | lm-eval's ÷ needed | seconds | lm-eval's (batch, documents) | ratio \
| target | peak MB, ours / lm-eval | above the loaded model |
|---|---|---|---|---|---|---|---|---|---|"""
NOTES = f"""Tokens are counted where they enter the model. Needed are the different ones: the nodes of a trie of all
that has to be read, counted by sorting, and in generations every generated token but an answer's last. Ours include
what proves the walk before the first request, at most {PROBE} tokens; lm-eval's column leaves its padding out.

Our seconds are of all documents, the first forward, tokenising and planning included. lm-eval runs with its logits
cache, as people run it, at the batch size that was fastest for it on a small sample, after a batch to warm up. It
answered as many documents as stated, drawn evenly from all subjects; its seconds are scaled to all by the tokens it
feeds, padding included, prompts and steps of generation each by their own, for a row costs it the same whatever stands
in other rows. How many tokens it feeds for all follows from how it sorts and batches, a rule that was checked against
the count on the sample. Its peak includes the largest batch of the whole line, but only the sample's requests were
encoded.

Answers have recorded lengths, the same on both sides, since a random model never stops: in GSM8K those of the gold
answers, in the ADGEN-like line log-normal ones. Ours are limited one by one (`max_gen_toks`); lm-eval's, of one limit
and so in common batches, are ended by a logits processor that makes the end token the likeliest, and a batch ends with
its slowest row.

Memory is what is resident at the peak since model and requests were loaded. Sizes whose logits alone would take more
than {MEMORY_OF_LOGITS:.0%} of the machine's memory were not tried for lm-eval."""
SPEEDS = """## Distance to the machine's limit

Products of float32 matrices in the shapes of one layer, 512 rows, reach {limit:.0f} GFLOP/s at best. Ours are counted
as two operations for every weight of the layers and token, and for every weight of the vocabulary and scored position;
attention is left out. The pace is what the same products usually reached just before and just after ours, and
lm-eval's: where it is far below the limit, the machine was busy with something else. The last column is the largest
difference from lm-eval's log-likelihoods on its sample.

| line | tokens fed | generated | vocabulary rows | tokens/s | GFLOP/s | of the limit | pace, ours / lm-eval's \
| difference |
|---|---|---|---|---|---|---|---|---|"""
TRIED = f"""## lm-eval's batch sizes

Seconds that it would take for the whole line, from a small sample.

| line | {" | ".join(map(str, BATCHES))} |
|---|{"---|" * len(BATCHES)}"""
PROFILE = """## Where our time goes

{line}, the first {documents} documents, {seconds:.1f} s under torch's profiler, which makes small operations look
larger than they are.

| what | seconds | share |
|---|---|---|"""
LONGEST = """Longest operations: {operations}.

Under cProfile, our functions that took longest with all that they call, but for those that call nearly everything:
{functions}."""
PLANNING = """## Planning

Requests of 800 tokens: 500 of shots, 100 questions a subject, 4 letters a question.

| requests | seconds | µs a request |
|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Run lines of the engine's benchmark.")
    known = [*LINES, "matmul", "profile", "planner"]
    parser.add_argument("lines", nargs="*", metavar="LINE", help=f"of {', '.join(known)}; default: all lines")
    parser.add_argument("--folder", type=Path, help="keep models and requests here, for the next time")
    parser.add_argument("--ours", action="store_true", help="our side alone")
    parser.add_argument("--report", action="store_true", help="write the report, limit, profile and planner included")
    asked = parser.parse_args()
    if unknown := [line for line in asked.lines if line not in known]:
        parser.error(f"there is no line {unknown[0]}")
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(asked.folder or Path(temporary))
        results = []
        for name in asked.lines or LINES:
            started = time.perf_counter()
            if name in LINES and not asked.ours:
                results.append(bench.line(name))
                print(f"{TABLE}\n{_row(results[-1])}\n{results[-1]}")
            else:
                print(name, bench.ours(name) if name in LINES else getattr(bench, name)())
            print(f"({name}: {time.perf_counter() - started:.0f} s in all)", flush=True)
        if asked.report:
            print(write(report(results, bench.matmul(), bench.profile(), bench.planner())))


if __name__ == "__main__":
    main()
