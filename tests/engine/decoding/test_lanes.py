"""Decoding in lanes against a simple loop that reads the whole sequence again for every token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.engine import walks
from harness.engine.decoding import lanes
from harness.engine.decoding.arrangement import Arrangement
from harness.engine.decoding.settings import Settings
from harness.engine.decoding.stopping import Stopper
from harness.engine.engine import Engine
from harness.engine.packing import tree
from harness.engine.requests import Prompt
from harness.engine.walks import Walk
from support import architectures, tiny

CONTEXT = 96
SHARED = [50, 60, 70, 80, 90, 100, 110]


@pytest.fixture(scope="module", params=["llama", "windows", "prefix", "latent"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("models")
    if request.param in ("windows", "latent"):
        path = architectures.base(folder / "base", {"windows": "gemma3", "latent": "deepseek_v3"}[request.param])
    else:
        path = tiny.llama(folder / "base", context=CONTEXT)
    if request.param == "prefix":
        path = architectures.adapter(folder / "prefix", path, "llama", "prefix")
    return loading.load(loading.locate(CheckpointReference(str(path), max_length=CONTEXT - 8)))


def engine(checkpoint: Checkpoint, *, pack: int = 64, rows: int = 4, walk: Walk = Walk.PACK, seed: int = 0) -> Engine:
    """Return an engine with packs of `pack` tokens and `rows` answers side by side."""
    result = Engine(checkpoint, batch_tokens=pack, walk=walk, seed=seed)
    result.rows = rows
    return result


def decode(engine: Engine, prompts: list[Prompt]) -> list[str]:
    """Return the texts of `prompts`, each of which must be answered once."""
    texts: dict[int, str] = {}
    for batch in engine.decode(prompts, [True] * len(prompts)):
        assert not texts.keys() & dict(batch.answers).keys()
        texts.update((i, generation.text) for i, generation in batch.answers)
    return [texts[i] for i in range(len(prompts))]


def decode_by_hand(checkpoint: Checkpoint, prompts: Sequence[Prompt], *, ends: bool = True) -> list[str]:
    """Return the greedy texts of `prompts` from whole sequences for every token, without a cache except the root.

    Rows of a batch have one length, so that nothing is padded. With `ends`, an end-of-text token ends a text.
    """
    texts: dict[int, str] = {}
    fed = [prompt.fed_tokens(checkpoint.max_length) for prompt in prompts]
    for length in set(map(len, fed)):
        indices = [i for i, ids in enumerate(fed) if len(ids) == length]
        rows = torch.tensor([fed[i] for i in indices])
        for _ in range(max(prompts[i].settings.max_tokens for i in indices)):
            with torch.inference_mode():
                logits = checkpoint.root.forward(checkpoint.model, rows).logits[:, -1].float()
            logits = logits.clone()  # inference tensors cannot be changed
            for row, index in enumerate(indices):
                penalty = prompts[index].settings.repetition_penalty
                for token in set(rows[row].tolist()) if penalty != 1 else ():
                    value = float(logits[row, token])
                    logits[row, token] = value / penalty if value > 0 else value * penalty
            rows = torch.cat([rows, logits.argmax(-1, keepdim=True)], 1)
        texts |= {
            index: text_of(checkpoint, prompts[index].settings, new, ends)
            for index, new in zip(indices, rows[:, length:].tolist(), strict=True)
        }
    return [texts[i] for i in range(len(prompts))]


def text_of(checkpoint: Checkpoint, settings: Settings, tokens: list[int], ends: bool) -> str:
    """Return the text of `tokens` up to the first end: of the text, of a stop string, of `max_tokens`."""
    new: list[int] = []
    for token in tokens[: settings.max_tokens]:
        new.append(token)
        if ends and token in checkpoint.eos_ids:
            break
        if any(stop in checkpoint.tokenizer.decode(new) for stop in settings.until):
            break
    text = str(checkpoint.tokenizer.decode(new, skip_special_tokens=True))
    for stop in settings.until:
        text = text.split(stop)[0]
    return text


tails = st.lists(st.integers(3, 383), min_size=1, max_size=20)
requests = st.lists(st.tuples(st.integers(0, len(SHARED)), tails, st.integers(1, 9)), min_size=1, max_size=9)


@pytest.mark.sampled(3)
@given(requests=requests, pack=st.sampled_from([1, 16, 200]), rows=st.sampled_from([1, 3, 100]), data=st.data())
@settings(
    deadline=None,
    max_examples=settings.default.max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_prompts_in_any_lanes_continue_as_one_by_one(
    checkpoint: Checkpoint, requests: list[tuple[int, list[int], int]], pack: int, rows: int, data: st.DataObject
) -> None:
    prompts = [Prompt(SHARED[:shared] + tail, Settings(max_tokens=new)) for shared, tail, new in requests]
    prompts = [*prompts, *data.draw(st.lists(st.sampled_from(prompts), max_size=3))]
    expected = decode_by_hand(checkpoint, prompts)
    assert decode(engine(checkpoint, pack=pack, rows=rows), prompts) == expected


@pytest.fixture(scope="module")
def uneven(checkpoint: Checkpoint) -> tuple[list[Prompt], list[str]]:
    """Return prompts with a long common prefix and their texts, of very different lengths, some with a stop string."""
    free = [Prompt([*SHARED, 120 + i, 7 * i + 11], Settings(max_tokens=5 + 9 * (i % 4))) for i in range(11)]
    texts = decode_by_hand(checkpoint, free)
    stop = next(text[4:6] for text in texts if len(text) > 9)
    prompts = [with_settings(prompt, until=(stop,)) for prompt in free]
    return prompts, decode_by_hand(checkpoint, prompts)


def with_settings(prompt: Prompt, **changes: Any) -> Prompt:
    return prompt._replace(settings=replace(prompt.settings, **changes))


@pytest.mark.sampled(7)
@pytest.mark.parametrize("width", [1, 2, 4, 100])
def test_texts_do_not_depend_on_how_many_rows_share_a_lane(
    checkpoint: Checkpoint, uneven: tuple[list[Prompt], list[str]], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, expected = uneven
    monkeypatch.setattr(lanes, "arrange", lambda *_: Arrangement(width, 0, 0))
    assert decode(engine(checkpoint, rows=6), prompts) == expected


def test_texts_do_not_depend_on_how_often_lanes_are_arranged(
    checkpoint: Checkpoint, uneven: tuple[list[Prompt], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, expected = uneven
    monkeypatch.setattr(lanes, "STEPS", 2)
    assert decode(engine(checkpoint, rows=6), prompts) == expected


def test_a_repetition_penalty_applies_to_prompt_and_answer_on_both_walks(
    checkpoint: Checkpoint, uneven: tuple[list[Prompt], list[str]]
) -> None:
    prompts = [with_settings(prompt, repetition_penalty=1.6) for prompt in uneven[0]]
    expected = decode_by_hand(checkpoint, prompts)
    assert expected != uneven[1]  # without a penalty
    for walk in (Walk.PACK, Walk.PLAIN):
        assert decode(engine(checkpoint, walk=walk, pack=400), prompts) == expected


def test_sampled_texts_equal_those_of_the_plain_walk_in_any_lanes(checkpoint: Checkpoint) -> None:
    sampled = Settings(max_tokens=12, temperature=1.5, top_p=0.95, top_k=50, repetition_penalty=1.1)
    prompts = [Prompt([*SHARED, 7 + i], sampled, sample) for i in range(3) for sample in range(3)]
    plain = decode(engine(checkpoint, walk=Walk.PLAIN, pack=1), prompts)
    assert len(set(plain)) == len(plain)
    for rows in (1, 4, 100):
        assert decode(engine(checkpoint, rows=rows), prompts) == plain
    assert decode(engine(checkpoint), prompts[::-1])[::-1] == plain
    assert decode(engine(checkpoint, seed=1), prompts) != plain


def test_rows_join_others_without_moving_them(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of about one length that share nothing: each gets a further lane, and lanes of ended rows are closed."""
    prompts = [
        Prompt([3 + (31 * i + 17 * k) % 380 for k in range(20 + i % 3)], Settings(max_tokens=3 + 11 * (i % 3)))
        for i in range(12)
    ]
    expected = decode_by_hand(checkpoint, prompts)
    added: list[int] = []
    original = lanes.Lanes._add

    def add(self: lanes.Lanes, new: Sequence[lanes.Row]) -> None:
        original(self, new)
        added.append(len(self._distances))

    monkeypatch.setattr(lanes.Lanes, "_add", add)
    roomy = engine(checkpoint, pack=16, rows=4)
    roomy.weight_bytes = 2**40
    assert decode(roomy, prompts) == expected
    assert len(added) >= 4
    assert max(added) >= 3


