"""Beginnings kept between calls: answers are equal to the last bit, and each token is read once over all calls."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.backends.local import HarnessLM
from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import parse
from harness.engine.decoding.settings import Settings
from harness.engine.packing import tree, trunks
from harness.engine.packing.tree import Limits
from harness.engine.packing.trunks import Trunks
from harness.engine.requests import Pair, Prompt
from harness.engine.walks import Walk
from support import architectures
from tolerances import FP32_LOGLIKELIHOOD

LETTERS = (40, 41, 42, 43)


def paths(plan: trunks.Plan) -> dict[tuple[int, int], list[int]]:
    """Return the token ids that each (request, nth) of `plan` sees, from a simulated cache of token ids."""
    cache: list[int] = []
    contexts = {}
    for number, pack in enumerate(plan.packs):
        assert pack.parent < number
        assert pack.trunk <= len(cache)
        del cache[pack.trunk :]
        tokens = pack.tokens.tolist()
        for place, request, nth in zip(pack.rows, pack.requests, pack.nth, strict=True):
            visible = [i for i in range(len(tokens)) if i <= place < pack.ends[i]]
            contexts[int(request), int(nth)] = cache + [tokens[i] for i in visible]
            assert pack.depths[visible].tolist() == list(range(pack.trunk, pack.trunk + len(visible)))
        cache += tokens[: pack.keep]
    return contexts


def random_sequences(chance: random.Random, count: int, shared: int, rest: int) -> list[list[int]]:
    """Return `count` sequences with `shared` tokens in common, followed by up to `rest` different ones."""
    start = chance.choices(range(3, 380), k=shared)
    return [[*start, *chance.choices(range(3, 380), k=chance.randint(1, rest))] for _ in range(count)]


# --- plans ------------------------------------------------------------------------------------------------------------

_ids = st.lists(st.integers(0, 2), min_size=1, max_size=9)


@given(
    beginnings=st.lists(_ids, min_size=1, max_size=3),
    ends=st.lists(st.tuples(st.integers(0, 2), _ids, st.integers(1, 4)), min_size=1, max_size=24),
    limits=st.builds(Limits, st.integers(1, 20), st.integers(1, 20)),
    data=st.data(),
)
@settings(deadline=None, max_examples=settings.default.max_examples * 2)
def test_every_request_sees_its_own_tokens_whatever_beginnings_are_known(
    beginnings: list[list[int]], ends: list[Any], limits: Limits, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trunks, "MIN_TOKENS", data.draw(st.integers(1, 4)))
        patch.setattr(trunks, "MIN_DOCUMENTS", data.draw(st.integers(1, 4)))
        sequences = [[*beginnings[which % len(beginnings)] * 3, *end] for which, end, _ in ends]
        read_counts = [min(count, len(sequence)) for sequence, (_, _, count) in zip(sequences, ends, strict=True)]
        known = Trunks(0)
        known.learn(data.draw(st.lists(st.sampled_from(sequences), max_size=12)))
        contexts = paths(known.plan(sequences, read_counts, limits))
    expected = {
        (request, nth): sequence[: len(sequence) - count + nth + 1]
        for request, (sequence, count) in enumerate(zip(sequences, read_counts, strict=True))
        for nth in range(count)
    }
    assert contexts == expected


def test_without_known_beginnings_the_plan_is_that_of_one_call() -> None:
    chance = random.Random(0)
    sequences = random_sequences(chance, 20, 90, 30)
    limits = Limits(100, 100)
    packs = Trunks(0).plan(sequences, [1] * 20, limits).packs
    expected = tree.plan(tree.grow(sequences, [1] * 20), limits)
    for pack, expected_pack in zip(packs, expected, strict=True):
        for values, expected_values in zip(pack, expected_pack, strict=True):
            assert np.array_equal(values, expected_values)


def test_pieces_of_a_beginning_do_not_depend_on_the_documents_of_a_block() -> None:
    chance = random.Random(1)
    sequences = random_sequences(chance, 40, 150, 30)
    known = Trunks(0)
    known.learn(sequences)
    plans = [known.plan(sequences[a:b], [1] * (b - a), Limits(64, 64)) for a, b in ((0, 1), (5, 30), (30, 40))]
    pieces = [[*plan.pieces.values()] for plan in plans]
    assert pieces[0] == pieces[1] == pieces[2]
    assert [start for start, _ in pieces[0]] == [0, 64, 128]
    for plan in plans:
        packs = [pack for pack in plan.packs if id(pack) in plan.pieces]
        assert [pack.tokens.tolist() for pack in packs] == [
            sequences[0][s:e] for s, e in ((0, 64), (64, 128), (128, 150))
        ]


def test_beginnings_of_few_documents_and_short_beginnings_are_not_kept() -> None:
    chance = random.Random(2)
    few = random_sequences(chance, trunks.MIN_DOCUMENTS - 1, 200, 20)
    short = random_sequences(chance, 50, trunks.MIN_TOKENS - 1, 20)
    for sequences in (few, short, []):
        known = Trunks(0)
        known.learn(sequences)
        assert not known.plan(sequences, [1] * len(sequences), Limits(64, 64)).pieces


# --- capacity -----------------------------------------------------------------------------------------------------


def test_the_least_recently_used_piece_is_dropped() -> None:
    states = [(0, torch.zeros(10), torch.zeros(10))]  # 80 bytes
    known = Trunks(170)
    for name in (b"a", b"b"):
        known.put((0, name), states)
    assert known.get((0, b"a")) is not None
    known.put((0, b"c"), states)
    assert [known.get((0, name)) is not None for name in (b"a", b"b", b"c")] == [True, False, True]
    known.put((0, b"d"), [(0, torch.zeros(100), torch.zeros(100))])  # more than the capacity
    assert not any(known.get((0, name)) for name in (b"a", b"b", b"c", b"d"))
    known.put((0, b"e"), states)
    assert known.get((0, b"e")) is not None


# --- answers ----------------------------------------------------------------------------------------------------------

KINDS = [("llama", "base"), ("gemma3", "lora"), ("mistral", "prefix")]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Checkpoint]:
    root, loaded = tmp_path_factory.mktemp("architectures"), dict[tuple[str, str], Checkpoint]()

    def checkpoint(name: str, kind: str) -> Checkpoint:
        if (name, kind) not in loaded:
            base = architectures.base(root / f"{name}-{kind}", name)
            reference = str(base)
            if kind != "base":
                reference += f",adapter={architectures.adapter(root / f'{name}-{kind}-adapter', base, name, kind)}"
            loaded[name, kind] = loading.load(loading.locate(parse(reference)))
        return loaded[name, kind]

    return checkpoint


def documents() -> list[list[Pair]]:
    """Return the pairs of two subjects: twelve questions each, with the subject's examples and four choices."""
    chance = random.Random(3)
    subjects = [random_sequences(chance, 12, 100, 15) for _ in range(2)]
    return [[Pair(question, [letter]) for letter in LETTERS] for subject in subjects for question in subject]


