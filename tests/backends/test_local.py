"""The engine as lm-eval's model: chat templates, the journal, and full memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance

import tolerances
from harness.backends.journal import Journal
from harness.backends.local import HarnessLM
from harness.checkpoints import loading
from harness.checkpoints.reference import CheckpointReference
from harness.common import versions
from harness.engine.decoding.settings import Settings
from harness.engine.engine import AnswerBatch, Engine
from harness.engine.packing import packs
from harness.engine.requests import Generation, LogLikelihood, Pair, Prompt
from harness.errors import HarnessError
from support import tiny

NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
    "{{ m.content }}{% endfor %}"
)
CONVERSATION = [{"role": "system", "content": "规则"}, {"role": "user", "content": "问"}]


@pytest.fixture
def lm(tmp_path: Path) -> HarnessLM:
    folder = tiny.llama(tmp_path / "model")
    checkpoint = loading.load(loading.locate(CheckpointReference(str(folder))))
    return HarnessLM(checkpoint, Journal(tmp_path / "journal.sqlite"))


def test_a_template_without_a_system_role_drops_its_text_as_lm_eval_does(lm: HarnessLM) -> None:
    lm.tokenizer.chat_template = NO_SYSTEM
    assert lm.apply_chat_template(CONVERSATION) == "问"
    assert lm.conversations.dropped_system


@pytest.mark.parametrize("template", ["{{ raise_exception('never') }}", "{{ nothing.at.all }}", "{% if"])
def test_a_template_that_cannot_be_rendered_is_an_error(lm: HarnessLM, template: str) -> None:
    lm.tokenizer.chat_template = template
    with pytest.raises(HarnessError, match="cannot be rendered"):
        lm.apply_chat_template(CONVERSATION[1:])
    assert not lm.conversations.dropped_system


def test_a_stored_answer_of_the_wrong_form_is_computed_again(lm: HarnessLM) -> None:
    pair = Pair([5, 6], [7])
    (score,) = lm.score([pair])
    assert lm.journal is not None
    values = (
        *(None, [1.0], {"a": 1}, [None, True], ["-1.0", True]),
        *([math.nan, True], [0.5, True], [math.inf, True], [-1.0, 1]),
    )
    for value in values:
        lm.journal.put({lm._key("loglikelihood", pair.context, pair.continuation): value})
        assert lm.score([pair]) == [score]
    assert lm.journal_notes() == [
        f"{len(values)} rows of the journal were damaged or held no possible answer: computed again"
    ]
    assert HarnessLM(lm.checkpoint, lm.journal).journal_notes() == []  # each report counts its own


def test_an_answer_that_no_model_gives_is_not_stored(lm: HarnessLM, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = AnswerBatch([(0, LogLikelihood(math.nan, False))], 1)
    monkeypatch.setattr(lm.engine, "score", lambda pairs, missing: iter([batch]))
    (score,) = lm.score([Pair([5, 6], [7])])
    assert math.isnan(score.logprob)
    assert lm.journal is not None
    assert lm.journal.get([lm._key("loglikelihood", [5, 6], [7])]) == {}
    assert lm.journal.failed_rows == 0


PAIRS = [Pair([*range(10, 40), i], [60, 61 + i]) for i in range(12)]
PROMPTS = [Prompt([*range(10, 40), i], Settings(max_tokens=4 + i)) for i in range(12)]


def answer(lm: HarnessLM, kind: str) -> list[Any]:
    return lm.score(PAIRS) if kind == "score" else lm.generate(PROMPTS)


@pytest.mark.parametrize("kind", ["score", "decode"])
def test_a_resumed_run_feeds_only_missing_tokens_and_answers_are_equal_to_the_last_bit(
    lm: HarnessLM, kind: str
) -> None:
    lm.engine.pack_tokens, lm.engine.rows = 16, 4
    whole = HarnessLM(lm.checkpoint, batch_tokens=16)
    whole.engine.rows = 4
    expected = answer(whole, kind)

    progress: list[int] = []

    def interrupt(answers: int) -> None:
        progress.append(answers)
        if sum(progress) > 3:
            raise KeyboardInterrupt

    lm.advance = interrupt
    with pytest.raises(KeyboardInterrupt):
        answer(lm, kind)
    resumed = HarnessLM(lm.checkpoint, lm.journal, batch_tokens=16)
    resumed.engine.rows = 4
    assert answer(resumed, kind) == expected
    assert 0 < resumed.work.answered_from_journal < len(PAIRS)
    assert resumed.work.tokens_fed + resumed.work.tokens_generated < whole.work.tokens_fed + whole.work.tokens_generated
    last = HarnessLM(lm.checkpoint, lm.journal, batch_tokens=16)
    assert answer(last, kind) == expected
    assert last.work.tokens_fed == 0


def test_equal_greedy_prompts_are_answered_once_and_all_count_as_progress(lm: HarnessLM) -> None:
    progress: list[int] = []
    lm.advance = progress.append
    prompts = [PROMPTS[0], PROMPTS[1], PROMPTS[0]]
    texts = lm.generate(prompts)
    assert texts == [*HarnessLM(lm.checkpoint).generate(prompts[:2]), texts[0]]
    assert lm.work.tokens_generated <= PROMPTS[0].settings.max_tokens + PROMPTS[1].settings.max_tokens
    assert sum(progress) == 3


def limit_memory(monkeypatch: pytest.MonkeyPatch, tokens: int) -> list[int]:
    """Make every pass of more than `tokens` tokens fail; return a list of the sizes of all other passes."""
    original, sizes = packs.forward, []

    def forward(model: Any, ids: torch.Tensor, *arguments: Any) -> Any:
        if ids.numel() > tokens:
            raise torch.OutOfMemoryError
        sizes.append(ids.numel())
        return original(model, ids, *arguments)

    monkeypatch.setattr(packs, "forward", forward)
    return sizes


@pytest.mark.parametrize("kind", ["score", "decode"])
def test_full_memory_halves_the_packs_and_loses_no_answer(
    lm: HarnessLM, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answer(HarnessLM(lm.checkpoint), kind)
    lm.engine.pack_tokens, lm.engine.rows = 64, 64
    progress: list[int] = []
    lm.advance = progress.append
    lm.engine.skippable  # noqa: B018 - the probes run before memory is full
    sizes = limit_memory(monkeypatch, 10)
    answers = answer(lm, kind)
    assert max(sizes) <= 10
    assert lm.engine.pack_tokens == 8
    (note,) = lm.engine.notes()
    assert note.startswith("cpu ran out of memory, so in the end 8 tokens went through the model at once")
    assert sum(progress) == len(PAIRS)
    if kind == "decode":
        assert answers == expected
    else:
        for score, expected_score in zip(answers, expected, strict=True):
            assert abs(score.logprob - expected_score.logprob) <= tolerances.FP32_LOGLIKELIHOOD
            assert score.greedy == expected_score.greedy


def test_memory_too_small_for_any_pack_is_an_error(lm: HarnessLM, monkeypatch: pytest.MonkeyPatch) -> None:
    lm.engine.skippable  # noqa: B018
    limit_memory(monkeypatch, 0)
    with pytest.raises(HarnessError, match="ran out of memory: try dtype=bfloat16"):
        answer(lm, "score")


def test_another_failure_of_the_model_does_not_count_as_full_memory(
    lm: HarnessLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm.engine.skippable  # noqa: B018

    def forward(*_: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(packs, "forward", forward)
    with pytest.raises(RuntimeError, match="shapes"):
        answer(lm, "score")


def test_an_empty_prompt_starts_from_the_prefix_token(lm: HarnessLM) -> None:
    settings = {"until": ["\n"], "max_gen_toks": 4}
    requests = [Instance("generate_until", {}, (text, settings), 0, ("t", 0, 1)) for text in ("", "<s>")]
    empty, prefix = lm.generate_until(requests)
    assert empty == prefix


@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_mean_loglikelihoods_are_opencompass_s_perplexities(lm: HarnessLM, batch_tokens: int) -> None:
    """Against brute force: the sum over all tokens except the first, divided by the number of all tokens."""
    lm.engine = Engine(lm.checkpoint, batch_tokens=batch_tokens)
    texts = [("今天天气", "很好"), ("", "好"), ("问：甲？\n答：", "乙和丙丁"), ("", "a"), ("长" * 700, "尾")]
    requests = [Instance("mean_loglikelihood", {}, args, i, ("t", 0, 1)) for i, args in enumerate(texts)]
    for args, (mean, _) in zip(texts, lm.mean_loglikelihood(requests), strict=True):
        ids = lm.tokenizer("".join(args))["input_ids"][-lm.max_length :]
        with torch.inference_mode():
            rows = lm.checkpoint.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        total = sum(float(rows[i, token]) for i, token in enumerate(ids[1:]))
        assert mean == pytest.approx(total / len(ids), abs=tolerances.FP32_LOGLIKELIHOOD)
    assert lm.work.truncated == 1


def test_the_second_pass_reads_the_thought_and_chooses_the_letter_with_the_largest_logit(
    lm: HarnessLM, monkeypatch
) -> None:
    """With a scripted first pass, the second equals one plain forward pass over the prompt with the thought."""
    thoughts = ["想了想，是乙", "", "答：A"]
    monkeypatch.setattr(lm, "generate", lambda prompts: [Generation(text, is_cut=False) for text in thoughts])
    then = ["[Round 1]\n\n问：甲？\nA. 一", "\n综上：\n\n答："]
    settings = {"until": [], "do_sample": False, "max_gen_toks": 8, "then": then}
    requests = [
        Instance("think_then_choose", {}, ("[Round 1]\n\n问：甲？\n\n答：", settings), i, ("t", i, 1)) for i in range(3)
    ]
    assert lm.cost(requests).generated_at_most == 24
    letters = [lm.tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in "ABCD"]
    for thought, answer in zip(thoughts, lm.think_then_choose(requests), strict=True):
        ids = lm.tokenizer(f"{then[0]}{thought}{then[1]}")["input_ids"]
        with torch.inference_mode():
            last = lm.checkpoint.model(torch.tensor([ids])).logits[0, -1]
        assert answer == f"{thought}{then[1]}{'ABCD'[int(last[letters].argmax())]}"


@pytest.mark.parametrize("package", ["torch", "transformers", "tokenizers", "peft", "bitsandbytes", "lm_eval"])
def test_an_answer_of_another_version_of_a_library_is_not_used(
    lm: HarnessLM, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    pair = Pair([5, 6], [7])
    lm.score([pair])
    real = versions.installed
    monkeypatch.setattr(versions, "installed", lambda packages: real(packages) | {package: "0.0.1"})
    other = HarnessLM(lm.checkpoint, lm.journal)
    other.score([pair])
    assert other.work.answered_from_journal == 0
    monkeypatch.undo()
    same = HarnessLM(lm.checkpoint, lm.journal)
    same.score([pair])
    assert same.work.answered_from_journal == 1