def test_several_samples_read_their_prompt_once(checkpoint: Checkpoint) -> None:
    prompts = [Prompt(SHARED, Settings(max_tokens=3, temperature=1.0), sample) for sample in range(8)]
    batches = list(engine(checkpoint, rows=100).decode(prompts, [True] * 8))
    assert sum(batch.tokens_fed for batch in batches) == len(SHARED)
    assert sum(batch.tokens_generated for batch in batches) <= 24


def test_only_missing_prompts_are_answered(checkpoint: Checkpoint, uneven: tuple[list[Prompt], list[str]]) -> None:
    prompts, expected = uneven
    missing = [i % 3 == 0 for i in range(len(prompts))]
    answers = [(i, answer.text) for batch in engine(checkpoint).decode(prompts, missing) for i, answer in batch.answers]
    assert sorted(answers) == [(i, expected[i]) for i, is_missing in enumerate(missing) if is_missing]


@pytest.fixture(scope="module")
def growing(checkpoint: Checkpoint) -> tuple[list[Prompt], list[str]]:
    """Return prompts of growing lengths with a common prefix, and their texts."""
    prompts = [Prompt([*SHARED, 120 + i, *range(9, 9 + i)], Settings(max_tokens=12)) for i in range(11)]
    return prompts, decode_by_hand(checkpoint, prompts)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("tokens", [1, 60, 120])
