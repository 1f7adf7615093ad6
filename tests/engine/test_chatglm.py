"""ChatGLM's published answers (golden files of the data folder) come out on every walk, alone and in batches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.backends.local import HarnessLM
from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.engine import scoring, walks
from harness.engine.decoding.settings import Settings
from harness.engine.packing import contexts, tree
from harness.engine.requests import Pair, Prompt
from harness.engine.walks import Walk
from harness.errors import HarnessError
from tolerances import GOLDEN_LOGITS

KINDS = ("base", "ptuning", "ptuning-projection")
SOP = {"chatglm-tiny": 89, "chatglm2-tiny": 2503}
WALKS = [
    ("chatglm-tiny", Walk.SNAPSHOT),
    ("chatglm-tiny", Walk.PLAIN),
    ("chatglm2-tiny", Walk.PACK),
    ("chatglm2-tiny", Walk.SNAPSHOT),
    ("chatglm2-tiny", Walk.PLAIN),
]


@pytest.fixture(scope="module")
def folder(data: Path) -> Path:
    return data / "chatglm-golden"


@pytest.fixture(scope="module")
def checkpoints(folder: Path) -> dict[tuple[str, str], Checkpoint]:
    def load(base: str, kind: str) -> Checkpoint:
        adapter = None if kind == "base" else str(folder / f"{base}-{kind}" / "checkpoint-3000")
        return loading.load(loading.locate(CheckpointReference(str(folder / base), adapter=adapter)))

    return {(base, kind): load(base, kind) for base in SOP for kind in KINDS}


def rows(folder: Path, base: str, kind: str) -> list[dict[str, Any]]:
    return json.loads((folder / f"{base}.golden.json").read_text())[kind]


def pair(base: str, row: dict[str, Any], answer_tokens: int | None = None) -> Pair:
    """Return the row's ids up to `sop`, and the (first `answer_tokens`) ids behind it; without any, half and half."""
    ids = row["input_ids"]
    place = ids.index(SOP[base]) + 1
    place = place if base == "chatglm-tiny" and place < len(ids) else len(ids) // 2
    return Pair(ids[:place], ids[place:][:answer_tokens])


@pytest.mark.sampled(6)
@pytest.mark.parametrize(("base", "walk"), WALKS)
@pytest.mark.parametrize("kind", KINDS)
def test_log_likelihoods_are_the_published_codes(
    folder: Path, checkpoints: dict[tuple[str, str], Checkpoint], base: str, walk: Walk, kind: str
) -> None:
    lm = HarnessLM(checkpoints[base, kind], walk=walk)
    golden = rows(folder, base, kind)
    pairs = [pair(base, row, tokens) for row in golden for tokens in (None, 1, 2)]
    expected = []
    for row, scored in zip([row for row in golden for _ in range(3)], pairs, strict=True):
        first = len(scored.context) - 1
        expected.append(sum(row["next_logprob"][first : first + len(scored.continuation)]))
    together = [answer.logprob for answer in lm.score(pairs)]
    alone = [lm.score([scored])[0].logprob for scored in pairs]
    tolerances = [GOLDEN_LOGITS * len(scored.continuation) for scored in pairs]
    for values in (together, alone):
        differences = [abs(a - b) for a, b in zip(values, expected, strict=True)]
        assert all(d <= t for d, t in zip(differences, tolerances, strict=True)), differences


@pytest.mark.sampled(6)
@pytest.mark.parametrize(("base", "walk"), WALKS)
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_texts_are_the_published_codes(
    folder: Path, checkpoints: dict[tuple[str, str], Checkpoint], base: str, walk: Walk, kind: str
) -> None:
    checkpoint = checkpoints[base, kind]
    lm = HarnessLM(checkpoint, walk=walk)
    golden = rows(folder, base, kind)
    prompts = [Prompt(row["input_ids"], Settings(max_tokens=len(row["greedy"]))) for row in golden]
    decode = checkpoint.tokenizer.decode
    ends = [next((i for i, t in enumerate(row["greedy"]) if t in checkpoint.eos_ids), None) for row in golden]
    expected = [decode(row["greedy"][:end], skip_special_tokens=True) for row, end in zip(golden, ends, strict=True)]
    assert [answer.text for answer in lm.generate(prompts)] == expected
    assert [lm.generate([prompt])[0].text for prompt in prompts] == expected


@pytest.mark.parametrize("base", SOP)
def test_each_generation_takes_its_fastest_walk_and_says_what_it_costs(
    checkpoints: dict[tuple[str, str], Checkpoint], base: str
) -> None:
    lm = HarnessLM(checkpoints[base, "ptuning"])
    assert lm.engine.walk_choice.walk == (Walk.SNAPSHOT if base == "chatglm-tiny" else Walk.PACK)
    assert lm.engine.padding == (True, True, True)
    notes = " ".join(lm.engine.notes())
    assert ("reads a context both ways" in notes) == (base == "chatglm-tiny")


