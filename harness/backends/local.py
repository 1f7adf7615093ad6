"""The engine on this machine as a backend: answers are looked up in the journal, or computed and stored there.

Answers are stored as soon as they are computed. If the device runs out of memory, the engine halves the number of
tokens that it sends through the model at once. It then computes the missing answers.

Not here: lm-eval's requests (`harness.backends.request_kinds`), or how answers are computed (`harness.engine`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from lm_eval.api.instance import Instance

import harness
from harness.backends.journal import Journal
from harness.backends.journal_rows import is_generation, is_log_likelihood
from harness.backends.lm import BackendLM
from harness.backends.request_kinds.registry import KINDS, inputs
from harness.backends.work import Cost
from harness.checkpoints import configs
from harness.checkpoints.checkpoint import Checkpoint
from harness.common import versions
from harness.common.progress import SILENT, Advance
from harness.engine import scoring
from harness.engine.decoding import families
from harness.engine.engine import AnswerBatch, Engine, out_of_memory_error
from harness.engine.packing import packs, tree
from harness.engine.requests import Generation, LogLikelihood, Pair, Prompt
from harness.engine.walks import Walk

ANSWERS = 11
"""Version of the computed answers, part of the journal's keys. Increase it if a change of code may change an answer."""


class HarnessLM(BackendLM):
    """A checkpoint on this machine that answers lm-eval's requests."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        journal: Journal | None = None,
        *,
        seed: int = 0,
        batch_tokens: int | None = None,
        walk: Walk | None = None,
        template_arguments: Mapping[str, Any] = MappingProxyType({}),
        advance: Advance = SILENT.advance,
    ) -> None:
        marks = families.learn(checkpoint.tokenizer, checkpoint.located.reference.think).marks
        super().__init__(checkpoint.name, checkpoint.tokenizer, template_arguments=template_arguments, marks=marks)
        self.checkpoint = checkpoint
        self.journal = journal
        self.seed = seed
        self.engine = Engine(checkpoint, seed=seed, batch_tokens=batch_tokens, walk=walk, marks=marks)
        self._failed_rows_before = journal.failed_rows if journal else 0
        self._versions = str({"harness": harness.__version__, **versions.installed(versions.ANSWERING)})
        self.advance = advance
        """Called each time answers become known, with their number."""

    @property
    def max_length(self) -> int:
        """Context length in tokens."""
        return self.checkpoint.max_length

    @property
    def tokenizer_name(self) -> str:
        """The tokenizer's name in lm-eval's own request cache, which this project does not use."""
        return self.checkpoint.fingerprint

    def score(self, pairs: Sequence[Pair]) -> list[LogLikelihood]:
        """Return the log-likelihood of each pair's continuation after its context, in order."""
        keys = [self._key("loglikelihood", pair.context, pair.continuation) for pair in pairs]
        self.work.truncated += sum(len(pair.context) + len(pair.continuation) > self.max_length + 1 for pair in pairs)
        started = time.perf_counter()
        answers = self._look_up_or_compute(keys, is_log_likelihood, partial(self.engine.score, pairs))
        self.work.scoring_seconds += time.perf_counter() - started
        return [LogLikelihood(*answer) for answer in answers]

    def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Return the generated continuation of each prompt, in order, thoughts included."""
        keys = [
            self._key("generate", p.settings.canonical_json, self._thoughts(p), *self._random_state(p), p.ids)
            for p in prompts
        ]
        self.work.truncated += sum(len(p.fed_tokens(self.max_length)) < len(p.ids) for p in prompts)
        started = time.perf_counter()
        answers = self._look_up_or_compute(keys, is_generation, partial(self.engine.decode, prompts))
        self.work.generation_seconds += time.perf_counter() - started
        return [Generation(*answer) for answer in answers]

    def learn_beginnings(self, requests: Sequence[Instance]) -> None:
        """Keep, from now on, the shared beginnings of `requests` (one per document) so that later calls can use them.

        Answers are the same as those of a single call, except for the last bits of log-likelihoods. Requests of kinds
        whose documents share no beginnings are ignored. On a walk that cannot keep beginnings, the call has no effect.
        """
        trunks = self.engine.keep_trunks()
        if trunks is None:
            return
        sharing = [r for r in requests if r.request_type in KINDS and KINDS[r.request_type].shares_beginnings]
        pairs, prompts = inputs(sharing, self)
        fed = [prompt.fed_tokens(self.max_length) for prompt in prompts]
        trunks.learn([*scoring.fed_tokens(pairs, self.max_length), *fed])

    def cost(self, requests: Sequence[Instance], walk: Walk = Walk.PACK) -> Cost:
        """Return the work that `requests` need on `walk`, the way through the model, without doing the work.

        Whether the weights support `walk` is not probed, but weights that round activations always take the plain walk.
        A second pass of requests, whose input depends on the answers of the first, is not included.
        """
        repeated = [request for request in requests for _ in range(request.repeats or 1)]  # as lm-eval will repeat them
        pairs, prompts = inputs(repeated, self)
        fed = [prompt.fed_tokens(self.max_length) for prompt in prompts]
        walk = Walk.PLAIN if self.checkpoint.rounds_activations else walk
        marks = configs.context_marks(self.checkpoint.located.config)
        if walk == Walk.PLAIN:
            tokens = sum(map(scoring.tokens_fed, scoring.plan(pairs, self.max_length, 1)))
        else:
            tokens = scoring.grow(pairs, self.max_length, marks).tokens
        tokens += tree.grow(fed, [1] * len(fed)).tokens if walk == Walk.PACK and not marks else sum(map(len, fed))
        return Cost(
            requests=len(repeated),
            tokens=tokens,
            generated_at_most=sum(prompt.settings.max_tokens for prompt in prompts),
        )

    def journal_notes(self) -> list[str]:
        """Return notes on damage to the journal since it was opened."""
        if self.journal is None:
            return []
        notes = list(self.journal.notes)
        if failed := self.journal.failed_rows - self._failed_rows_before:
            rows = "1 row of the journal was" if failed == 1 else f"{failed:,} rows of the journal were"
            notes.append(f"{rows} damaged or held no possible answer: computed again")
        return notes

    def _look_up_or_compute(
        self,
        keys: Sequence[bytes],
        is_answer: Callable[[Any], bool],
        compute: Callable[[Sequence[bool]], Iterator[AnswerBatch]],
    ) -> list[Any]:
        """Return the answer to every key, from the journal or from `compute`.

        `compute` is called with one flag per key, which says whether the answer is missing.
        """
        answers = self.journal.get(keys, is_answer) if self.journal else {}
        known = sum(key in answers for key in keys)
        self.work.requests += len(keys)
        self.work.answered_from_journal += known
        self.advance(known)
        while any(missing := _to_compute(keys, answers)) and not self._compute(
            keys, answers, is_answer, compute(missing)
        ):
            if not self.engine.shrink():
                raise out_of_memory_error(self.checkpoint)
        return [answers[key] for key in keys]

    def _compute(
        self,
        keys: Sequence[bytes],
        answers: dict[bytes, Any],
        is_answer: Callable[[Any], bool],
        batches: Iterator[AnswerBatch],
    ) -> bool:
        """Add the answers of all `batches` to `answers` and the journal; return whether memory was sufficient."""
        repeats = Counter(keys)
        try:
            for batch in batches:
                new = {keys[i]: answer for i, answer in batch.answers}
                answers.update(new)
                if self.journal and (storable := {key: answer for key, answer in new.items() if is_answer(answer)}):
                    self.journal.put(storable, self.checkpoint.fingerprint)
                self.work.tokens_fed += batch.tokens_fed
                self.work.tokens_generated += batch.tokens_generated
                self.advance(sum(repeats[key] for key in new))
        except (RuntimeError, MemoryError) as error:
            if not packs.is_memory_error(error):
                raise
        else:
            return True
        if self.checkpoint.device.type == "cuda":  # only here: the exception no longer references the tensors
            torch.cuda.empty_cache()
        return False

    def _key(self, *question: object) -> bytes:
        place = [ANSWERS, self._versions, self.checkpoint.device.type, self.max_length]
        return Journal.key(self.checkpoint.fingerprint, *place, *question)

    def _thoughts(self, prompt: Prompt) -> str:
        """Return the part of the journal's key that decides where a thought ends, and so which stop strings count."""
        return f"{prompt.thinking} {self.marks}"

    def _random_state(self, prompt: Prompt) -> list[int]:
        """Return the seed and sample number, on which sampled text depends; an empty list for greedy text."""
        return [self.seed, prompt.sample] if prompt.settings.temperature else []


def _to_compute(keys: Sequence[bytes], answers: Mapping[bytes, Any]) -> list[bool]:
    """Return for each key whether it has no answer yet and no equal key comes before it."""
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    return [key not in answers and first[key] == index for index, key in enumerate(keys)]
