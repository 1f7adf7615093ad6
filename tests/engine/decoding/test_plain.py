"""Decoding on the plain walk against a simple greedy loop, sampling against its promises, and settings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.engine.decoding import plain, stopping
from harness.engine.decoding.settings import Settings, parse_settings
from harness.engine.requests import Prompt
from harness.errors import HarnessError
from support import tiny

CONTEXT = 64
prompts_ids = st.lists(st.lists(st.integers(3, 383), min_size=1, max_size=60), min_size=1, max_size=6)


@pytest.fixture(scope="module", params=["base", "lora"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("models")
    base = tiny.llama(folder / "base", context=CONTEXT)
    path = base if request.param == "base" else tiny.lora(folder / "lora", base)
    return loading.load(loading.locate(CheckpointReference(str(path))))


def decode_by_hand(checkpoint: Checkpoint, ids: list[int], settings: Settings) -> str:
    """Return the greedy text from the whole sequence for every token, without cache or batches."""
    ids = ids[-(CONTEXT - settings.max_tokens) :]
    new: list[int] = []
    for _ in range(settings.max_tokens):
        with torch.inference_mode():
            new.append(int(checkpoint.model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax()))
        text = checkpoint.tokenizer.decode(new)
        if new[-1] in checkpoint.eos_ids or any(stop in text for stop in settings.until):
            break
    return stopping.cut(checkpoint.tokenizer.decode(new, skip_special_tokens=True), settings.until)


def decode(checkpoint: Checkpoint, prompts: list[Prompt], batch_tokens: int, seed: int = 0) -> list[str]:
    texts: dict[int, str] = {}
    for batch in plain.plan(prompts, CONTEXT, batch_tokens):
        rows = [prompts[i] for i in batch]
        continuations = plain.decode(checkpoint.model, checkpoint.tokenizer, rows, checkpoint.eos_ids, CONTEXT, seed)
        texts.update(zip(batch, (continuation.text for continuation in continuations), strict=True))
    return [texts[i] for i in range(len(prompts))]


@given(ids=prompts_ids, batch_tokens=st.sampled_from([1, 100, 1000]))
@settings(
    deadline=None,
    max_examples=settings.default.max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_prompts_in_any_batches_continue_as_one_by_one(
    checkpoint: Checkpoint, ids: list[list[int]], batch_tokens: int
) -> None:
    greedy = Settings(max_tokens=8)
    texts = decode(checkpoint, [Prompt(prompt_ids, greedy) for prompt_ids in ids], batch_tokens)
    assert texts == [decode_by_hand(checkpoint, prompt_ids, greedy) for prompt_ids in ids]


def test_each_row_stops_at_its_own_place(checkpoint: Checkpoint) -> None:
    free = Settings(max_tokens=24)
    ids = [[30, 40, 50], [200, 100], [7, 300, 9, 11]]
    texts = [decode_by_hand(checkpoint, prompt_ids, free) for prompt_ids in ids]
    # A stop string that occurs in the middle of one answer, and not at the same place in another.
    stop = next(text[6:9] for text in texts if len(text) > 12)
    stopping_settings = Settings(until=(stop,), max_tokens=24)
    prompts = [Prompt(prompt_ids, stopping_settings) for prompt_ids in ids]
    assert decode(checkpoint, prompts, 1000) == [text.split(stop)[0] for text in texts]


def test_a_batch_ends_with_its_last_row(checkpoint: Checkpoint) -> None:
    free = Settings(max_tokens=24)
    text = decode_by_hand(checkpoint, [30, 40, 50], free)
    stop = text.strip()[:1]  # white space before it is no stop
    prompt = Prompt([30, 40, 50], Settings(until=(stop,), max_tokens=24))
    (continuation,) = plain.decode(checkpoint.model, checkpoint.tokenizer, [prompt], checkpoint.eos_ids, CONTEXT, 0)
    assert continuation.text == text[: text.index(stop)]
    assert continuation.tokens < 4


def test_an_end_of_text_token_ends_a_row(checkpoint: Checkpoint) -> None:
    ids, settings = [30, 40, 50], Settings(max_tokens=6)
    with torch.inference_mode():
        first = int(checkpoint.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
    prompt = Prompt(ids, settings)
    (continuation,) = plain.decode(checkpoint.model, checkpoint.tokenizer, [prompt], [first], CONTEXT, 0)
    assert continuation.tokens == 1


def test_sampled_text_depends_on_seed_prompt_and_sample_but_not_on_the_batch(checkpoint: Checkpoint) -> None:
    sampled = Settings(max_tokens=12, temperature=1.5, top_p=0.95, top_k=50)
    prompts = [Prompt(ids, sampled, sample) for ids in ([30, 40], [7, 8, 9, 10, 11]) for sample in range(3)]
    together = decode(checkpoint, prompts, 10_000)
    assert together == decode(checkpoint, prompts, 1)
    assert together == list(reversed(decode(checkpoint, prompts[::-1], 10_000)))
    assert len(set(together)) == len(together)
    assert together != decode(checkpoint, prompts, 10_000, seed=1)


def test_sampling_follows_the_tempered_distribution(checkpoint: Checkpoint) -> None:
    temperature, draws, ids = 2.0, 400, [30, 40, 50]
    with torch.inference_mode():
        logits = checkpoint.model(input_ids=torch.tensor([ids])).logits[0, -1]
    probabilities = (logits / temperature).softmax(-1)
    sampled = Settings(max_tokens=1, temperature=temperature)
    texts = decode(checkpoint, [Prompt(ids, sampled, sample) for sample in range(draws)], 10_000)
    best = int(probabilities.argmax())
    share = sum(text == checkpoint.tokenizer.decode([best], skip_special_tokens=True) for text in texts) / draws
    expected = float(probabilities[best])
    assert abs(share - expected) < 4 * (expected * (1 - expected) / draws) ** 0.5 + 1e-9


def test_top_k_of_one_is_greedy(checkpoint: Checkpoint) -> None:
    ids = [30, 40, 50]
    sampled = decode(checkpoint, [Prompt(ids, Settings(max_tokens=8, temperature=5.0, top_k=1))], 1000)
    assert sampled == [decode_by_hand(checkpoint, ids, Settings(max_tokens=8))]


def test_an_answer_as_long_as_the_context_is_an_error() -> None:
    with pytest.raises(HarnessError, match="no room is left for the prompt"):
        plain.plan([Prompt([1], Settings(max_tokens=CONTEXT))], CONTEXT, 100)


@pytest.mark.parametrize(
    ("generation_kwargs", "expected"),
    [
        ({"until": "\n"}, Settings(until=("\n", "</s>"))),
        ({"until": ["Q:", "Q:", "</s>"], "do_sample": False, "temperature": 0.0}, Settings(until=("Q:", "</s>"))),
        ({"max_gen_toks": 5, "max_new_tokens": 9}, Settings(until=("</s>",), max_tokens=5)),
        ({"max_tokens": 7}, Settings(until=("</s>",), max_tokens=7)),
        ({"temperature": 0.5}, Settings(until=("</s>",), temperature=0.5)),
        ({"do_sample": True, "top_p": 0.7}, Settings(until=("</s>",), temperature=1.0, top_p=0.7)),
        ({"do_sample": False, "temperature": 0.9, "top_p": 0.7, "top_k": 5}, Settings(until=("</s>",))),
        ({"num_beams": 1, "repetition_penalty": 1.0}, Settings(until=("</s>",))),
    ],
)
def test_settings_read_lm_evals_generation_kwargs(generation_kwargs: dict[str, Any], expected: Settings) -> None:
    assert parse_settings(generation_kwargs, "</s>") == expected


@pytest.mark.parametrize("unknown", [{"num_beams": 4}, {"repetition_penalty": 0}, {"typical_p": 0.9}])
def test_an_unknown_setting_is_an_error(unknown: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match=next(iter(unknown))):
        parse_settings(unknown, None)


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({"max_gen_toks": 0}, "max_gen_toks=0: it must be a whole number above 0"),
        ({"max_gen_toks": "many"}, "max_gen_toks='many': it must be"),
        ({"max_new_tokens": 2.5}, "max_new_tokens=2.5: it must be a whole number"),
        ({"temperature": -1}, "temperature=-1: it must be 0 or more"),
        ({"temperature": math.nan}, "temperature=nan: it must be"),
        ({"do_sample": True, "top_p": -0.5}, "top_p=-0.5: it must be above 0 and at most 1"),
        ({"do_sample": True, "top_p": 1.5}, "top_p=1.5"),
        ({"do_sample": True, "top_k": -2}, "top_k=-2"),
        ({"repetition_penalty": math.inf}, "repetition_penalty=inf"),
        ({"until": 5}, "until=5: write a quoted text"),
        ({"until": [5, "."]}, "or a list of texts"),
        ({"do_sample": "false"}, "do_sample='false': write true or false"),
        ({"do_sample": True, "temperature": 0.0}, "contradict"),
    ],
)
def test_an_invalid_setting_is_an_error_that_states_the_rule(invalid: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        parse_settings(invalid, None)


def test_top_k_of_minus_one_keeps_all_tokens() -> None:
    assert parse_settings({"do_sample": True, "top_k": -1}, None) == Settings(temperature=1.0)
