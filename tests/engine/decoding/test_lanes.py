"""Decoding in lanes against a hand-written loop that reads the whole sequence again for every token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, takewhile
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.engine import walks
from harness.engine.decoding import lanes
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
    made = Engine(checkpoint, batch_tokens=pack, walk=walk, seed=seed)
    made.rows = rows
    return made


def decoded(made: Engine, prompts: list[Prompt]) -> list[str]:
    texts: dict[int, str] = {}
    for found in made.decode(prompts, [True] * len(prompts)):
        assert not texts.keys() & dict(found.answers).keys()
        texts.update(found.answers)
    return [texts[i] for i in range(len(prompts))]


def by_hand(checkpoint: Checkpoint, prompt: Prompt, *, ends: bool = True) -> str:
    """The whole sequence again for every token, no cache but the root, no batch; stops at EOS or a stop string."""
    how, new = prompt.settings, []
    ids = prompt.fed(checkpoint.max_length)
    for _ in range(how.max_tokens):
        row = torch.tensor([ids + new])
        with torch.inference_mode():
            logits = checkpoint.root.forward(checkpoint.model, row).logits[0, -1].float()
        logits = logits.clone()  # what was made in inference mode cannot be changed
        for token in set(ids + new) if how.repetition_penalty != 1 else ():
            value = float(logits[token])
            logits[token] = value / how.repetition_penalty if value > 0 else value * how.repetition_penalty
        new.append(int(logits.argmax()))
        if ends and new[-1] in checkpoint.eos_ids:
            break
        if any(stop in checkpoint.tokenizer.decode(new) for stop in how.until):
            break
    text = str(checkpoint.tokenizer.decode(new, skip_special_tokens=True))
    for stop in how.until:
        text = text.split(stop)[0]
    return text


tails = st.lists(st.integers(3, 383), min_size=1, max_size=20)
asked = st.lists(st.tuples(st.integers(0, len(SHARED)), tails, st.integers(1, 9)), min_size=1, max_size=9)


@given(asked=asked, pack=st.sampled_from([1, 16, 200]), rows=st.sampled_from([1, 3, 100]), most=st.data())
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_prompts_in_any_lanes_continue_as_one_by_one(
    checkpoint: Checkpoint, asked: list[tuple[int, list[int], int]], pack: int, rows: int, most: st.DataObject
) -> None:
    prompts = [Prompt(SHARED[:shared] + tail, Settings(max_tokens=new)) for shared, tail, new in asked]
    prompts = [*prompts, *most.draw(st.lists(st.sampled_from(prompts), max_size=3))]
    assert decoded(engine(checkpoint, pack=pack, rows=rows), prompts) == [by_hand(checkpoint, one) for one in prompts]


def uneven(checkpoint: Checkpoint) -> tuple[list[Prompt], list[str]]:
    """Return prompts that share much, whose answers end at very different lengths, some by a stop string."""
    free = [Prompt([*SHARED, 120 + i, 7 * i + 11], Settings(max_tokens=5 + 9 * (i % 4))) for i in range(11)]
    texts = [by_hand(checkpoint, one) for one in free]
    stop = next(text[4:6] for text in texts if len(text) > 9)
    prompts = [replaced(one, until=(stop,)) for one in free]
    return prompts, [by_hand(checkpoint, one) for one in prompts]


def replaced(prompt: Prompt, **changes: Any) -> Prompt:
    return prompt._replace(settings=replace(prompt.settings, **changes))


@pytest.mark.parametrize("width", [1, 2, 4, 100])
def test_any_number_of_rows_may_share_a_lane(
    checkpoint: Checkpoint, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, expected = uneven(checkpoint)
    monkeypatch.setattr(lanes, "arrange", lambda *_: lanes.Arrangement(width, 0, 0))
    assert decoded(engine(checkpoint, rows=6), prompts) == expected


def test_lanes_laid_out_anew_after_every_other_step_say_the_same(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, expected = uneven(checkpoint)
    monkeypatch.setattr(lanes, "STEPS", 2)
    assert decoded(engine(checkpoint, rows=6), prompts) == expected


def test_a_repetition_penalty_weighs_on_prompt_and_answer_on_both_walks(checkpoint: Checkpoint) -> None:
    prompts = [replaced(one, repetition_penalty=1.6) for one in uneven(checkpoint)[0]]
    expected = [by_hand(checkpoint, one) for one in prompts]
    assert expected != [by_hand(checkpoint, replaced(one, repetition_penalty=1.0)) for one in prompts]
    for walk in (Walk.PACK, Walk.PLAIN):
        assert decoded(engine(checkpoint, walk=walk, pack=400), prompts) == expected


def test_sampled_text_is_that_of_the_plain_walk_and_of_no_lane(checkpoint: Checkpoint) -> None:
    how = Settings(max_tokens=12, temperature=1.5, top_p=0.95, top_k=50, repetition_penalty=1.1)
    prompts = [Prompt([*SHARED, 7 + i], how, sample) for i in range(3) for sample in range(3)]
    plain = decoded(engine(checkpoint, walk=Walk.PLAIN, pack=1), prompts)
    assert len(set(plain)) == len(plain)
    for rows in (1, 4, 100):
        assert decoded(engine(checkpoint, rows=rows), prompts) == plain
    assert decoded(engine(checkpoint), prompts[::-1])[::-1] == plain
    assert decoded(engine(checkpoint, seed=1), prompts) != plain


def test_samples_of_one_prompt_read_it_once(checkpoint: Checkpoint) -> None:
    prompts = [Prompt(SHARED, Settings(max_tokens=3, temperature=1.0), sample) for sample in range(8)]
    found = list(engine(checkpoint, rows=100).decode(prompts, [True] * 8))
    assert sum(one.tokens_fed for one in found) == len(SHARED)
    assert sum(one.tokens_generated for one in found) <= 24


def test_only_what_is_missing_is_answered(checkpoint: Checkpoint) -> None:
    prompts, expected = uneven(checkpoint)
    missing = [i % 3 == 0 for i in range(len(prompts))]
    found = [one for step in engine(checkpoint).decode(prompts, missing) for one in step.answers]
    assert sorted(found) == [(i, expected[i]) for i, one in enumerate(missing) if one]


def common(rows: Sequence[list[int]]) -> int:
    return len(list(takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))))


def arranged(rows: list[list[int]], most: int, read_cost: int) -> lanes.Arrangement:
    shared = [common(pair) for pair in pairwise(rows)]
    return lanes.arrange(np.array(shared, np.int64), np.array([len(row) for row in rows]), most, read_cost)


@given(
    st.lists(st.lists(st.integers(1, 2), min_size=1, max_size=9), min_size=1, max_size=20),
    st.integers(1, 200),
    st.sampled_from([1, 10, 100]),
)
def test_the_cheapest_arrangement_that_memory_has_room_for_is_taken(
    rows: list[list[int]], most: int, read_cost: int
) -> None:
    rows.sort()
    best = arranged(rows, most, read_cost)
    room = {}
    for width in {*(2**i for i in range(6) if 2**i < len(rows)), len(rows)}:
        groups = [rows[at : at + width] for at in range(0, len(rows), width)]
        lengths = [sum(map(len, group)) - (len(group) - 1) * common(group) for group in groups]
        room[width] = len(groups) * max(lengths)
    costs = [room[width] * (read_cost + width) for width in room if room[width] <= most]
    assert best.tokens == room[best.width]
    assert best.cost == (min(costs) if costs else best.tokens * (read_cost + best.width))
    assert best.tokens <= most or best.tokens == min(room.values())


SHARING = [[*range(1000), *[row] * 100] for row in range(32)]


def test_a_long_shared_prefix_is_worth_sharing_and_none_is_not() -> None:
    assert arranged(SHARING, 10**6, 10).width > 4
    assert arranged([[row] * 100 for row in range(32)], 10**6, 10).width == 1


def test_where_memory_is_scarce_more_rows_share_a_lane() -> None:
    free = arranged(SHARING, 10**6, 10)
    assert arranged(SHARING, free.tokens - 1, 10).width > free.width


@pytest.mark.parametrize("tokens", [1, 60, 120])
def test_rows_wait_for_room_and_say_the_same(
    checkpoint: Checkpoint, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and values never take more than there is room for, but for a row that is alone."""
    prompts = [Prompt([*SHARED, 120 + i, *range(9, 9 + i)], Settings(max_tokens=12)) for i in range(11)]
    expected = [by_hand(checkpoint, one) for one in prompts]
    made = engine(checkpoint, rows=100)
    made.__dict__["cache_bytes"] = tokens * token_bytes(checkpoint)
    laid = record_layouts(monkeypatch)
    assert decoded(made, prompts) == expected
    assert [(rows, room) for rows, room in laid if rows > 1 and room > tokens] == []
    most = max(rows for rows, _ in laid)
    assert most == 1 if tokens == 1 else 1 < most < len(prompts)


