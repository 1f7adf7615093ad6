"""A sample of the oracle suite, small enough for every change: real documents, lm-eval's own answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.tasks.catalogue import Catalogue
from harness.tasks.task import Task
from support import lm_eval_peer as peer
from support import mirrors, tiny
from tolerances import FP32_LOGLIKELIHOOD

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    base = tiny.llama(folder / "base", tiny.bench_tokenizer(data), context=2048)
    return {"base": base, "lora": tiny.lora(folder / "lora", base)}


def shorten(task: Task) -> None:
    """Let `task` generate few tokens: `make oracle` compares whole answers."""
    if task.output_type == "generate_until":
        task.generation_settings = {**task.generation_settings, "max_gen_toks": 24}


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("kind", "task", "documents"),
    [("base", "ceval_law", 2), ("base", "mmlu_anatomy", 3), ("lora", "mmlu_anatomy", 2), ("lora", "gsm8k", 2)],
)
def test_every_request_is_answered_as_lm_eval_answers_it(
    checkpoints: dict[str, Path], data: Path, kind: str, task: str, documents: int
) -> None:
    tasks = Catalogue().load([task], data)
    shorten(tasks.tasks[task])
    instances = peer.requests(tasks, documents)
    comparison = peer.compare(peer.ours(checkpoints[kind]), peer.theirs(checkpoints[kind]), instances)
    assert comparison.decisions == 0
    assert comparison.largest is None or comparison.largest <= FP32_LOGLIKELIHOOD


@pytest.mark.parametrize(("name", "limit"), [("gsm8k", 300), ("mmlu_anatomy", None), ("gsm8k_cot", 3)])
def test_prompts_are_stock_lm_evals_to_the_byte(data: Path, name: str, limit: int | None) -> None:
    (mine,) = mirrors.tasks([name], data).values()
    (theirs,) = peer.stock(name, data, whole_tree=False).values()
    assert peer.arguments(mine, limit) == peer.arguments(theirs, limit)


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A checkpoint whose tokenizer puts BOS before every text and whose chat template writes it, too."""
    from tokenizers.processors import TemplateProcessing

    words = tiny.bench_tokenizer(data)
    words._tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", words.bos_token_id)])
    words.chat_template = (
        "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    return tiny.llama(tmp_path_factory.mktemp("chatty"), words, context=4096)


@pytest.mark.parametrize(("task", "chat"), [("ceval_law", False), ("ceval_law", True), ("gsm8k", True)])
def test_with_bos_and_a_chat_template_prompts_and_answers_are_lm_evals(
    chatty: Path, data: Path, task: str, chat: bool
) -> None:
    mine, theirs = peer.ours(chatty), peer.theirs(chatty)
    instances = []
    for lm in (mine, theirs):
        (built,) = mirrors.tasks([task], data).values()
        shorten(Task(built))
        settings = {"apply_chat_template": chat, "fewshot_as_multiturn": chat, "system_instruction": "Be brief."}
        built.build_all_requests(limit=2, chat_template=lm.apply_chat_template if chat else None, **settings)
        instances.append(built.instances)
    assert [instance.args for instance in instances[0]] == [instance.args for instance in instances[1]]
    ids = mine.encoder.encode([instances[0][0].args[0]])[instances[0][0].args[0]]
    assert ids.count(mine.tokenizer.bos_token_id) == 1
    comparison = peer.compare(mine, theirs, instances[0])
    assert comparison.decisions == 0
    assert comparison.largest is None or comparison.largest <= FP32_LOGLIKELIHOOD


def test_a_task_built_again_draws_the_same_shots(data: Path) -> None:
    (task,) = mirrors.tasks(["gsm8k"], data).values()
    first = peer.arguments(task, 5)
    Task(task).reseed()
    assert peer.arguments(task, 3) == first[:3]


def test_rolling_log_likelihoods_are_lm_evals(checkpoints: dict[str, Path], data: Path) -> None:
    from lm_eval.api.instance import Instance

    mine, theirs = peer.ours(checkpoints["base"]), peer.theirs(checkpoints["base"])
    texts = ["", "短", *(text * 40 for text in tiny.TEXTS)]
    requests = [Instance("loglikelihood_rolling", {}, (text,), i, ("t", i, 1)) for i, text in enumerate(texts)]
    expected = theirs.loglikelihood_rolling(requests, disable_tqdm=True)
    assert mine.loglikelihood_rolling(requests) == pytest.approx(expected, abs=FP32_LOGLIKELIHOOD * 40)
