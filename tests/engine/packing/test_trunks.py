"""Beginnings kept between calls: the same answers to the last bit, and each token read once over all calls."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
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
from harness.engine.packing import trunks
from harness.engine.packing.tree import Limits
from harness.engine.packing.trunks import Trunks
from harness.engine.requests import Pair, Prompt
from harness.engine.walks import Walk
from support import architectures
from tolerances import FP32_LOGLIKELIHOOD

LETTERS = (40, 41, 42, 43)


def paths(plan: trunks.Plan, missing: Sequence[bool] | None = None) -> dict[tuple[int, int], list[int]]:
    """Walk `plan` as a cache that holds token ids would, and return what each (request, nth) has seen."""
    cache: list[int] = []
    found = {}
    for number, pack in enumerate(plan.packs):
        assert pack.parent < number
        assert pack.trunk <= len(cache)
        del cache[pack.trunk :]
        tokens = pack.tokens.tolist()
        for place, request, nth in zip(pack.rows, pack.requests, pack.nth, strict=True):
            own = [i for i in range(len(tokens)) if i <= place < pack.ends[i]]
            found[int(request), int(nth)] = cache + [tokens[i] for i in own]
            assert pack.depths[own].tolist() == list(range(pack.trunk, pack.trunk + len(own)))
        cache += tokens[: pack.keep]
    return found


def sentences(chance: random.Random, count: int, shared: int, own: int) -> list[list[int]]:
    start = chance.choices(range(3, 380), k=shared)
    return [[*start, *chance.choices(range(3, 380), k=chance.randint(1, own))] for _ in range(count)]


# --- plans ------------------------------------------------------------------------------------------------------------

_ids = st.lists(st.integers(0, 2), min_size=1, max_size=9)


@given(
    beginnings=st.lists(_ids, min_size=1, max_size=3),
    ends=st.lists(st.tuples(st.integers(0, 2), _ids, st.integers(1, 4)), min_size=1, max_size=24),
    limits=st.builds(Limits, st.integers(1, 20), st.integers(1, 20)),
    data=st.data(),
)
@settings(deadline=None, max_examples=150)
def test_whatever_was_learned_every_request_reads_behind_its_own_tokens(
    beginnings: list[list[int]], ends: list[Any], limits: Limits, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trunks, "MIN_TOKENS", data.draw(st.integers(1, 4)))
        patch.setattr(trunks, "MIN_DOCUMENTS", data.draw(st.integers(1, 4)))
        sequences = [[*beginnings[which % len(beginnings)] * 3, *end] for which, end, _ in ends]
        wanted = [min(count, len(one)) for one, (_, _, count) in zip(sequences, ends, strict=True)]
        known = Trunks(0)
        known.learn(data.draw(st.lists(st.sampled_from(sequences), max_size=12)))
        found = paths(known.plan(sequences, wanted, limits))
    expected = {
        (request, nth): sequence[: len(sequence) - count + nth + 1]
        for request, (sequence, count) in enumerate(zip(sequences, wanted, strict=True))
        for nth in range(count)
    }
    assert found == expected


def test_nothing_learned_is_the_plan_of_one_call() -> None:
    chance = random.Random(0)
    sequences = sentences(chance, 20, 90, 30)
    from harness.engine.packing import tree

    limits = Limits(100, 100)
    mine = Trunks(0).plan(sequences, [1] * 20, limits).packs
    plain = tree.plan(tree.grow(sequences, [1] * 20), limits)
    for one, other in zip(mine, plain, strict=True):
        for left, right in zip(one, other, strict=True):
            assert np.array_equal(left, right)


def test_pieces_of_a_beginning_do_not_depend_on_who_is_asked() -> None:
    chance = random.Random(1)
    sequences = sentences(chance, 40, 150, 30)
    known = Trunks(0)
    known.learn(sequences)
    plans = [known.plan(sequences[a:b], [1] * (b - a), Limits(64, 64)) for a, b in ((0, 1), (5, 30), (30, 40))]
    pieces = [[*plan.pieces.values()] for plan in plans]
    assert pieces[0] == pieces[1] == pieces[2]
    assert [start for start, _ in pieces[0]] == [0, 64, 128]
    for plan in plans:
        of = [pack for pack in plan.packs if id(pack) in plan.pieces]
        assert [pack.tokens.tolist() for pack in of] == [sequences[0][s:e] for s, e in ((0, 64), (64, 128), (128, 150))]


def test_few_documents_and_short_beginnings_are_not_noted() -> None:
    chance = random.Random(2)
    few, short = sentences(chance, trunks.MIN_DOCUMENTS - 1, 200, 20), sentences(chance, 50, trunks.MIN_TOKENS - 1, 20)
    for sequences in (few, short, []):
        known = Trunks(0)
        known.learn(sequences)
        assert not known.plan(sequences, [1] * len(sequences), Limits(64, 64)).pieces


# --- what is held -----------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_longest_is_dropped() -> None:
    one = [(0, torch.zeros(10), torch.zeros(10))]  # 80 bytes
    known = Trunks(170)
    for name in (b"a", b"b"):
        known.put((0, name), one)
    assert known.get((0, b"a")) is not None
    known.put((0, b"c"), one)
    assert [known.get((0, name)) is not None for name in (b"a", b"b", b"c")] == [True, False, True]
    known.put((0, b"d"), [(0, torch.zeros(100), torch.zeros(100))])  # more than there is room for
    assert not any(known.get((0, name)) for name in (b"a", b"b", b"c", b"d"))
    known.put((0, b"e"), one)
    assert known.get((0, b"e")) is not None


# --- answers ----------------------------------------------------------------------------------------------------------

KINDS = [("llama", "base"), ("gemma3", "lora"), ("mistral", "prefix")]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Checkpoint]:
    root, made = tmp_path_factory.mktemp("architectures"), dict[tuple[str, str], Checkpoint]()

    def checkpoint(name: str, kind: str) -> Checkpoint:
        if (name, kind) not in made:
            base = architectures.base(root / f"{name}-{kind}", name)
            reference = str(base)
            if kind != "base":
                reference += f",adapter={architectures.adapter(root / f'{name}-{kind}-adapter', base, name, kind)}"
            made[name, kind] = loading.load(loading.locate(parse(reference)))
        return made[name, kind]

    return checkpoint


def documents() -> list[list[Pair]]:
    """Two subjects of a dozen questions, each with examples of its own and four choices."""
    chance = random.Random(3)
    subjects = [sentences(chance, 12, 100, 15) for _ in range(2)]
    return [[Pair(one, [letter]) for letter in LETTERS] for subject in subjects for one in subject]


def blocks() -> list[list[list[Pair]]]:
    asked = documents()
    random.Random(4).shuffle(asked)
    return [asked[at : at + 5] for at in range(0, len(asked), 5)]


def answering(checkpoint: Checkpoint, room: int | None = None) -> HarnessLM:
    """Return what answers with known beginnings, keeping `room` bytes of them."""
    lm = HarnessLM(checkpoint, batch_tokens=64)
    known = lm.engine.keep_trunks()
    assert known is not None
    if room is not None:
        known._capacity = room
    known.learn([pairs[0].context for pairs in documents()])
    return lm


def scored(lm: HarnessLM) -> list[Any]:
    return [lm.score([pair for pairs in block for pair in pairs]) for block in blocks()]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_likelihoods_are_the_same_to_the_last_bit_and_every_token_is_read_once(
    checkpoints: Callable[[str, str], Checkpoint], name: str, kind: str
) -> None:
    checkpoint = checkpoints(name, kind)
    keeping, reading, plain = answering(checkpoint), answering(checkpoint, 0), HarnessLM(checkpoint, batch_tokens=64)
    found = scored(keeping)
    assert found == scored(reading)
    for one, other in zip(found, scored(plain), strict=True):
        for mine, theirs in zip(one, other, strict=True):
            assert abs(mine.logprob - theirs.logprob) < FP32_LOGLIKELIHOOD
    whole = HarnessLM(checkpoint, batch_tokens=64)
    whole.score([pair for block in blocks() for pairs in block for pair in pairs])
    assert whole.work.tokens_fed <= keeping.work.tokens_fed <= whole.work.tokens_fed + 10
    assert reading.work.tokens_fed > 1.5 * whole.work.tokens_fed
    assert plain.work.tokens_fed >= reading.work.tokens_fed - 10


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_generated_texts_are_too(checkpoints: Callable[[str, str], Checkpoint], name: str, kind: str) -> None:
    checkpoint = checkpoints(name, kind)
    how = Settings(max_tokens=5, temperature=1.0)
    texts, fed = [], []
    for room in (None, 0):
        lm = answering(checkpoint, room)
        asked = [[Prompt(pairs[0].context, how, sample) for pairs in b for sample in (0, 1)] for b in blocks()]
        texts.append([lm.generate(prompts) for prompts in asked])
        fed.append(lm.work.tokens_fed)
    assert texts[0] == texts[1]
    assert fed[0] < fed[1]


def test_a_beginning_that_is_held_may_come_behind_one_that_is_read(
    checkpoints: Callable[[str, str], Checkpoint],
) -> None:
    checkpoint = checkpoints("llama", "base")
    subjects = [documents()[:12], documents()[12:]]
    for first in subjects:
        keeping, reading = answering(checkpoint), answering(checkpoint, 0)
        asked = [[pair for pairs in some for pair in pairs] for some in (first, [*subjects[0], *subjects[1]])]
        assert [keeping.score(pairs) for pairs in asked] == [reading.score(pairs) for pairs in asked]


def test_a_room_for_one_subject_reads_the_other_again(checkpoints: Callable[[str, str], Checkpoint]) -> None:
    checkpoint = checkpoints("llama", "base")
    everything = answering(checkpoint)
    found = scored(everything)
    known = everything.engine.trunks
    assert known is not None
    half = answering(checkpoint, known._used_bytes // 2)
    assert scored(half) == found
    assert half.engine.trunks is not None
    assert half.engine.trunks._used_bytes <= known._used_bytes // 2
    assert half.work.tokens_fed > everything.work.tokens_fed


def test_a_run_that_asks_once_keeps_nothing(checkpoints: Callable[[str, str], Checkpoint]) -> None:
    lm = HarnessLM(checkpoints("llama", "base"))
    scored(lm)
    assert lm.engine.trunks is None


def test_other_walks_read_as_always(tmp_path: Path) -> None:
    checkpoint = loading.load(loading.locate(parse(str(architectures.base(tmp_path / "next", "qwen3_next")))))
    lm = HarnessLM(checkpoint)
    assert lm.engine.walk_choice.walk == Walk.SNAPSHOT
    lm.learn_beginnings([SimpleNamespace(request_type="loglikelihood", args=("a", "b"))])  # type: ignore[list-item]
    assert lm.engine.trunks is None
