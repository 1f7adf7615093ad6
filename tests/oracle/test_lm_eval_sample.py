"""A sample of the oracle suite, small enough for every change: real documents, lm-eval's own answers."""

from __future__ import annotations

from pathlib import Path

import lm_eval_peer as peer
import pytest
import tiny
from tolerances import FP32_LOGLIKELIHOOD

from harness.tasks import Catalogue, reseed

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    base = tiny.llama(folder / "base", tiny.bench_tokenizer(data), context=2048)
    return {"base": base, "lora": tiny.lora(folder / "lora", base)}


@pytest.mark.parametrize("kind", ["base", "lora"])
@pytest.mark.parametrize(("task", "documents"), [("ceval_law", 5), ("mmlu_anatomy", 5), ("gsm8k", 2)])
def test_every_request_is_answered_as_lm_eval_answers_it(
    checkpoints: dict[str, Path], data: Path, kind: str, task: str, documents: int
) -> None:
    instances = peer.requests(Catalogue().load([task], data), documents)
    found = peer.compare(peer.ours(checkpoints[kind]), peer.theirs(checkpoints[kind]), instances)
    assert found.decisions == 0
    assert found.largest <= FP32_LOGLIKELIHOOD


@pytest.mark.parametrize(("name", "limit"), [("gsm8k", 7), ("gsm8k", None), ("mmlu_anatomy", None), ("gsm8k_cot", 3)])
def test_prompts_are_stock_lm_evals_to_the_byte(data: Path, name: str, limit: int | None) -> None:
    (mine,) = Catalogue().load([name], data).tasks.values()
    (theirs,) = peer.stock(name, data, whole_tree=False).values()
    assert peer.arguments(mine, limit) == peer.arguments(theirs, limit)


def test_a_task_asked_again_draws_the_same_shots(data: Path) -> None:
    (task,) = Catalogue().load(["gsm8k"], data).tasks.values()
    first = peer.arguments(task, 5)
    reseed(task)
    assert peer.arguments(task, 3) == first[:3]


def test_rolling_log_likelihoods_are_lm_evals(checkpoints: dict[str, Path], data: Path) -> None:
    from lm_eval.api.instance import Instance

    mine, theirs = peer.ours(checkpoints["base"]), peer.theirs(checkpoints["base"])
    texts = ["", "短", *(text * 40 for text in tiny.TEXTS)]
    made = [Instance("loglikelihood_rolling", {}, (text,), i, ("t", i, 1)) for i, text in enumerate(texts)]
    expected = theirs.loglikelihood_rolling(made, disable_tqdm=True)
    assert mine.loglikelihood_rolling(made) == pytest.approx(expected, abs=FP32_LOGLIKELIHOOD * 40)
