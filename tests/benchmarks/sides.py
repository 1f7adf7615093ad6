"""What one process of the engine's benchmark does: `python sides.py JOB.json`, which names the result's file.

Every side runs alone in a fresh process, so that its peak memory is its own. Tokens are counted where they enter the
model's embedding, whoever calls it; nothing here believes an engine's own bookkeeping.

ours     all requests put to `HarnessLM`
theirs   a sample of them put to lm-eval's `HFLM`, after its largest batch, which warms up and fixes the peak
search   the same small sample at several batch sizes
rows     what lm-eval would feed, as token ids, and how many distinct ones a trie of it has, counted by sorting
matmul   what the machine reaches in float32
profile  where our time goes
planner  how long planning takes by the number of requests
"""

from __future__ import annotations

import cProfile
import gc
import json
import os
import pstats
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

import workloads
from workloads import Asked

ROOT = Path(__file__).resolve().parents[2]
MATMUL_ROWS = 512
KINDS = {
    "attention": ("attention", "sdpa", "bmm", "softmax"),
    "linear layers": ("mm", "linear", "matmul"),
    "moving (cat, copy, index)": ("cat", "copy", "index", "gather", "scatter", "embedding", "clone", "contiguous"),
}
REST, VOCABULARY, PYTHON = "other operations (norms, activations, rotary)", "vocabulary", "outside operations (Python)"


@dataclass(frozen=True)
class Job:
    """What a process is to do; indices are those of requests."""

    side: str
    result: str = ""
    model: str = ""
    requests: str = ""
    pick: list[int] = field(default_factory=list)
    warm_up: list[int] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    """Batch sizes for lm-eval; numbers of requests for the planner."""


@dataclass
class Spent:
    """What answering cost."""

    seconds: float = 0.0
    prompt_seconds: float = 0.0
    """lm-eval's part of it in forwards over prompts; where nothing is generated, that is everything."""
    prompt_cells: int = 0
    """Tokens fed in forwards over prompts, padding included."""
    step_cells: int = 0
    """Tokens fed one a row, padding included."""
    tokens: int = 0
    """All that entered the embedding."""
    head_rows: int = 0
    """Positions that met the vocabulary."""
    generated: int = 0
    loaded: int = 0
    """Resident bytes once model and requests were in memory."""
    peak: int = 0
    """The most resident bytes from then on."""
    pace: list[float] = field(default_factory=list)
    """The machine's usual GFLOP/s just before and just after, which tells whether it was busy with something else."""


class Row(NamedTuple):
    """A row that lm-eval would feed: whose request, which rows are the same, how many tokens."""

    request: int
    group: int
    tokens: int


# -- the sides


def ours(job: Job) -> dict[str, Any]:
    """Answer `pick` (all by default) on our engine."""
    lm, instances = _our_lm(job)
    pace = _pace()
    spent = Spent(loaded=_forget_peak(lm.checkpoint.model))
    with _measured(spent, _count_tokens(lm.checkpoint.model, spent)):
        answers = _ask(lm, instances)
    spent.pace = [pace, _pace()]
    spent.generated = lm.work.tokens_generated
    fed, forecast = lm.work.tokens_fed, lm.cost(instances).tokens
    layers, head = _weights(lm.checkpoint.model)
    found = {"answers": answers, "fed": fed, "forecast": forecast, "layer_weights": layers, "head_weights": head}
    return {"spent": asdict(spent), **found}


def theirs(job: Job) -> dict[str, Any]:
    """Answer `pick` on lm-eval's model at the one batch size."""
    asked = workloads.read(Path(job.requests))
    lm = _their_lm(job.model, asked)
    pace = _pace()
    loaded = _forget_peak(lm.model)
    _ask_theirs(lm, asked, job.warm_up, job.batches[0])
    spent, answers = _ask_theirs(lm, asked, job.pick, job.batches[0])
    spent.loaded, spent.pace = loaded, [pace, _pace()]
    return {"spent": asdict(spent), "answers": answers}


