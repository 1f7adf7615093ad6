"""`make bench`: tokens fed and wall time of the engine beside lm-eval's HF model, in one run; no time is asserted."""

from __future__ import annotations

import copy
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "oracle"))
import lm_eval_peer as peer

from harness.tasks import Catalogue

pytestmark = [pytest.mark.bench, pytest.mark.data]


@pytest.mark.parametrize(("task", "documents"), [("ceval_law", 24), ("mmlu_anatomy", 24), ("gsm8k", 4)])
def test_work_beside_lm_eval(tmp_path: Path, data: Path, task: str, documents: int) -> None:
    folder = tiny.llama(
        tmp_path / "base", tiny.bench_tokenizer(data), context=2048, hidden_size=256, num_hidden_layers=4
    )
    instances = peer.requests(Catalogue().load([task], data, num_fewshot=5), documents)
    mine, theirs = peer.ours(folder), peer.theirs(folder)
    theirs.logits_cache = True  # as people run it
    ours, lm_evals = _seconds(mine, instances), _seconds(theirs, instances)
    print(
        f"\n{task}: {len(instances)} requests, {mine.work.tokens_fed:,} tokens fed, {mine.work.tokens_generated:,} "
        f"generated; {ours:.1f} s against lm-eval's {lm_evals:.1f} s at batch size 1 ({lm_evals / ours:.2f}×)"
    )
    assert mine.work.tokens_fed == mine.cost(instances).tokens


def _seconds(lm: Any, instances: list[Any]) -> float:
    started = time.perf_counter()
    getattr(lm, instances[0].request_type)(copy.deepcopy(instances))
    return time.perf_counter() - started
