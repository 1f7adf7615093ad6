"""Which walk a model takes, and that on every walk it answers as with one sequence at a time."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.backends.local import HarnessLM
from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.checkpoints.root_cache import EMPTY
from harness.engine import scoring, walks
from harness.engine.decoding.settings import Settings
from harness.engine.engine import Engine
from harness.engine.packing import packs, tree
from harness.engine.requests import Pair, Prompt
from harness.engine.walks import Walk
from support import architectures, tiny
from support.architectures import Oracle
from tolerances import BF16_LOGLIKELIHOOD, FP32_LOGLIKELIHOOD

WALKS = {
    "llama": Walk.PACK,
    "gpt2": Walk.PACK,
    "gemma2": Walk.PACK,
    "gemma3": Walk.PACK,
    "cohere2": Walk.PACK,
    "gpt_oss": Walk.PACK,
    "mistral": Walk.PACK,
    "qwen3_moe": Walk.PACK,
    "deepseek_v3": Walk.PACK,
    "qwen3_next": Walk.SNAPSHOT,
    "qwen3_5": Walk.SNAPSHOT,
    "bloom": Walk.SNAPSHOT,
    "gpt_neo": Walk.SNAPSHOT,
    "mamba": Walk.PLAIN,
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of an architecture, whose model is created once."""
    root, folders = tmp_path_factory.mktemp("architectures"), {}

    def folder(name: str) -> Path:
        if name not in folders:
            folders[name] = architectures.base(root / name, name)
        return folders[name]

    return folder


def load(folder: Path, **options: int) -> Checkpoint:
    return loading.load(loading.locate(CheckpointReference(str(folder), **options)))


def adversarial_pairs() -> list[Pair]:
    """Return pairs that share prefixes at every depth: duplicates, different splits, prefixes, long answers."""
    chance = random.Random(3)
    draw: Callable[[int], list[int]] = lambda n: chance.choices(range(3, 380), k=n)  # noqa: E731
    shots, question = draw(30), draw(9)
    whole = [*shots, *question, *draw(12)]
    return [
        *(Pair([*shots, *question], [letter]) for letter in (40, 41, 42, 43)),
        *(Pair([*shots, *draw(4)], draw(n)) for n in (1, 3, 17)),
        *(Pair(whole[:cut], whole[cut:]) for cut in (1, 30, 31, 45, len(whole) - 1)),
        Pair([*shots, *question], [40]),
        Pair(shots, question),
        Pair(draw(1), draw(25)),
        Pair(draw(2), [7]),
    ]


def score(engine: Engine, pairs: list[Pair]) -> list[tuple[float, bool]]:
    answers = {i: answer for batch in engine.score(pairs, [True] * len(pairs)) for i, answer in batch.answers}
    return [answers[i] for i in range(len(pairs))]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", WALKS)
def test_a_model_takes_its_fastest_walk_and_answers_as_with_one_sequence_at_a_time(
    folder_of: Callable[[str], Path], name: str
) -> None:
    checkpoint, oracle, pairs = load(folder_of(name)), Oracle(folder_of(name)), adversarial_pairs()
    assert walks.choose(checkpoint).walk == WALKS[name]
    expected = [oracle.logprob(*pair[:2]) for pair in pairs]
    for tokens in (16, 100):
        scores = score(Engine(checkpoint, batch_tokens=tokens), pairs)
        for (logprob, greedy), (expected_logprob, expected_greedy) in zip(scores, expected, strict=True):
            assert abs(logprob - expected_logprob) <= FP32_LOGLIKELIHOOD
            assert greedy == expected_greedy


@pytest.mark.parametrize("name", ["qwen3_5", "bloom", "mamba"])
def test_the_probe_rejects_a_walk_that_a_model_does_not_support(folder_of: Callable[[str], Path], name: str) -> None:
    model = load(folder_of(name)).model
    assert walks.failure(Walk.PACK, model, EMPTY)
    assert bool(walks.failure(Walk.SNAPSHOT, model, EMPTY)) == (name == "mamba")


def test_layers_that_select_what_they_see_take_the_plain_walk(folder_of: Callable[[str], Path]) -> None:
    """What Doge keeps of a long text depends on all tokens fed, so only the plain walk answers as one sequence does."""
    choice = walks.choose(load(folder_of("doge")))
    assert choice == (Walk.PLAIN, "in texts of more than 40 tokens its layers select what they see")
    assert walks.choose(load(folder_of("doge"), max_length=40)).walk == Walk.PACK