def test_answers_that_outgrow_what_those_before_them_promised_are_begun_anew(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten short answers, then ten long ones: room that would have been enough for ten short ones is not exceeded."""
    prompts = [Prompt([*SHARED, 120 + i], Settings(max_tokens=60)) for i in range(20)]
    lengths = [2 if i < 10 else 50 for i in range(20)]
    whole = [replaced(one, max_tokens=length) for one, length in zip(prompts, lengths, strict=True)]
    expected = [by_hand(checkpoint, one, ends=False) for one in whole]

    def ended(self: Stopper, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> list[bool]:
        return [len(one) == lengths[row] for row, one in zip(rows, tokens, strict=True)]

    monkeypatch.setattr(Stopper, "ended", ended)
    laid = record_layouts(monkeypatch)
    made, room = engine(checkpoint, rows=100), 300
    made.__dict__["cache_bytes"] = room * token_bytes(checkpoint)
    assert decoded(made, prompts) == expected
    assert max(tokens for _, tokens in laid) <= room
    assert max(rows for rows, _ in laid) > (room - len(SHARED)) / 60


def record_layouts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return what will become (rows, tokens there is room for) of every layout."""
    laid: list[tuple[int, int]] = []
    plain = lanes.Lanes.lay_out

    def lay(self: lanes.Lanes, rows: Sequence[lanes.Row]) -> None:
        plain(self, rows)
        laid.append((len(rows), self._visible.shape[0] * self._visible.shape[2]))

    monkeypatch.setattr(lanes.Lanes, "lay_out", lay)
    return laid


def token_bytes(checkpoint: Checkpoint) -> int:
    planned = tree.plan(tree.grow([[5]], [1]), tree.Limits(9, 9))
    context = walks.context(checkpoint.model, checkpoint.root, planned)
    context.run(planned[0], planned[0].rows)
    return context.token_bytes


def test_samples_wait_in_the_context_for_room(checkpoint: Checkpoint) -> None:
    how = Settings(max_tokens=9, temperature=1.0)
    prompts = [Prompt(SHARED, how, sample) for sample in range(20)]
    expected = decoded(engine(checkpoint, rows=100), prompts)
    found = list(engine(checkpoint, rows=3).decode(prompts, [True] * 20))
    assert sum(one.tokens_fed for one in found) == len(SHARED)
    answers = dict(one for step in found for one in step.answers)
    assert [answers[i] for i in range(20)] == expected
