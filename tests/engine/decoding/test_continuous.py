"""How full the steps of continuous batching are, and that answers come while prompts are still being read.

Steps are counted without drafts, which save steps depending on the texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.engine.decoding import continuous
from harness.engine.decoding.lanes import Lanes, Row
from harness.engine.decoding.settings import Settings
from harness.engine.engine import Engine
from harness.engine.requests import Prompt
from harness.engine.walks import Walk
from support import tiny

PACK = 16
CONTEXT = 6 * PACK + 40


@dataclass
class Log:
    """What the decoder did, in order."""

    steps: list[int] = field(default_factory=list)
    """Rows of each step."""
    arrivals: list[int] = field(default_factory=list)
    """Requests in the order of their first step."""
    events: list[str] = field(default_factory=list)
    """"step", "read" or "answer"."""

    @property
    def rows_a_step(self) -> float:
        return sum(self.steps) / len(self.steps)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A model that never ends a text: its end token's logit is 0, and so hardly ever the largest."""
    folder: Path = tiny.llama(tmp_path_factory.mktemp("models") / "base", context=CONTEXT)
    loaded = loading.load(loading.locate(CheckpointReference(str(folder), max_length=CONTEXT)))
    with torch.no_grad():
        loaded.model.get_output_embeddings().weight[loaded.eos_ids] = 0
    return loaded


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """Log steps and reads of everything that is decoded."""
    entries = Log()
    step, read = Lanes.step, continuous._Decoder._read

    def logged_step(lanes: Lanes, rows: Sequence[Row], drafts: Sequence[Sequence[int]]) -> torch.Tensor:
        entries.steps.append(len(rows))
        entries.arrivals += [row.request for row in rows if row.request not in entries.arrivals]
        entries.events.append("step")
        return step(lanes, rows, drafts)

    def logged_read(decoder: continuous._Decoder, ended: list[tuple[int, continuous.Continuation]]) -> int:
        entries.events.append("read")
        return read(decoder, ended)

    monkeypatch.setattr(Lanes, "longest_draft", lambda *_: 0)
    monkeypatch.setattr(Lanes, "step", logged_step)
    monkeypatch.setattr(continuous._Decoder, "_read", logged_read)
    return entries


def decode(checkpoint: Checkpoint, prompts: Sequence[Prompt], rows: int, log: Log) -> None:
    """Decode `prompts` with at most `rows` answers side by side."""
    engine = Engine(checkpoint, batch_tokens=PACK, walk=Walk.PACK)
    engine.rows, engine.weight_bytes = rows, 2**40  # next to such weights, a row beside others costs nothing
    log.steps.clear()
    log.arrivals.clear()
    log.events.clear()
    for batch in engine.decode(prompts, [True] * len(prompts)):
        log.events += ["answer"] * len(batch.answers)
    assert log.events.count("answer") == len(prompts)


def best_rows_a_step(lengths: Sequence[int], rows: int) -> float:
    """Return the rows of a mean step if every step has as many as there is room for, and one prompt arrives a step.

    The first token of an answer comes with its prompt, so that an answer of n tokens takes n - 1 steps.
    """
    waiting = [length - 1 for length in lengths if length > 1]
    running: list[int] = []
    steps = total = 0
    while waiting or running:
        if waiting and len(running) < rows:
            running.append(waiting.pop(0))
        steps, total = steps + 1, total + len(running)
        running = [left - 1 for left in running if left > 1]
    return total / steps


def prompt_of(number: int, shared: int, packs: int, length: int) -> Prompt:
    """Return a prompt of `packs` packs, of which `shared` are common to all, with an answer of `length` tokens."""
    common = [3 + place % 300 for place in range(PACK * shared)]
    rest = [3 + (17 * number + 29 * place) % 380 for place in range(PACK * packs - len(common) - number % 5)]
    return Prompt([*common, *rest], Settings(max_tokens=length))


@pytest.mark.sampled(9)
@pytest.mark.parametrize("shared", [0, 1])
@pytest.mark.parametrize("packs", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_long_prompts_are_decoded_side_by_side(
    checkpoint: Checkpoint, log: Log, packs: int, shared: int, rows: int
) -> None:
    lengths = [12 + 5 * (number % 4) for number in range(10)]
    prompts = [prompt_of(number, min(shared, packs - 1), packs, length) for number, length in enumerate(lengths)]
    decode(checkpoint, prompts, rows, log)
    assert sum(log.steps) == sum(lengths) - len(lengths)
    assert log.rows_a_step >= 0.9 * best_rows_a_step(lengths, rows)


@pytest.mark.parametrize("packs", [1, 3])
def test_answers_that_end_with_their_first_token_do_not_keep_others_waiting(
    checkpoint: Checkpoint, log: Log, packs: int
) -> None:
    lengths = [1 if number % 3 else 30 for number in range(15)]
    decode(checkpoint, [prompt_of(number, 0, packs, length) for number, length in enumerate(lengths)], 100, log)
    assert log.rows_a_step >= 0.9 * best_rows_a_step([length for length in lengths if length > 1], 100)


LENGTHS = st.one_of(st.just(1), st.integers(4, 40))


@given(
    shapes=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5), LENGTHS), min_size=4, max_size=12),
    rows=st.sampled_from([2, 3, 6, 100]),
)
@settings(
    deadline=None,
    max_examples=settings.default.max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_steps_are_as_full_as_room_and_arrival_allow(
    checkpoint: Checkpoint, log: Log, shapes: list[tuple[int, int, int]], rows: int
) -> None:
    prompts = [
        prompt_of(number, min(shared, packs - 1), packs, length)
        for number, (shared, packs, length) in enumerate(shapes)
    ]
    decode(checkpoint, prompts, rows, log)
    lengths = [prompts[request].settings.max_tokens for request in log.arrivals]
    assert not log.steps or log.rows_a_step >= 0.9 * best_rows_a_step(lengths, rows)


def test_first_answers_come_before_all_prompts_are_read(checkpoint: Checkpoint, log: Log) -> None:
    prompts = [prompt_of(number, 0, 2, 6) for number in range(20)]
    decode(checkpoint, prompts, 4, log)
    first = log.events.index("answer")
    assert log.events[:first].count("read") <= 2 * 4 + 2
    longest = max(len(part.split()) for part in " ".join(log.events).split("step"))
    assert longest <= 2 * 3  # reads and answers between two steps: a prompt is two packs


def test_answers_of_one_token_come_as_their_prompts_are_read(checkpoint: Checkpoint, log: Log) -> None:
    decode(checkpoint, [prompt_of(number, 0, 2, 1) for number in range(6)], 4, log)
    assert not log.steps
    assert log.events == ["read", "read", "answer"] * 6