def test_a_model_that_ignores_its_mask_is_detected_by_the_second_sibling(
    folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this model every token sees all previous ones, as in a recurrent model, whatever its mask says."""
    checkpoint = load(folder_of("llama"))
    assert not walks.failure(Walk.PACK, checkpoint.model, EMPTY)
    forward = checkpoint.model.forward

    def without_mask(
        input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **arguments: object
    ) -> object:
        return forward(input_ids=input_ids, attention_mask=None, **arguments)

    monkeypatch.setattr(checkpoint.model, "forward", without_mask)
    assert walks.failure(Walk.PACK, checkpoint.model, EMPTY) == "changes the answers"
    assert walks.choose(checkpoint) == (Walk.SNAPSHOT, "its pack walk changes the answers")


def test_full_memory_does_not_reject_a_walk(folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> object:
        raise torch.OutOfMemoryError

    model = load(folder_of("llama")).model
    monkeypatch.setattr(packs, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        walks.failure(Walk.PACK, model, EMPTY)


def test_a_slower_walk_is_noted_with_its_reason(folder_of: Callable[[str], Path]) -> None:
    assert HarnessLM(load(folder_of("llama"))).engine.notes() == []
    (recurrent,) = HarnessLM(load(folder_of("qwen3_5"))).engine.notes()[:1]
    assert recurrent == (
        "prompts took the snapshot walk, slower than packs: its layers are of the kind linear_attention"
    )
    (plain,) = HarnessLM(load(folder_of("mamba"))).engine.notes()[:1]
    assert plain.startswith("prompts took the plain walk, slower than packs: its snapshot walk ")


def test_a_short_context_takes_the_plain_walk(tmp_path: Path) -> None:
    engine = HarnessLM(load(tiny.llama(tmp_path / "model", context=16))).engine
    assert engine.walk_choice.walk == Walk.PLAIN


def test_a_text_as_long_as_positions_allow_stays_on_its_walk(folder_of: Callable[[str], Path]) -> None:
    """No sequence longer than the context is fed, however long the text is."""
    checkpoint = load(folder_of("llama"), max_length=40)
    checkpoint.located.config.rope_parameters = {"rope_type": "dynamic", "original_max_position_embeddings": 40}
    assert checkpoint.position_switch == 40
    engine = Engine(checkpoint)
    score(engine, [Pair([5] * 40, [6]), Pair([5] * 90, [6])])
    list(engine.decode([Prompt([5] * 90, Settings(max_tokens=2))], [True]))
    assert engine.notes() == []


@pytest.mark.parametrize("tokens", [300, 32, 4])
def test_one_snapshot_is_kept_for_each_branch_of_the_current_path(
    folder_of: Callable[[str], Path], tokens: int
) -> None:
    """Whatever the size of packs: one snapshot after the shots, one after a question."""
    checkpoint, shots = load(folder_of("qwen3_5")), list(range(5, 105))
    pairs = [Pair([*shots, 10 + q, 7], [20 + a, 30]) for q in range(3) for a in range(3)]
    grown = scoring.grow(pairs, checkpoint.max_length)
    planned = tree.plan(grown, tree.Limits(tokens, 1000), siblings=False)
    walker = packs.Snapshots(checkpoint.model, checkpoint.root, planned)
    counts = []
    for pack in planned:
        walker.run(pack, packs.distinct_reads(pack)[0])
        counts.append(len(walker.states))
    assert max(counts) == 2
    assert walker.states == []


@pytest.mark.parametrize("walk", [Walk.PACK, Walk.SNAPSHOT])
def test_every_token_goes_through_the_model_once(folder_of: Callable[[str], Path], walk: Walk) -> None:
    checkpoint, pairs = load(folder_of("llama")), adversarial_pairs()
    fed: list[int] = []
    hook = checkpoint.model.get_input_embeddings().register_forward_pre_hook(lambda _, ids: fed.append(ids[0].numel()))
    batches = list(Engine(checkpoint, batch_tokens=32, walk=walk).score(pairs, [True] * len(pairs)))
    hook.remove()
    sequences = [[*pair.context, *pair.continuation][:-1] for pair in pairs]
    prefixes = {tuple(ids[:end]) for ids in sequences for end in range(1, len(ids) + 1)}
    assert sum(fed) == len(prefixes) == sum(batch.tokens_fed for batch in batches)


def test_in_bfloat16_packs_stay_within_tolerance_and_only_ties_change_decisions(
    folder_of: Callable[[str], Path],
) -> None:
    checkpoint = loading.load(loading.locate(CheckpointReference(str(folder_of("llama")), dtype="bfloat16")))
    oracle, pairs = Oracle(folder_of("llama")), adversarial_pairs()
    alone = score(Engine(checkpoint, batch_tokens=1, walk=Walk.PLAIN), pairs)
    for tokens in (16, 100):
        scores = score(Engine(checkpoint, batch_tokens=tokens), pairs)
        for pair, (logprob, greedy), (expected, expected_greedy) in zip(pairs, scores, alone, strict=True):
            assert abs(logprob - expected) <= BF16_LOGLIKELIHOOD * abs(expected)
            if greedy != expected_greedy:
                best = oracle.logits([*pair.context, *pair.continuation])[len(pair.context) - 1 : -1].topk(2).values
                assert float((best[:, 0] - best[:, 1]).min()) <= BF16_LOGLIKELIHOOD * float(best.abs().max())


ids = st.lists(st.integers(3, 12), min_size=1, max_size=30)


@given(
    pairs=st.lists(st.builds(Pair, ids, ids, st.just(0)), min_size=1, max_size=10),
    tokens=st.sampled_from([1, 5, 24, 300]),
    walk=st.sampled_from([Walk.PACK, Walk.SNAPSHOT]),
    shuffle=st.randoms(use_true_random=False),
)
@settings(
    deadline=None,
    max_examples=settings.default.max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_requests_in_any_packs_and_order_score_as_on_the_plain_walk(
    folder_of: Callable[[str], Path], pairs: list[Pair], tokens: int, walk: Walk, shuffle: random.Random
) -> None:
    """Ids are few, so that sequences share long prefixes; some pairs exceed the context and are cut on the left."""
    checkpoint = _short(folder_of("llama"))
    order = list(range(len(pairs)))
    shuffle.shuffle(order)
    scores = score(Engine(checkpoint, batch_tokens=tokens, walk=walk), [pairs[i] for i in order])
    plain = score(Engine(checkpoint, batch_tokens=1, walk=Walk.PLAIN), pairs)
    for index, (logprob, greedy) in zip(order, scores, strict=True):
        assert abs(logprob - plain[index][0]) <= FP32_LOGLIKELIHOOD
        assert greedy == plain[index][1]


_loaded: dict[Path, Checkpoint] = {}


def _short(folder: Path) -> Checkpoint:
    if folder not in _loaded:
        _loaded[folder] = load(folder, max_length=40)
    return _loaded[folder]
