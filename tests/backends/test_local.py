"""The engine as lm-eval's model: chat templates, the journal, and what happens where memory is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tolerances
from harness.backends.journal import Journal
from harness.backends.local import HarnessLM
from harness.checkpoints import loading
from harness.checkpoints.reference import CheckpointReference
from harness.engine.decoding.settings import Settings
from harness.engine.engine import Engine
from harness.engine.packing import packs
from harness.engine.requests import Pair, Prompt
from harness.errors import HarnessError
from support import tiny

NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
    "{{ m.content }}{% endfor %}"
)
TALK = [{"role": "system", "content": "规则"}, {"role": "user", "content": "问"}]


@pytest.fixture
def lm(tmp_path: Path) -> HarnessLM:
    folder = tiny.llama(tmp_path / "model")
    checkpoint = loading.load(loading.locate(CheckpointReference(str(folder))))
    return HarnessLM(checkpoint, Journal(tmp_path / "journal.sqlite"))


def test_a_template_without_a_system_role_drops_it_as_lm_eval_does_and_tells(lm: HarnessLM) -> None:
    lm.tokenizer.chat_template = NO_SYSTEM
    assert lm.apply_chat_template(TALK) == "问"
    assert lm.dropped_system


@pytest.mark.parametrize("template", ["{{ raise_exception('never') }}", "{{ nothing.at.all }}", "{% if"])
def test_a_template_that_cannot_be_rendered_is_told_of(lm: HarnessLM, template: str) -> None:
    lm.tokenizer.chat_template = template
    with pytest.raises(HarnessError, match="cannot be rendered"):
        lm.apply_chat_template(TALK[1:])
    assert not lm.dropped_system


def test_an_answer_of_the_wrong_shape_is_computed_anew(lm: HarnessLM) -> None:
    asked = [Pair([5, 6], [7])]
    (right,) = lm.score(asked)
    assert lm.journal is not None
    for wrong in (None, [1.0], {"a": 1}, [None, True]):
        lm.journal.put({lm._key("loglikelihood", asked[0].context, asked[0].continuation): wrong})
        assert lm.score(asked) == [right]


PAIRS = [Pair([*range(10, 40), i], [60, 61 + i]) for i in range(12)]
PROMPTS = [Prompt([*range(10, 40), i], Settings(max_tokens=4 + i)) for i in range(12)]


def ask(lm: HarnessLM, kind: str) -> list[Any]:
    return lm.score(PAIRS) if kind == "score" else lm.generate(PROMPTS)


@pytest.mark.parametrize("kind", ["score", "decode"])
def test_a_resumed_run_feeds_only_what_is_missing_and_answers_the_same_to_the_last_bit(
    lm: HarnessLM, kind: str
) -> None:
    lm.engine.pack_tokens, lm.engine.rows = 16, 4
    whole = HarnessLM(lm.checkpoint, batch_tokens=16)
    whole.engine.rows = 4
    expected = ask(whole, kind)

    told: list[int] = []

    def interrupted(answers: int) -> None:
        told.append(answers)
        if sum(told) > 3:
            raise KeyboardInterrupt

    lm.advance = interrupted
    with pytest.raises(KeyboardInterrupt):
        ask(lm, kind)
    again = HarnessLM(lm.checkpoint, lm.journal, batch_tokens=16)
    again.engine.rows = 4
    assert ask(again, kind) == expected
    assert 0 < again.work.answered_from_journal < len(PAIRS)
    assert again.work.tokens_fed + again.work.tokens_generated < whole.work.tokens_fed + whole.work.tokens_generated
    last = HarnessLM(lm.checkpoint, lm.journal, batch_tokens=16)
    assert ask(last, kind) == expected
    assert last.work.tokens_fed == 0


def test_equal_greedy_prompts_are_answered_once_and_all_are_told(lm: HarnessLM) -> None:
    told: list[int] = []
    lm.advance = told.append
    asked = [PROMPTS[0], PROMPTS[1], PROMPTS[0]]
    found = lm.generate(asked)
    assert found == [*HarnessLM(lm.checkpoint).generate(asked[:2]), found[0]]
    assert lm.work.tokens_generated <= PROMPTS[0].settings.max_tokens + PROMPTS[1].settings.max_tokens
    assert sum(told) == 3


def limit_memory(monkeypatch: pytest.MonkeyPatch, tokens: int) -> list[int]:
    """Make every pass of more than `tokens` tokens fail; return the sizes of those that did not."""
    plain, passed = packs.forward, []

    def forward(model: Any, ids: torch.Tensor, *how: Any) -> Any:
        if ids.numel() > tokens:
            raise torch.OutOfMemoryError
        passed.append(ids.numel())
        return plain(model, ids, *how)

    monkeypatch.setattr(packs, "forward", forward)
    return passed


@pytest.mark.parametrize("kind", ["score", "decode"])
def test_full_memory_halves_the_packs_and_loses_nothing(
    lm: HarnessLM, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ask(HarnessLM(lm.checkpoint), kind)
    lm.engine.pack_tokens, lm.engine.rows = 64, 64
    told: list[int] = []
    lm.advance = told.append
    lm.engine.skippable  # noqa: B018 - the probes come before memory is full
    passed = limit_memory(monkeypatch, 10)
    found = ask(lm, kind)
    assert max(passed) <= 10
    assert lm.engine.pack_tokens == 8
    (told_so,) = lm.engine.notes()
    assert told_so.startswith("cpu ran out of memory, so in the end 8 tokens went through the model at once")
    assert sum(told) == len(PAIRS)
    if kind == "decode":
        assert found == expected
    else:
        for one, other in zip(found, expected, strict=True):
            assert abs(one.logprob - other.logprob) <= tolerances.FP32_LOGLIKELIHOOD
            assert one.greedy == other.greedy


def test_memory_that_no_pack_fits_is_told_of(lm: HarnessLM, monkeypatch: pytest.MonkeyPatch) -> None:
    lm.engine.skippable  # noqa: B018
    limit_memory(monkeypatch, 0)
    with pytest.raises(HarnessError, match="ran out of memory: try dtype=bfloat16"):
        ask(lm, "score")


def test_another_failure_of_the_model_is_not_taken_for_full_memory(
    lm: HarnessLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm.engine.skippable  # noqa: B018

    def forward(*_: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(packs, "forward", forward)
    with pytest.raises(RuntimeError, match="shapes"):
        ask(lm, "score")


def test_an_empty_prompt_starts_from_the_prefix_token(lm: HarnessLM) -> None:
    from lm_eval.api.instance import Instance

    how = {"until": ["\n"], "max_gen_toks": 4}
    made = [Instance("generate_until", {}, (text, how), 0, ("t", 0, 1)) for text in ("", "<s>")]
    empty, prefix = lm.generate_until(made)
    assert empty == prefix


@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_mean_loglikelihoods_are_opencompass_s_perplexities(lm: HarnessLM, batch_tokens: int) -> None:
    """The sum over all tokens but the first, divided by all, of one text of prompt and answer (brute force)."""
    from lm_eval.api.instance import Instance

    lm.engine = Engine(lm.checkpoint, batch_tokens=batch_tokens)
    texts = [("今天天气", "很好"), ("", "好"), ("问：甲？\n答：", "乙和丙丁"), ("", "a"), ("长" * 700, "尾")]
    made = [Instance("mean_loglikelihood", {}, args, i, ("t", 0, 1)) for i, args in enumerate(texts)]
    for args, (found, _) in zip(texts, lm.mean_loglikelihood(made), strict=True):
        ids = lm.tokenizer("".join(args))["input_ids"][-lm.max_length :]
        with torch.inference_mode():
            rows = lm.checkpoint.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        said = sum(float(rows[i, token]) for i, token in enumerate(ids[1:]))
        assert found == pytest.approx(said / len(ids), abs=tolerances.FP32_LOGLIKELIHOOD)
    assert lm.work.truncated == 1


def test_two_passes_show_a_thought_to_the_checkpoint_and_read_the_largest_letter(lm: HarnessLM, monkeypatch) -> None:
    """With a scripted first pass, the second is one plain forward over the prompt that holds the thought."""
    from lm_eval.api.instance import Instance

    thoughts = ["想了想，是乙", "", "答：A"]
    monkeypatch.setattr(lm, "generate", lambda prompts: thoughts)
    then = ["[Round 1]\n\n问：甲？\nA. 一", "\n综上：\n\n答："]
    how = {"until": [], "do_sample": False, "max_gen_toks": 8, "then": then}
    made = [Instance("think_then_choose", {}, ("[Round 1]\n\n问：甲？\n\n答：", how), i, ("t", i, 1)) for i in range(3)]
    assert lm.cost(made).generated_at_most == 24
    letters = [lm.tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in "ABCD"]
    for thought, found in zip(thoughts, lm.think_then_choose(made), strict=True):
        ids = lm.tokenizer(f"{then[0]}{thought}{then[1]}")["input_ids"]
        with torch.inference_mode():
            last = lm.checkpoint.model(torch.tensor([ids])).logits[0, -1]
        assert found == f"{thought}{then[1]}{'ABCD'[int(last[letters].argmax())]}"