def test_rows_wait_for_memory_and_texts_stay_the_same(
    checkpoint: Checkpoint, growing: tuple[list[Prompt], list[str]], tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and values never exceed the budget, except those of a single row."""
    prompts, expected = growing
    limited = engine(checkpoint, rows=100)
    limited.__dict__["cache_bytes"] = tokens * token_bytes(checkpoint)
    layouts = record_layouts(monkeypatch)
    assert decode(limited, prompts) == expected
    assert [(rows, capacity) for rows, capacity in layouts if rows > 1 and capacity > tokens] == []
    most_rows = max(rows for rows, _ in layouts)
    assert most_rows == 1 if tokens == 1 else 1 < most_rows < len(prompts)


def test_answers_that_outgrow_their_expected_length_are_started_again(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten short answers, then ten long ones: memory that would be sufficient for ten short ones is not exceeded."""
    prompts = [Prompt([*SHARED, 120 + i], Settings(max_tokens=60)) for i in range(20)]
    lengths = [2 if i < 10 else 50 for i in range(20)]
    whole = [with_settings(prompt, max_tokens=n) for prompt, n in zip(prompts, lengths, strict=True)]
    expected = decode_by_hand(checkpoint, whole, ends=False)

    def ended(self: Stopper, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> list[bool]:
        return [len(answer) == lengths[row] for row, answer in zip(rows, tokens, strict=True)]

    monkeypatch.setattr(Stopper, "ended", ended)
    layouts = record_layouts(monkeypatch)
    limited, capacity = engine(checkpoint, rows=100), 300
    limited.__dict__["cache_bytes"] = capacity * token_bytes(checkpoint)
    assert decode(limited, prompts) == expected
    assert max(tokens for _, tokens in layouts) <= capacity
    assert max(rows for rows, _ in layouts) > (capacity - len(SHARED)) / 60


def record_layouts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return a list to which every layout appends (rows, tokens of capacity)."""
    layouts: list[tuple[int, int]] = []
    original = lanes.Lanes.lay_out

    def lay_out(self: lanes.Lanes, rows: Sequence[lanes.Row]) -> None:
        original(self, rows)
        layouts.append((len(rows), self._visible.shape[0] * self._visible.shape[2]))

    monkeypatch.setattr(lanes.Lanes, "lay_out", lay_out)
    return layouts


def token_bytes(checkpoint: Checkpoint) -> int:
    planned = tree.plan(tree.grow([[5]], [1]), tree.Limits(9, 9))
    context = walks.context(checkpoint.model, checkpoint.root, planned)
    context.run(planned[0], planned[0].rows)
    return context.token_bytes


def test_samples_wait_in_the_context_until_lanes_have_room(checkpoint: Checkpoint) -> None:
    sampled = Settings(max_tokens=9, temperature=1.0)
    prompts = [Prompt(SHARED, sampled, sample) for sample in range(20)]
    expected = decode(engine(checkpoint, rows=100), prompts)
    batches = list(engine(checkpoint, rows=3).decode(prompts, [True] * 20))
    assert sum(batch.tokens_fed for batch in batches) == len(SHARED)
    answers = {i: answer.text for batch in batches for i, answer in batch.answers}
    assert [answers[i] for i in range(20)] == expected
