"""What one process of `generation` does: `python generation_sides.py JOB.json`, which names the result's file.

ours    all prompts put to `HarnessLM`
theirs  all prompts put to lm-eval's `HFLM` at one batch size
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from lm_eval.api.instance import Instance

import sides
import workloads
from sides import Spent
from support import steps
from workloads import Asked


def ours(job: dict[str, Any], asked: Sequence[Asked]) -> dict[str, Any]:
    """Return what our engine spends."""
    from harness.backends.local import HarnessLM
    from harness.checkpoints import loading
    from harness.checkpoints.reference import parse

    lm = HarnessLM(loading.load(loading.locate(parse(f"{job['model']},dtype={job['dtype']}"))))
    _warm_up(lm, asked)
    fed, generated, start = lm.work.tokens_fed, lm.work.tokens_generated, _age()
    with steps.counted() as rows:
        spent, _ = _answer(lm, asked)
    return {
        **_common(spent),
        "start": start,
        "prompt_tokens": lm.work.tokens_fed - fed,
        "generated": lm.work.tokens_generated - generated,
        "steps": len(rows),
        "rows": sum(rows),
    }


def theirs(job: dict[str, Any], asked: Sequence[Asked]) -> dict[str, Any]:
    """Return what lm-eval's own model spends at the batch size of the job."""
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(job["model"], device="cpu", dtype=job["dtype"], batch_size=job["batch"], max_length=job["context"])
    _warm_up(lm, asked)
    start = _age()
    spent, texts = _answer(lm, asked)
    # HFLM returns texts up to their stop string; what was decoded behind it is not counted.
    return {
        **_common(spent),
        "start": start,
        "prompt_tokens": sum(len(lm.tok_encode(request.arguments[0])) for request in asked),
        "generated": sum(len(lm.tok_encode(text)) for text in texts if isinstance(text, str)),
        "batch": job["batch"],
    }


def _answer(lm: Any, asked: Sequence[Asked]) -> tuple[Spent, list[Any]]:
    instances = [request.instance(i) for i, request in enumerate(asked)]
    spent = Spent(loaded=sides._forget_peak(lm.model if hasattr(lm, "model") else lm.checkpoint.model))
    started = time.perf_counter()
    texts = list(getattr(lm, asked[0].kind)(instances, disable_tqdm=True))
    spent.seconds, spent.peak = time.perf_counter() - started, sides._resident("VmHWM")
    return spent, texts


def _age() -> float:
    """Return for how many seconds this process has been running."""
    return time.time() - psutil.Process().create_time()


def _common(spent: Spent) -> dict[str, Any]:
    return {"seconds": spent.seconds, "peak": spent.peak, "loaded": spent.loaded}


def _warm_up(lm: Any, asked: Sequence[Asked]) -> None:
    kind = asked[0].kind
    arguments = ("Hello.", {**asked[0].arguments[1], "max_gen_toks": 2} if kind == "generate_until" else " World.")
    getattr(lm, kind)([Instance(kind, {}, arguments, 0, ("warm-up", 0, 1))], disable_tqdm=True)


def main(file: str) -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    job = json.loads(Path(file).read_text())
    side = {"ours": ours, "theirs": theirs}[job["side"]]
    Path(job["result"]).write_text(json.dumps(side(job, workloads.read(Path(job["requests"])))))


if __name__ == "__main__":
    main(sys.argv[1])
