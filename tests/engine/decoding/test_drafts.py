"""Drafts: what is looked up, and that texts are the same whatever is drafted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.engine.decoding import continuous, drafts, lanes
from harness.engine.decoding.arrangement import Arrangement
from harness.engine.decoding.drafts import Drafter
from harness.engine.decoding.lanes import Lanes
from harness.engine.decoding.settings import Settings
from harness.engine.engine import Engine
from harness.engine.requests import Prompt
from harness.engine.walks import Walk
from support import architectures, steps, tiny

CONTEXT = 96
FIRST_NUMBER = 3
"""Id of the last token of the first prompt, where prompts are numbered by it."""
ids = st.lists(st.integers(1, 4), min_size=1, max_size=25)


# -- what is looked up


def looked_up(text: Sequence[int], limit: int) -> list[int]:
    """Return the draft for `text` by trying every earlier place."""
    for matched in range(drafts.MATCHED, 0, -1):
        for end in range(len(text) - 1, matched - 1, -1):
            if list(text[end - matched : end]) == list(text[len(text) - matched :]):
                following = list(text[end:])
                while len(following) < limit:
                    following += text[end:]
                return following[: min(limit, drafts.PER_MATCHED * matched)]
    return []


@given(prompt=ids, answer=ids, limit=st.integers(0, 9))
def test_what_followed_the_longest_and_latest_match_is_drafted(
    prompt: list[int], answer: list[int], limit: int
) -> None:
    drafter = Drafter(prompt, len(answer))
    for length in range(1, len(answer) + 1, 2):  # answers grow by more than one token, too
        assert drafter.draft(answer[:length], limit) == looked_up([*prompt, *answer[:length]], limit)


def test_a_text_in_circles_is_drafted_in_circles() -> None:
    assert Drafter([1, 2, 7, 8], 8).draft([9, 7, 8, 9], 6) == [7, 8, 9, 7, 8, 9]
    assert Drafter([1, 2], 8).draft([5, 5], 4) == [5, 5]


def test_nothing_is_drafted_for_a_new_token() -> None:
    assert Drafter([1, 2, 3], 8).draft([4], 4) == []


def test_drafts_pause_where_hardly_any_token_was_right() -> None:
    text = [1, 2] * 60
    drafter = Drafter([1, 2], len(text))
    tried = 0
    while tried < drafts.TRIED:
        assert drafter.draft(text[:10], 6)
        drafter.learn(6, 0)
        tried += 6
    assert drafter.draft(text[: 9 + drafts.PAUSE], 6) == []
    assert drafter.draft(text[: 10 + drafts.PAUSE], 6)


def test_drafts_that_are_sometimes_right_go_on() -> None:
    text = [1, 2] * 60
    drafter = Drafter([1, 2], len(text))
    for length in range(10, 100):
        assert drafter.draft(text[:length], 6)
        drafter.learn(6, 1)


# -- texts


@pytest.fixture(scope="module", params=["llama", "windows", "latent", "prefix"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A model whose greedy texts never end before their limit."""
    folder: Path = tmp_path_factory.mktemp("models") / "base"
    names = {"windows": "gemma3", "latent": "deepseek_v3"}
    kind = request.param
    path = architectures.base(folder, names[kind]) if kind in names else tiny.llama(folder, context=CONTEXT)
    if kind == "prefix":
        path = architectures.adapter(folder.parent / kind, path, "llama", kind)
    loaded = loading.load(loading.locate(CheckpointReference(str(path), max_length=CONTEXT - 8)))
    with torch.no_grad():
        loaded.model.get_output_embeddings().weight[loaded.eos_ids] = 0
    return loaded


SHARED = [50, 60, 70, 80, 90, 100, 110]
prompts_of = st.lists(
    st.tuples(st.integers(0, len(SHARED)), st.lists(st.integers(3, 383), min_size=1, max_size=12), st.integers(1, 14)),
    min_size=1,
    max_size=7,
)


def answers(
    checkpoint: Checkpoint, prompts: Sequence[Prompt], rows: int = 100, cache_bytes: int | None = None
) -> dict[int, str]:
    """Return the texts of `prompts` with at most `rows` answers side by side, in so much memory if it is limited."""
    engine = Engine(checkpoint, batch_tokens=32, walk=Walk.PACK)
    engine.rows = rows
    if cache_bytes is not None:
        engine.__dict__["cache_bytes"] = cache_bytes
    batches = engine.decode(prompts, [True] * len(prompts))
    return {i: generation.text for batch in batches for i, generation in batch.answers}


def greedy_ids(checkpoint: Checkpoint, prompt: Prompt) -> list[int]:
    """Return the ids of the greedy answer from the whole sequence for every token, without a cache."""
    new: list[int] = []
    for _ in range(prompt.settings.max_tokens):
        with torch.inference_mode():
            row = torch.tensor([[*prompt.ids, *new]])
            new.append(int(checkpoint.root.forward(checkpoint.model, row).logits[0, -1].argmax()))
    return new


