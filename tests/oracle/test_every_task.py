"""`make oracle`: every task on real documents, for a base, a LoRA and a P-tuned checkpoint, beside lm-eval's own model.

Requests that lm-eval knows are put to both. Those of `harness.tasks.protocols` have no peer there: they are run, and
held against brute force in `tests/engine/`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from harness.checkpoints.reference import parse
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.catalogue import Catalogue
from support import architectures, measured, tiny
from support import lm_eval_peer as peer
from tolerances import FP32_LOGLIKELIHOOD

pytestmark = [pytest.mark.oracle, pytest.mark.data]

NLI = [f"{name}{kind}" for name in ("cmnli", "ocnli") for kind in ("", "_letter", "_gen", "_gen_51e956")]
EXTRACTION = [
    *("extraction", "cluener_sentences", "cluener_key_value", "cluener_json", "conll2003_ner_json"),
    *("duie_json", "duee_json", "iepile"),
]
COMPARED = [
    *(*NLI, "ceval", "c3", "c3_letter", "c3_gen", "ceval_test", "ceval_gen", "ceval_gen_cot", "ceval_gen_cot_llama"),
    *("mmlu", "mmlu_hendrycks", "gsm8k", "gsm8k_cot", "gsm8k_fixed"),
    *("piqa", "mrpc", "sst2", "agieval_jec_qa_kd", "agieval_jec_qa_ca", "cmmlu", "adgen"),
    *EXTRACTION,
    *("legal_consult", "legal_consult_no_articles", "legal_consult_multi_turn"),
    *("jec_qa", "lawbench", "lawbench_one_shot", "disc_law"),
]
NO_PEER = [
    *("ceval_cot", "c3_ppl", "adgen_chatglm", "adgen_chatglm2"),
    *(f"{name}_ppl{kind}" for name in ("cmnli", "ocnli") for kind in ("", "_98dd6e")),
]
RUN = [*COMPARED, *NO_PEER]
KINDS = ("base", "lora", "prefix")
DOCUMENTS = 12
REPORT = Path(__file__).resolve().parents[2] / "reports" / f"{date.today():%Y-%m-%d}-oracle-every-task.md"
HEAD = """# Every task against lm-eval, {today}

Made by `make oracle`. {versions}; Python {python} on {machine}, CPU, fp32.

{documents} real documents of each task, spread over its subjects, with the shots it has by default. The same requests
put to this project's engine and to lm-eval's `HFLM` at batch size 1 with `logits_cache=False`: a random LLaMA with
grouped-query attention and a 32k vocabulary, a LoRA on it, and a prefix (P-tuning v2). The tolerance is {tolerance:g}
absolute; decisions are greedy flags and generated texts (up to 48 tokens).

| task | checkpoint | requests | largest difference of log-likelihoods | decisions that differ |
|---|---|---|---|---|
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    base = tiny.llama(root / "base", tiny.bench_tokenizer(data), context=4096)
    return {"base": base} | {
        method: architectures.adapter(root / method, base, "llama", method) for method in KINDS[1:]
    }


@pytest.fixture(scope="module")
def report() -> Iterator[list[str]]:
    rows: list[str] = []
    yield rows
    packages = ("lm_eval", "torch", "transformers", "peft")
    head = HEAD.format(
        **measured.on(*packages),
        documents=DOCUMENTS,
        tolerance=FP32_LOGLIKELIHOOD,
    )
    REPORT.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", COMPARED)
def test_every_request_is_answered_as_lm_eval_answers_it(
    folders: dict[str, Path], data: Path, report: list[str], kind: str, task: str
) -> None:
    instances = peer.requests(Catalogue().load([task], data), DOCUMENTS)
    for instance in instances:
        if instance.request_type == "generate_until":
            instance.arguments = (instance.args[0], instance.args[1] | {"max_gen_toks": 48})
    comparison = peer.compare(peer.ours(folders[kind]), peer.theirs(folders[kind]), instances)
    largest = "–" if comparison.largest is None else f"{comparison.largest:.1e}"
    report.append(f"| {task} | {kind} | {comparison.requests:,} | {largest} | {comparison.cell} |")
    assert comparison.decisions == 0
    assert comparison.largest is None or comparison.largest <= FP32_LOGLIKELIHOOD


def test_no_task_is_forgotten() -> None:
    """But sciq, whose data no mirror here holds, and so the group it is in; and the demo's."""
    listed = set(Catalogue().names()) | set(Catalogue().sources(["lawyer_llama"], None))
    parts = {leaf for name in RUN for leaf in Catalogue().sources([name], None)}
    assert listed - set(RUN) - parts == {"sciq", "lawyer_llama", "demo"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_task_runs(folders: dict[str, Path], data: Path, tmp_path: Path, kind: str) -> None:
    """And every average is there, with an interval that holds it."""
    options = Options(tuple(RUN), tmp_path, data=data, limit=1, max_gen_toks=8)
    [report] = run([parse(str(folders[kind]))], options)
    assert set(report.manifest.tasks) == set(Catalogue().sources(RUN, data))
    for score in report.manifest.scores:
        assert math.isfinite(score.value), score
        assert score.low is None or score.low <= score.value <= score.high, score
    reported = {score.task for score in report.manifest.scores}
    assert {"ceval", "ceval/Hard", "ceval_cot", "mmlu_hendrycks", "cmmlu", "c3_ppl", "gsm8k_fixed"} <= reported