def search(job: Job) -> dict[str, Any]:
    """Answer `pick` at every batch size, smallest first, until one is twice as slow as the best."""
    asked = workloads.read(Path(job.requests))
    lm = _their_lm(job.model, asked)
    _ask_theirs(lm, asked, job.warm_up, 1)
    found: list[tuple[int, dict[str, Any]]] = []
    for batch in job.batches:
        found.append((batch, asdict(_ask_theirs(lm, asked, job.pick, batch)[0])))
        if found[-1][1]["seconds"] > 2 * min(spent["seconds"] for _, spent in found):
            break
    return {"batches": found}


def rows(job: Job) -> dict[str, Any]:
    """Return what lm-eval would feed for every request, and how many nodes a trie of it has."""
    asked = workloads.read(Path(job.requests))
    lm = _their_lm(job.model, asked)
    if asked[0].kind == "generate_until":
        fed = [tuple(lm.tok_encode(one.arguments[0])) for one in asked]
        owners = list(range(len(asked)))
    else:
        pairs, owners = _token_pairs(lm, asked)
        fed = [tuple((context + rest)[-(lm.max_length + 1) : -1]) for context, rest in pairs]
    groups: dict[tuple[int, ...], int] = {}
    found = [Row(owner, groups.setdefault(ids, len(groups)), len(ids)) for owner, ids in zip(owners, fed, strict=True)]
    return {"rows": found, "unique": trie_size(groups)}


def matmul(job: Job) -> dict[str, Any]:
    """Return the most GFLOP/s that float32 products in one layer's shapes reach."""
    return {"gflops": max(_matmuls(2.0))}


def profile(job: Job) -> dict[str, Any]:
    """Return shares of time by kind of operation, the longest operations, and our functions that take longest."""
    lm, instances = _our_lm(job)
    activities = [torch.profiler.ProfilerActivity.CPU]
    _ask(lm, instances[:8])
    with torch.profiler.profile(activities=activities, record_shapes=True) as seen:
        started = time.perf_counter()
        _ask(lm, instances)
        seconds = time.perf_counter() - started
    vocabulary = lm.checkpoint.model.get_output_embeddings().weight.shape[0]
    kinds, operations = Counter[str](), Counter[str]()
    for event in seen.key_averages(group_by_input_shape=True):
        spent = event.self_cpu_time_total / 1e6
        kinds[_kind(event.key, event.input_shapes, vocabulary)] += spent
        operations[event.key] += spent
    kinds[PYTHON] = max(0.0, seconds - sum(kinds.values()))
    return {
        "seconds": seconds,
        "kinds": kinds.most_common(),
        "operations": operations.most_common(8),
        "functions": _functions(lambda: _ask(lm, instances)),
    }


def planner(job: Job) -> dict[str, Any]:
    """Return the seconds that planning takes for every number of requests."""
    plan = _planner()
    found = []
    for requests in job.batches:
        sequences = few_shot_sequences(requests, 800)
        gc.collect()
        started = time.perf_counter()
        plan(sequences)
        found.append((requests, time.perf_counter() - started))
    return {"planned": found}


# -- our planner


def _planner() -> Callable[[list[list[int]]], object]:
    """Return what makes packs of sequences to feed, of which the last token is read."""
    from harness.engine.engine import pack_tokens
    from harness.engine.packing import tree

    limits = tree.Limits(pack_tokens(int(workloads.SIZES["hidden_size"]), "cpu"), 1024)
    return lambda sequences: tree.plan(tree.grow(sequences, [1] * len(sequences)), limits)


def few_shot_sequences(requests: int, tokens: int) -> list[list[int]]:
    """Return `requests` sequences of so many tokens: 100 questions a subject after its shots, 4 letters a question."""
    chance = random.Random(0)
    words = list(range(3, workloads.WORDS))  # the numbers themselves are shared, for there will be 48 million of them
    shots = tokens * 5 // 8
    found: list[list[int]] = []
    while len(found) < requests:
        prefix = chance.choices(words, k=shots)
        for _ in range(100):
            question = prefix + chance.choices(words, k=tokens - shots - 1)
            found += [[*question, letter] for letter in words[:4]]
    return found[:requests]


# -- counting


def trie_size(sequences: Any) -> int:
    """Return how many nodes a trie of `sequences` has: what each, in sorted order, does not share with the one before.

    >>> trie_size([(1, 2, 3), (1, 2), (1, 4)])
    4
    """
    total, before = 0, ()
    for ids in sorted(sequences):
        total += len(ids) - _shared(before, ids)
        before = ids
    return total


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    length = min(len(one), len(other))
    return next((k for k in range(length) if one[k] != other[k]), length)


