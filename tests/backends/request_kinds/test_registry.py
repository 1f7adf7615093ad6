"""A backend that only scores and generates answers every registered kind of request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from harness.backends.lm import BackendLM
from harness.backends.request_kinds.registry import KINDS, inputs
from harness.engine.requests import Generation, LogLikelihood, Pair, Prompt
from harness.tasks.protocols.chatglm_predict import Chunk
from support import tiny

TEXT = "春天的花开了，小明买了三个苹果和两个梨，一共花了十五元。"
SETTINGS = {"until": ["\n"], "max_gen_toks": 4}
PREDICTION = {**SETTINGS, "lengths": {"source": 8, "target": 6, "total": 20}, "labels": "短", "chunk": Chunk((TEXT,))}
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "loglikelihood": (TEXT, "甲"),
    "loglikelihood_rolling": (TEXT,),
    "loglikelihood_sliding": (TEXT, {"stride": 3}),
    "mean_loglikelihood": (TEXT[:-1], TEXT[-1]),
    "generate_until": (TEXT, SETTINGS),
    "think_then_choose": (TEXT, {**SETTINGS, "then": ["问：", "所以选："]}),
    "chatglm_predict": (TEXT, PREDICTION),
}


class ToyLM(BackendLM):
    """Scores each continuation by its length and generates the number of tokens that it read."""

    def __init__(self) -> None:
        super().__init__("toy", tiny.tokenizer())
        self.pairs: list[Pair] = []
        self.prompts: list[Prompt] = []

    @property
    def max_length(self) -> int:
        return 12

    def score(self, pairs: Sequence[Pair]) -> list[LogLikelihood]:
        self.pairs += pairs
        return [LogLikelihood(-float(len(pair.continuation)), False) for pair in pairs]

    def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        self.prompts += prompts
        lengths = (len(prompt.fed_tokens(self.max_length)) for prompt in prompts)
        return [Generation(f"<think>想</think> {length}", is_cut=False) for length in lengths]


def request(kind: str) -> Instance:
    return Instance(kind, {}, ARGUMENTS[kind], 0, ("t", 0, 1))


def tokens(text: str, *, special: bool = False) -> int:
    return len(tiny.tokenizer()(text, add_special_tokens=special)["input_ids"])


EXPECTED = {
    "loglikelihood": (-float(tokens("甲")), False),
    "loglikelihood_rolling": -float(tokens(TEXT)),
    "loglikelihood_sliding": -float(tokens(TEXT)),
    "mean_loglikelihood": (-11 / 12, False),  # cut to a context of 12 tokens, of which the first is not scored
    "generate_until": "8",  # the context without room for the answer
    "think_then_choose": "8所以选：A",
    "chatglm_predict": '{"labels": "短", "predict": "8"}',
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_backend_that_scores_and_generates_answers_every_kind(kind: str) -> None:
    lm = ToyLM()
    assert getattr(lm, kind)([request(kind)]) == [EXPECTED[kind]]
    assert lm.work.thoughts == lm.work.generations == len(lm.prompts)


@pytest.mark.parametrize("kind", KINDS)
def test_forecasts_see_what_a_backend_is_first_given(kind: str) -> None:
    lm = ToyLM()
    pairs, prompts = inputs([request(kind)], lm)
    getattr(lm, kind)([request(kind)])
    assert prompts == lm.prompts
    assert pairs == ([] if kind == "think_then_choose" else lm.pairs)


def test_inputs_of_several_kinds_come_together_and_unknown_ones_are_left_out() -> None:
    lm = ToyLM()
    each = [inputs([request(kind)], lm) for kind in KINDS]
    pairs, prompts = inputs([Instance("unknown", {}, (), 0), *(request(kind) for kind in KINDS)], lm)
    assert list(pairs) == [pair for part in each for pair in part.pairs]
    assert list(prompts) == [prompt for part in each for prompt in part.prompts]


def test_an_unknown_kind_of_request_is_no_method() -> None:
    with pytest.raises(AttributeError, match="'ToyLM' object has no attribute 'summarize'"):
        ToyLM().summarize([])


class BrokenLM(ToyLM):
    """A model with a property that fails."""

    @property
    def device(self) -> str:
        return self.encoder.no_such_attribute  # type: ignore[attr-defined, no-any-return]


def test_an_attribute_error_inside_a_property_names_the_attribute_that_is_missing() -> None:
    with pytest.raises(AttributeError, match="'Encoder' object has no attribute 'no_such_attribute'"):
        _ = BrokenLM().device
    with pytest.raises(AttributeError, match="'BrokenLM' object has no attribute 'nothing'"):
        _ = BrokenLM().nothing
    assert not hasattr(BrokenLM(), "nothing")