def draft_from(
    monkeypatch: pytest.MonkeyPatch, texts: Sequence[list[int]], lengths: range, error_rate: float = 0.0
) -> None:
    """Let rows draft what their answer will be, with lengths of `lengths`, and wrong tokens in between."""
    generator = random.Random(len(texts))

    class Knowing(Drafter):
        def __init__(self, prompt: Sequence[int], max_tokens: int) -> None:
            self.text = texts[prompt[-1] - FIRST_NUMBER]

        def learn(self, drafted: int, right: int) -> None:
            assert right <= drafted

        def draft(self, answer: Sequence[int], limit: int) -> list[int]:
            assert self.text[: len(answer)] == list(answer), (self.text, answer)
            following = self.text[len(answer) :][: min(limit, generator.choice(lengths))]
            return [token ^ (generator.random() < error_rate) for token in following]

    monkeypatch.setattr(continuous, "Drafter", Knowing)


def numbered(requests: Sequence[tuple[int, list[int], int]]) -> list[Prompt]:
    """Return prompts whose last token says their number."""
    return [
        Prompt([*SHARED[:shared], *tail, FIRST_NUMBER + number], Settings(max_tokens=length))
        for number, (shared, tail, length) in enumerate(requests)
    ]


@pytest.mark.sampled(3)
@given(
    requests=prompts_of,
    rows=st.sampled_from([1, 3, 100]),
    error_rate=st.sampled_from([0.0, 0.3, 1.0]),
    width=st.sampled_from([None, 1, 2, 100]),
    moves=st.sampled_from([2, 32]),
    cache_bytes=st.sampled_from([None, 1, 20_000, 60_000]),
)
@settings(
    deadline=None,
    max_examples=settings.default.max_examples // 3,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_texts_do_not_depend_on_drafts(
    checkpoint: Checkpoint,
    requests: list[tuple[int, list[int], int]],
    rows: int,
    error_rate: float,
    width: int | None,
    moves: int,
    cache_bytes: int | None,
) -> None:
    prompts = numbered(requests)
    texts = [greedy_ids(checkpoint, prompt) for prompt in prompts]
    expected = [checkpoint.tokenizer.decode(text, skip_special_tokens=True) for text in texts]
    with pytest.MonkeyPatch.context() as monkeypatch:
        draft_from(monkeypatch, texts, range(6), error_rate)
        monkeypatch.setattr(lanes, "STEPS", moves)
        if width is not None:
            monkeypatch.setattr(lanes, "arrange", lambda *_: Arrangement(width, 0, 0))
        assert answers(checkpoint, prompts, rows, cache_bytes) == dict(enumerate(expected))


def test_a_stop_string_inside_a_draft_ends_the_answer(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = numbered([(3, [5 * i + 9], 25) for i in range(4)])
    texts = [greedy_ids(checkpoint, prompt) for prompt in prompts]
    whole = [checkpoint.tokenizer.decode(text, skip_special_tokens=True) for text in texts]
    stops = tuple(checkpoint.tokenizer.decode(text[9:11]) for text in texts)
    stopped = [prompt._replace(settings=Settings(max_tokens=25, until=stops)) for prompt in prompts]
    draft_from(monkeypatch, texts, range(6, 7))
    stopped_texts = answers(checkpoint, stopped)
    for number, text in enumerate(whole):
        assert stopped_texts[number] == text[: min(text.index(stop) for stop in stops if stop in text)]


def test_sampled_texts_do_not_depend_on_drafts(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator of a row is asked for as many tokens as without drafts, which are the greedy ones here."""
    sampled = Settings(max_tokens=20, temperature=0.5, top_k=5, repetition_penalty=1.05)
    prompts = [Prompt([*SHARED, FIRST_NUMBER + i], sampled, sample) for i in range(3) for sample in range(3)]
    texts = [greedy_ids(checkpoint, prompt) for prompt in prompts[::3]]
    accepted: list[int] = []

    class Greedy(Drafter):
        def __init__(self, prompt: Sequence[int], max_tokens: int) -> None:
            self.text = texts[prompt[-1] - FIRST_NUMBER]

        def learn(self, drafted: int, right: int) -> None:
            accepted.append(right)

        def draft(self, answer: Sequence[int], limit: int) -> list[int]:
            return self.text[len(answer) :][: min(limit, 3)]

    monkeypatch.setattr(continuous, "Drafter", Greedy)
    sampled_texts = answers(checkpoint, prompts)
    assert sum(accepted) > 0
    assert len(set(sampled_texts.values())) > len(texts)
    monkeypatch.setattr(Lanes, "longest_draft", lambda *_: 0)
    assert answers(checkpoint, prompts) == sampled_texts


@pytest.mark.sampled(5)
@pytest.mark.parametrize("length", [1, 2, 3, 6])
def test_a_right_draft_saves_a_step_a_token(
    checkpoint: Checkpoint, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = numbered([(3, [5 * i + 9], 25) for i in range(4)])
    texts = [greedy_ids(checkpoint, prompt) for prompt in prompts]
    draft_from(monkeypatch, texts, range(length, length + 1))
    with steps.counted() as rows:
        answers(checkpoint, prompts)
    assert len(rows) == -(-24 // (1 + length))  # the first of 25 tokens comes with the prompt