def _count_tokens(model: Any, spent: Spent) -> list[Any]:
    """Count what enters the embedding and what meets the vocabulary, whoever calls them; return the hooks."""
    head = model.get_output_embeddings()

    def embedded(_: Any, arguments: tuple[Any, ...]) -> None:
        spent.tokens += arguments[0].numel()

    def answered(_: Any, arguments: tuple[Any, ...]) -> None:
        spent.head_rows += arguments[0].numel() // head.in_features

    embedding = model.get_input_embeddings()
    return [embedding.register_forward_pre_hook(embedded), head.register_forward_pre_hook(answered)]


def _count_forwards(model: Any, spent: Spent, generates: bool) -> list[Any]:
    """Tell lm-eval's forwards over prompts from those of one token a row; return the hooks."""
    started = [0.0]

    def entered(*_: Any) -> None:
        started[0] = time.perf_counter()

    def left(_: Any, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        ids = arguments[0] if arguments else named["input_ids"]
        if generates and ids.shape[1] == 1:
            spent.step_cells += ids.numel()
        else:
            spent.prompt_cells += ids.numel()
            spent.prompt_seconds += time.perf_counter() - started[0]

    return [model.register_forward_pre_hook(entered), model.register_forward_hook(left, with_kwargs=True)]


@contextmanager
def _measured(spent: Spent, hooks: list[Any]) -> Iterator[None]:
    """Time what is done, and note the peak memory since the last `_forget_peak`."""
    started = time.perf_counter()
    yield
    spent.seconds = time.perf_counter() - started
    spent.peak = _resident("VmHWM")
    for hook in hooks:
        hook.remove()


def _resident(field: str = "VmRSS") -> int:
    """Return resident bytes, or with VmHWM the most there were.

    Not getrusage's: its peak begins with that of the process which started this one, and cannot be forgotten.
    """
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def _forget_peak(model: Any) -> int:
    """Make Linux forget the peak of loading; return what is resident now.

    Weights that are mapped files count only once they are read, so all are.
    """
    for weight in model.parameters():
        weight.sum()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return _resident()


def _pace() -> float:
    return statistics.median(_matmuls(0.5))


def _weights(model: Any) -> tuple[int, int]:
    """Return how many weights the linear layers have, and how many the vocabulary's."""
    head = model.get_output_embeddings().weight
    linear = [one.weight.numel() for one in model.modules() if isinstance(one, torch.nn.Linear)]
    return sum(linear) - head.numel(), head.numel()


def _matmuls(seconds: float) -> list[float]:
    """Return the GFLOP/s of one round of products after another, for so long."""
    hidden, wide = int(workloads.SIZES["hidden_size"]), int(workloads.SIZES["intermediate_size"])
    shapes = [(hidden, hidden)] * 4 + [(hidden, wide)] * 2 + [(wide, hidden)]
    pairs = [(torch.randn(MATMUL_ROWS, a), torch.randn(a, b)) for a, b in shapes]
    operations = sum(2 * MATMUL_ROWS * a * b for a, b in shapes)
    speeds, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        for left, right in pairs:
            left @ right
        speeds.append(operations / (time.perf_counter() - started) / 1e9)
    return speeds


# -- the two engines


def _our_lm(job: Job) -> tuple[Any, list[Any]]:
    from harness.backends.local import HarnessLM
    from harness.checkpoints import loading
    from harness.checkpoints.reference import CheckpointReference

    asked = workloads.read(Path(job.requests))
    picked = [(i, asked[i]) for i in job.pick] or list(enumerate(asked))
    lm = HarnessLM(loading.load(loading.locate(CheckpointReference(job.model))))
    return lm, [one.instance(i) for i, one in picked]


def _ask(lm: Any, instances: list[Any]) -> list[Any]:
    return list(getattr(lm, instances[0].request_type)(instances, disable_tqdm=True))


def _their_lm(model: str, asked: list[Asked]) -> Any:
    """lm-eval's HF model as people run it, but that an answer ends where `asked` says."""
    from lm_eval.models.huggingface import HFLM
    from transformers import LogitsProcessor, LogitsProcessorList

    class EndAt(LogitsProcessor):
        """Makes the end token the likeliest of a row once its answer has its length."""

        def __init__(self, lengths: torch.Tensor, width: int, end: int) -> None:
            self._lengths, self._width, self._end = lengths, width, end

        def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            scores[self._lengths == ids.shape[1] - self._width + 1, self._end] = torch.finfo(scores.dtype).max
            return scores

    class Peer(HFLM):
        def _model_generate(self, context: Any, max_length: int, stop: list[str], **how: Any) -> Any:
            prompts = zip(context.tolist(), how["attention_mask"].bool().tolist(), strict=True)
            spelled = (tuple(i for i, real in zip(ids, mask, strict=True) if real) for ids, mask in prompts)
            end = EndAt(torch.tensor([lengths[ids] for ids in spelled]), context.shape[1], self.eot_token_id)
            how["logits_processor"] = LogitsProcessorList([end])
            return super()._model_generate(context, max_length, stop, **how)

    lm = Peer(model, device="cpu", dtype="float32", batch_size=1)
    lengths = {tuple(lm.tok_encode(one.arguments[0])): one.answer for one in asked if one.answer}
    return lm


def _ask_theirs(lm: Any, asked: list[Asked], pick: list[int], batch: int) -> tuple[Spent, list[Any]]:
    # One limit for all, so that answers of all lengths share batches: rows end by `EndAt`.
    most = max(one.answer for one in asked)
    instances = [asked[i].instance(i, most) for i in pick]
    lm.batch_size_per_gpu = batch
    spent = Spent()
    generates = instances[0].request_type == "generate_until"
    hooks = [*_count_tokens(lm.model, spent), *_count_forwards(lm.model, spent, generates)]
    with _measured(spent, hooks):
        answers = _ask(lm, instances)
    spent.generated = sum(asked[i].answer for i in pick)
    if not generates:
        spent.prompt_seconds = spent.seconds
    return spent, answers


def _token_pairs(lm: Any, asked: list[Asked]) -> tuple[list[tuple[list[int], list[int]]], list[int]]:
    """Return lm-eval's own token ids, context and continuation, in the order fed, and the request of each."""
    pairs: list[tuple[list[int], list[int]]] = []
    owners: list[int] = []

    def catch(requests: Any, **_: Any) -> list[tuple[float, bool]]:
        pairs.extend((context, rest) for _, context, rest in requests)
        return [(0.0, False)] * len(requests)

    lm._loglikelihood_tokens = catch
    if asked[0].kind == "loglikelihood":
        _ask(lm, [one.instance(i) for i, one in enumerate(asked)])
        return pairs, list(range(len(asked)))
    for i, one in enumerate(asked):
        _ask(lm, [one.instance(i)])
        owners += [i] * (len(pairs) - len(owners))
    return pairs, owners


# -- where time goes


def _kind(operation: str, shapes: Any, vocabulary: int) -> str:
    """Return what an operation is counted as; what touches a whole vocabulary of logits is the vocabulary's."""
    flat = [shape for shape in shapes or [] if isinstance(shape, list)]
    looks_up = "embedding" in operation or "index_select" in operation
    if not looks_up and any(vocabulary in shape for shape in flat):
        return VOCABULARY
    return next((kind for kind, parts in KINDS.items() if any(part in operation for part in parts)), REST)


def _functions(work: Callable[[], object]) -> list[tuple[str, float]]:
    """Return our own functions that take longest, with what they call, by share; not those that call nearly all."""
    seen = cProfile.Profile()
    seen.runcall(work)
    told = pstats.Stats(seen)
    total = told.total_tt
    ours = {
        f"{Path(file).stem}.{name}": spent / total
        for (file, _, name), (_, _, _, spent, _) in told.stats.items()
        if file.startswith(str(ROOT / "harness"))
    }
    return sorted(((name, share) for name, share in ours.items() if share < 0.95), key=lambda item: -item[1])[:12]


SIDES = {one.__name__: one for one in (ours, theirs, search, rows, matmul, profile, planner)}


def main(file: str) -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    job = Job(**json.loads(Path(file).read_text()))
    Path(job.result).write_text(json.dumps(SIDES[job.side](job)))


if __name__ == "__main__":
    main(sys.argv[1])