def blocks() -> list[list[list[Pair]]]:
    shuffled = documents()
    random.Random(4).shuffle(shuffled)
    return [shuffled[start : start + 5] for start in range(0, len(shuffled), 5)]


def keeping_lm(checkpoint: Checkpoint, capacity: int | None = None) -> HarnessLM:
    """Return a model that knows the beginnings of all documents and keeps at most `capacity` bytes of them."""
    lm = HarnessLM(checkpoint, batch_tokens=64)
    known = lm.engine.keep_trunks()
    assert known is not None
    if capacity is not None:
        known._capacity = capacity
    known.learn([pairs[0].context for pairs in documents()])
    return lm


def score_blocks(lm: HarnessLM) -> list[Any]:
    return [lm.score([pair for pairs in block for pair in pairs]) for block in blocks()]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_log_likelihoods_are_equal_to_the_last_bit_and_every_token_is_read_once(
    checkpoints: Callable[[str, str], Checkpoint], name: str, kind: str
) -> None:
    checkpoint = checkpoints(name, kind)
    keeping, reading, plain = keeping_lm(checkpoint), keeping_lm(checkpoint, 0), HarnessLM(checkpoint, batch_tokens=64)
    scores = score_blocks(keeping)
    assert scores == score_blocks(reading)
    for block, plain_block in zip(scores, score_blocks(plain), strict=True):
        for score, plain_score in zip(block, plain_block, strict=True):
            assert abs(score.logprob - plain_score.logprob) < FP32_LOGLIKELIHOOD
    whole = HarnessLM(checkpoint, batch_tokens=64)
    whole.score([pair for block in blocks() for pairs in block for pair in pairs])
    assert whole.work.tokens_fed <= keeping.work.tokens_fed <= whole.work.tokens_fed + 10
    assert reading.work.tokens_fed > 1.5 * whole.work.tokens_fed
    assert plain.work.tokens_fed >= reading.work.tokens_fed - 10


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_generated_texts_are_equal_and_fewer_tokens_are_read(
    checkpoints: Callable[[str, str], Checkpoint], name: str, kind: str
) -> None:
    checkpoint = checkpoints(name, kind)
    sampled = Settings(max_tokens=5, temperature=1.0)
    texts, fed = [], []
    for capacity in (None, 0):
        lm = keeping_lm(checkpoint, capacity)
        prompts = [[Prompt(pairs[0].context, sampled, n) for pairs in block for n in (0, 1)] for block in blocks()]
        texts.append([lm.generate(block) for block in prompts])
        fed.append(lm.work.tokens_fed)
    assert texts[0] == texts[1]
    assert fed[0] < fed[1]


