"""`make oracle`: every kind of task on real documents, in blocks and in one go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.checkpoints.reference import parse
from harness.gating import blocks
from harness.runs.options import Options
from harness.runs.sweep import run
from support import tiny
from tolerances import FP32_LOGLIKELIHOOD

pytestmark = [pytest.mark.oracle, pytest.mark.data]

# One of each class, each shape of answer and each aggregation that is no mean.
TASKS = (
    *("ceval_law", "ceval_cot_law", "mmlu_anatomy", "mmlu_hendrycks_high_school_us_history", "gsm8k"),
    *("c3", "c3_ppl", "ocnli_ppl_98dd6e", "jec_qa", "disc_law_single_lbk"),
    *("adgen", "adgen_chatglm", "cluener", "duee_json", "iepile_re", "iepile_ee"),
    *("legal_consult", "legal_consult_multi_turn", "lawbench_2_1", "lawbench_3_3", "lawbench_one_shot_2_5"),
    *("agieval_sat_en", "piqa"),
)
LIMIT = 7


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("models") / "base", tiny.bench_tokenizer(data), context=4096)


def test_blocks_together_are_the_run(base: Path, data: Path, tmp_path: Path) -> None:
    reference = parse(str(base))
    settings = {"data": data, "limit": LIMIT, "max_gen_toks": 8}
    whole = next(run([reference], Options(TASKS, tmp_path / "whole", **settings)))
    with blocks.open_blocks(reference, Options(TASKS, tmp_path / "parts", **settings)) as evaluation:
        while evaluation.evaluate(list(evaluation.headlines), 3).rows:
            pass
        parts, tokens = evaluation.write_report(), evaluation.token_counts()
    assert tokens.evaluated == tokens.all_documents
    assert list(parts.manifest.tasks) == list(whole.manifest.tasks)
    assert [(score.task, score.metric, score.filter) for score in parts.manifest.scores] == [
        (score.task, score.metric, score.filter) for score in whole.manifest.scores
    ]
    for score, other in zip(parts.manifest.scores, whole.manifest.scores, strict=True):
        assert score.value == pytest.approx(other.value, rel=1e-12), score.task
        assert (score.low, score.high, score.n) == pytest.approx((other.low, other.high, other.n), nan_ok=True)
    for task in whole.manifest.tasks:
        samples, others = parts.samples(task), whole.samples(task)
        assert samples.drop(columns="logprobs").equals(others.drop(columns="logprobs")), task
        for left, right in zip(samples["logprobs"], others["logprobs"], strict=True):
            if left is not None or right is not None:
                assert np.abs(np.asarray(left) - np.asarray(right)).max() < FP32_LOGLIKELIHOOD, task