def test_a_context_is_fed_once_for_its_own_answers_and_shares_nothing_with_others(
    folder: Path, checkpoints: dict[tuple[str, str], Checkpoint]
) -> None:
    checkpoint = checkpoints["chatglm-tiny", "base"]
    lm = HarnessLM(checkpoint, batch_tokens=4)  # far less than a context
    beginning = list(range(100, 130))
    context, other = [*beginning, 86, 89], [*beginning, 130, 86, 89]
    pairs = [Pair(ids, answer) for ids in (context, other) for answer in ([200, 201, 202], [200, 203], [204])]
    marks = checkpoint.model.config.special_ids
    assert scoring.grow(pairs, 256, marks).tokens == len(context) + len(other) + 2 * 2
    reference = HarnessLM(checkpoint, walk=Walk.PLAIN).score(pairs)
    differences = [abs(a.logprob - b.logprob) for a, b in zip(lm.score(pairs), reference, strict=True)]
    assert max(differences) <= GOLDEN_LOGITS


def test_undivided_beginnings_are_shared_whole_or_not_at_all() -> None:
    sequences = [[1, 2, 3, 9, 5], [1, 2, 3, 9, 6], [1, 2, 4, 9], [1, 2, 3, 8, 9, 5]]
    grown = tree.grow(sequences, [1] * 4, [4, 4, 4, 5])
    assert grown.tokens == 4 + 2 + 4 + 6
    packed = tree.plan(grown, tree.Limits(5, 100), siblings=False)
    assert sorted(pack.tokens.tolist() for pack in packed if not pack.trunk) == sorted(
        [[1, 2, 3, 9], [1, 2, 4, 9], [1, 2, 3, 8, 9]]
    )


@pytest.mark.parametrize("walk", [Walk.SNAPSHOT, Walk.PLAIN])
def test_an_answer_that_leaves_no_room_for_its_context_is_one_sentence(
    checkpoints: dict[tuple[str, str], Checkpoint], walk: Walk
) -> None:
    lm = HarnessLM(checkpoints["chatglm-tiny", "base"], walk=walk)
    with pytest.raises(HarnessError, match=r"no room is left for .gMASK. <sop>"):
        lm.score([Pair([100, 86, 89], [100] * 256)])
    with pytest.raises(HarnessError, match=r"no room is left for .gMASK. <sop>"):
        lm.generate([Prompt([100, 101, 86, 89], Settings(max_tokens=255))])
    assert contexts.lengths([[5]], None) is None


def test_a_context_without_room_for_its_special_tokens_is_refused(folder: Path) -> None:
    reference = CheckpointReference(str(folder / "chatglm-tiny"))
    with pytest.raises(HarnessError, match=r"a context of 4 tokens has no room for a text, .gMASK. <sop>"):
        loading.locate(replace(reference, max_length=4))
    assert loading.load(loading.locate(replace(reference, max_length=5))).max_length == 5


def test_the_probe_notices_contexts_that_share_their_beginnings(
    checkpoints: dict[tuple[str, str], Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = checkpoints["chatglm-tiny", "base"]
    assert not walks.failure(Walk.SNAPSHOT, checkpoint.model, checkpoint.root)
    grow = tree.grow
    monkeypatch.setattr(walks.tree, "grow", lambda sequences, counts, undivided: grow(sequences, counts))
    assert walks.failure(Walk.SNAPSHOT, checkpoint.model, checkpoint.root)


@pytest.mark.parametrize("walk", [Walk.PACK, Walk.PLAIN])
def test_a_cut_prompt_of_chatglm2_keeps_its_special_tokens(
    checkpoints: dict[tuple[str, str], Checkpoint], walk: Walk
) -> None:
    checkpoint = checkpoints["chatglm2-tiny", "base"]
    text = "".join(chr(0x4E00 + i) for i in range(900))
    lm = HarnessLM(checkpoint, walk=walk)
    (whole,) = lm.encoder.pairs([(text, "A")])
    special = [2501, 2503]
    assert (whole.context[:2], whole.lead) == (special, 2)
    room = 512 + 1 - 2 - len(whole.continuation)
    expected = Pair([*special, *whole.context[-room:]], whole.continuation)
    assert lm.score([whole])[0].logprob == pytest.approx(lm.score([expected])[0].logprob, abs=GOLDEN_LOGITS)
    assert lm.work.truncated == 1
    settings = Settings(max_tokens=12)
    cut = Prompt([*special, *whole.context[-(512 - 12 - 2) :]], settings)
    assert lm.generate([Prompt(whole.context, settings, lead=2)]) == lm.generate([cut])


def test_a_long_prompt_loses_its_left_and_keeps_the_special_tokens(
    checkpoints: dict[tuple[str, str], Checkpoint],
) -> None:
    checkpoint = checkpoints["chatglm-tiny", "base"]
    ids = [100 + i % 400 for i in range(400)]
    lm = HarnessLM(checkpoint)
    whole, cut = (Prompt([*ids[-n:], 86, 89], Settings(max_tokens=16)) for n in (400, 256 - 16 - 2))
    assert lm.generate([whole]) == lm.generate([cut])
    assert lm.work.truncated == 1