def test_a_kept_beginning_may_follow_one_that_is_read(
    checkpoints: Callable[[str, str], Checkpoint],
) -> None:
    checkpoint = checkpoints("llama", "base")
    subjects = [documents()[:12], documents()[12:]]
    for first in subjects:
        keeping, reading = keeping_lm(checkpoint), keeping_lm(checkpoint, 0)
        calls = [[pair for pairs in call for pair in pairs] for call in (first, [*subjects[0], *subjects[1]])]
        assert [keeping.score(pairs) for pairs in calls] == [reading.score(pairs) for pairs in calls]


def test_with_capacity_for_one_subject_the_other_is_read_again(checkpoints: Callable[[str, str], Checkpoint]) -> None:
    checkpoint = checkpoints("llama", "base")
    everything = keeping_lm(checkpoint)
    scores = score_blocks(everything)
    known = everything.engine.trunks
    assert known is not None
    half = keeping_lm(checkpoint, known._used_bytes // 2)
    assert score_blocks(half) == scores
    assert half.engine.trunks is not None
    assert half.engine.trunks._used_bytes <= known._used_bytes // 2
    assert half.work.tokens_fed > everything.work.tokens_fed


def test_nothing_is_kept_unless_beginnings_are_stated(checkpoints: Callable[[str, str], Checkpoint]) -> None:
    lm = HarnessLM(checkpoints("llama", "base"))
    score_blocks(lm)
    assert lm.engine.trunks is None


def test_other_walks_keep_no_beginnings(tmp_path: Path) -> None:
    checkpoint = loading.load(loading.locate(parse(str(architectures.base(tmp_path / "next", "qwen3_next")))))
    lm = HarnessLM(checkpoint)
    assert lm.engine.walk_choice.walk == Walk.SNAPSHOT
    lm.learn_beginnings([SimpleNamespace(request_type="loglikelihood", args=("a", "b"))])  # type: ignore[list-item]
    assert lm.engine.trunks is None
