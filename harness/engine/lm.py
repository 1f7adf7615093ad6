"""The engine as an lm-eval model: what lm-eval's `evaluate()` calls, and the journal's only user.

Every answer is looked up in the journal before it is computed and kept there as its batch ends. Batches are planned
over all requests and only then skipped, so a resumed run computes in the very batches an uninterrupted one would.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from harness.checkpoints.loading import Checkpoint
from harness.engine import decoding, scoring, thinking
from harness.engine.encoding import Encoder, Pair
from harness.engine.journal import Journal
from harness.engine.letters import LETTERS
from harness.engine.padding import Padding, probe
from harness.engine.scoring import LogLikelihood
from harness.errors import HarnessError
from harness.progress import SILENT, Advance

# Padded tokens a batch. On a CPU long batches gain nothing and cost memory; a GPU wants them.
BATCH_TOKENS = {"cpu": 1024}
BATCH_TOKENS_ELSEWHERE = 16384
GENERATING = ("generate_until", "think_then_choose")
"""Kinds of requests that are answered with text."""
ANSWERS = 3
"""Goes up with every change of this engine that may change an answer, so that journals forget the old ones."""


@dataclass
class Work:
    """What has been done so far, for the manifest."""

    scoring_seconds: float = 0.0
    generation_seconds: float = 0.0
    requests: int = 0
    answered_from_journal: int = 0
    tokens_fed: int = 0
    tokens_generated: int = 0
    truncated: int = 0
    """Prompts that lost tokens on their left to fit the context."""
    generations: int = 0
    """Generation requests answered, from the journal or not."""
    thoughts: int = 0
    """Generations that thought aloud (`harness.engine.thinking`)."""
    unfinished_thoughts: int = 0
    """Those of them that never came to an answer."""


class Cost(NamedTuple):
    """Work that has not been done yet."""

    requests: int
    tokens: int
    """Tokens of prompts and continuations that would go through the model."""
    generated_at_most: int
    """Tokens to generate if no answer stops early."""


class HarnessLM(TemplateLM):  # type: ignore[misc]
    """A checkpoint that answers lm-eval's requests."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        journal: Journal | None = None,
        *,
        seed: int = 0,
        batch_tokens: int | None = None,
        template_arguments: Mapping[str, Any] = MappingProxyType({}),
        advance: Advance = SILENT.advance,
    ) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self.tokenizer = checkpoint.tokenizer
        self.encoder = Encoder(checkpoint.tokenizer)
        self.journal = journal
        self.seed = seed
        self.batch_tokens = batch_tokens or BATCH_TOKENS.get(checkpoint.device.type, BATCH_TOKENS_ELSEWHERE)
        self.template_arguments = template_arguments
        """What the chat template is given beside the conversation, such as `enable_thinking`."""
        self.work = Work()
        self.dropped_system = False
        """The chat template refused a system role, so its text is in no prompt."""
        self.advance = advance

    @cached_property
    def padding(self) -> Padding:
        """What padding this checkpoint bears, asked of it once."""
        if self.checkpoint.rounds_activations:
            return Padding(right=False, left=False)
        model = self.checkpoint.model
        vocabulary = model.get_input_embeddings().weight.shape[0]
        return probe(model, vocabulary, self.max_length, self.checkpoint.device, self.checkpoint.root)

    # -- what lm-eval asks of a model

    @property
    def eot_token_id(self) -> int | None:
        """The end-of-text token's id."""
        eos: int | None = self.tokenizer.eos_token_id
        return eos

    @property
    def max_length(self) -> int:
        """Context length in tokens."""
        return self.checkpoint.max_length

    @property
    def tokenizer_name(self) -> str:
        """Names the tokenizer in lm-eval's own request cache, which is not used."""
        return self.checkpoint.fingerprint

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return the ids of one text."""
        return self.encoder.encode([string], special=add_special_tokens is not False)[string]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the conversation as the checkpoint's chat template renders it."""
        from jinja2 import TemplateError

        if not self.tokenizer.chat_template:
            raise HarnessError(f"{self.checkpoint.name} has no chat template: leave --apply-chat-template out")
        how = {
            "tokenize": False,
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": not add_generation_prompt,
            **self.template_arguments,
        }
        turns = [turn for turn in chat_history if turn["role"] != "system"]
        try:
            return str(self.tokenizer.apply_chat_template(chat_history, **how))
        except (TemplateError, TypeError, ValueError) as error:  # a template may do what it likes with its arguments
            why = error
        try:
            if len(turns) == len(chat_history):
                raise why
            # Templates without a system role lose its text, as in lm-eval; the manifest says so.
            text = str(self.tokenizer.apply_chat_template(turns, **how))
        except (TemplateError, TypeError, ValueError) as error:
            message = f"the chat template of {self.checkpoint.name} cannot be rendered ({error})"
            raise HarnessError(f"{message}: mend it, or leave --apply-chat-template out") from error
        self.dropped_system = True
        return text

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Answer (context, continuation) requests."""
        return list(self._score(self.encoder.pairs([request.args for request in requests])))

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Answer (text,) requests: the log-likelihood of whole texts, in windows as lm-eval cuts them."""
        texts = [str(request.args[0]) for request in requests]
        ids = self.encoder.encode(texts)
        windows: list[Pair] = []
        owners: list[int] = []
        for owner, text in enumerate(texts):
            cuts = get_rolling_token_windows(ids[text], self.encoder.start(), self.max_length, context_len=1)
            for context, continuation in map(make_disjoint_window, cuts):
                windows.append(Pair(context, continuation))
                owners.append(owner)
        totals = [0.0] * len(texts)
        for owner, answer in zip(owners, self._score(windows), strict=True):
            totals[owner] += answer.logprob
        return totals

    def loglikelihood_sliding(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Answer (text, {"stride": tokens or None}) requests: the log-likelihood of all tokens of whole texts.

        The first token follows BOS, or EOS where there is none. A text longer than the context is read in windows that
        move by `stride` new tokens, half the context by default, so that but for the first window's each token sees at
        least the context less the stride.
        """
        ids = self.encoder.encode((str(request.args[0]) for request in requests), special=False)
        windows: list[Pair] = []
        owners: list[int] = []
        for owner, request in enumerate(requests):
            text, how = request.args
            tokens = [self.encoder.start(), *ids[text]]
            stride = self.stride(how["stride"])
            begin, end = 1, min(len(tokens), self.max_length + 1)
            while begin < end:
                windows.append(Pair(tokens[max(0, end - 1 - self.max_length) : begin], tokens[begin:end]))
                owners.append(owner)
                begin, end = end, min(len(tokens), end + stride)
        totals = [0.0] * len(requests)
        for owner, answer in zip(owners, self._score(windows), strict=True):
            totals[owner] += answer.logprob
        return totals

    def stride(self, wanted: int | None) -> int:
        """Return by how many tokens windows move."""
        return min(wanted or max(self.max_length // 2, 1), self.max_length)

    def mean_loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Answer (prompt, answer) requests: the mean log-likelihood per token of the two as one text.

        Minus this is the perplexity by which OpenCompass's `PPLInferencer` chooses (open-compass/opencompass@a5acc4b,
        models/huggingface.py, `_get_ppl`): the first token, of which nothing is asked, counts in the denominator; what
        exceeds the context is cut on the left.
        """
        texts = ["".join(request.args) for request in requests]
        ids = self.encoder.encode(texts)
        self.work.truncated += sum(len(ids[text]) > self.max_length for text in texts)
        windows = [ids[text][-self.max_length :] for text in texts]
        asked = [i for i, window in enumerate(windows) if len(window) > 1]
        found = self._score([Pair(windows[i][:1], windows[i][1:]) for i in asked])
        answers = dict(zip(asked, found, strict=True))
        nothing = LogLikelihood(0.0, True)
        return [
            (answer.logprob / max(len(window), 1), answer.greedy)
            for answer, window in ((answers.get(i, nothing), window) for i, window in enumerate(windows))
        ]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer (prompt, generation settings) requests."""
        ids = self.encoder.encode(request.args[0] for request in requests)
        eos = None if self.eot_token_id is None else self.tokenizer.decode(self.eot_token_id)
        asked: Counter[int] = Counter()  # lm-eval repeats the same object for several samples of one prompt
        prompts = []
        for request in requests:
            text, how = request.args
            prompt = ids[text] or [self.encoder.start()]
            opened = thinking.leaves_open(text)
            prompts.append(decoding.Prompt(prompt, decoding.settings(how, eos), asked[id(request)], opened))
            asked[id(request)] += 1
        parts = [thinking.split(text, p.thinking) for p, text in zip(prompts, self._decode(prompts), strict=True)]
        self.work.generations += len(parts)
        self.work.thoughts += sum(bool(part.thought) for part in parts)
        self.work.unfinished_thoughts += sum(not part.finished for part in parts)
        return [part.answer for part in parts]

    def think_then_choose(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer (prompt, generation settings with `then`) requests: a chain of thought, what follows it, a letter.

        The text generated after the prompt is put between the two parts of `then`, and the letter of A to D with the
        largest logit after that is chosen, each by the first token of the letter alone, as ChatGLM2-6B's
        evaluate_ceval.py does. Special tokens are no part of the thought; upstream decodes them, and the padding that
        a batch adds, into the second prompt.
        """
        asked = [_generation(request.args[1]) for request in requests]
        first = [
            Instance("generate_until", request.doc, (request.args[0], how), request.idx, request.metadata)
            for request, how in zip(requests, asked, strict=True)
        ]
        thoughts = self.generate_until(first)
        parts = [request.args[1]["then"] for request in requests]
        prompts = [f"{before}{thought}{after}" for (before, after), thought in zip(parts, thoughts, strict=True)]
        ids = self.encoder.encode(prompts)
        letters = {letter: self.tok_encode(letter, add_special_tokens=False)[:1] for letter in LETTERS}
        found = self._score([Pair(ids[prompt], letters[letter]) for prompt in prompts for letter in LETTERS])
        rows = [found[i : i + len(LETTERS)] for i in range(0, len(found), len(LETTERS))]
        chosen = [LETTERS[max(range(len(row)), key=lambda i: row[i].logprob)] for row in rows]
        return [f"{thought}{after}{one}" for thought, (_, after), one in zip(thoughts, parts, chosen, strict=True)]

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
        return list(self._score([Pair(context, rest) for _, context, rest in requests]))

    def cost(self, requests: Sequence[Instance]) -> Cost:
        """Return the work that `requests` ask for, without doing it."""
        scored = [request.args for request in requests if request.request_type == "loglikelihood"]
        texts = [request.args for request in requests if request.request_type in GENERATING]
        whole = [request.args[0] for request in requests if request.request_type == "loglikelihood_rolling"]
        whole += ["".join(request.args) for request in requests if request.request_type == "mean_loglikelihood"]
        whole += [request.args[0] for request in requests if request.request_type == "loglikelihood_sliding"]
        batches = scoring.plan(self.encoder.pairs(scored), self.max_length, self.batch_tokens) if scored else []
        prompts = [text for text, _ in texts] + whole
        ids = self.encoder.encode(prompts)
        return Cost(
            requests=len(requests),
            tokens=sum(map(scoring.tokens_fed, batches)) + sum(len(ids[prompt]) for prompt in prompts),
            generated_at_most=sum(decoding.settings(_generation(how), None).max_tokens for _, how in texts),
        )

    # -- how it answers

    def _budget(self, bears_padding: bool, longest: int, *switches: int | None) -> int:
        """Return the tokens of a batch; 1 keeps rows apart where company or its length would change their answers."""
        reach = min((s for s in (self.checkpoint.position_switch, *switches) if s is not None), default=longest)
        return self.batch_tokens if bears_padding and longest <= reach else 1

    def _score(self, pairs: Sequence[Pair]) -> list[LogLikelihood]:
        longest = max((len(pair.context) + len(pair.continuation) for pair in pairs), default=0)
        batches = scoring.plan(pairs, self.max_length, self._budget(self.padding.right, longest))
        keys = [self._key("loglikelihood", pair.context, pair.continuation) for pair in pairs]
        self.work.truncated += sum(len(pair.context) + len(pair.continuation) > self.max_length + 1 for pair in pairs)

        def answer(batch: scoring.Batch) -> Iterator[tuple[int, Any]]:
            self.work.tokens_fed += scoring.tokens_fed(batch)
            here = self.checkpoint
            yield from scoring.score(here.model, batch, pairs, here.device, here.root)

        started = time.perf_counter()
        served = [[index for row in batch for index in row.readers] for batch in batches]
        answers = self._answer(batches, served, keys, answer)
        self.work.scoring_seconds += time.perf_counter() - started
        return [LogLikelihood(*found) for found in answers]

    def _decode(self, prompts: Sequence[decoding.Prompt]) -> list[str]:
        longest = max((len(p.ids) + p.settings.max_tokens for p in prompts), default=0)
        batches = decoding.plan(
            prompts, self.max_length, self._budget(self.padding.left, longest, self.checkpoint.padding_switch)
        )
        keys = [self._key("generate", p.ids, p.settings.digest, *self._draw(p)) for p in prompts]
        room = [self.max_length - p.settings.max_tokens for p in prompts]
        self.work.truncated += sum(len(p.ids) > r for p, r in zip(prompts, room, strict=True))

        def answer(batch: list[int]) -> Iterator[tuple[int, Any]]:
            rows = [prompts[i] for i in batch]
            here = self.checkpoint
            how = (self.max_length, self.seed, here.root)
            found = list(decoding.decode(here.model, self.tokenizer, rows, here.eos_ids, *how))
            self.work.tokens_fed += sum(min(len(prompts[i].ids), room[i]) for i in batch)
            self.work.tokens_generated += sum(continuation.tokens for continuation in found)
            yield from ((i, continuation.text) for i, continuation in zip(batch, found, strict=True))

        started = time.perf_counter()
        answers = self._answer(batches, batches, keys, answer)
        self.work.generation_seconds += time.perf_counter() - started
        return [str(found) for found in answers]

    def _answer(
        self,
        batches: Sequence[Any],
        served: Sequence[list[int]],
        keys: Sequence[bytes],
        answer: Callable[[Any], Iterator[tuple[int, Any]]],
    ) -> list[Any]:
        """Return the answer of every key, computing the batches whose `served` requests are not all in the journal."""
        found = self.journal.get(keys) if self.journal else {}
        held = {key: value for key, value in found.items() if _is_answer(value)}
        self.work.requests += len(keys)
        for batch, indices in zip(batches, served, strict=True):
            if all(keys[i] in held for i in indices):
                self.work.answered_from_journal += len(indices)
            else:
                new = {keys[i]: found for i, found in self._in_memory(answer, batch)}
                held.update(new)
                if self.journal:
                    self.journal.put(new)
            self.advance(len(indices))
        return [held[key] for key in keys]

    def _in_memory(self, answer: Callable[[Any], Iterator[tuple[int, Any]]], batch: Any) -> list[tuple[int, Any]]:
        try:
            return list(answer(batch))
        except torch.OutOfMemoryError as error:
            raise HarnessError(
                f"{self.checkpoint.device} ran out of memory: try dtype=bfloat16 or a smaller max_length=; the same "
                "command goes on from the answers it has"
            ) from error

    def _key(self, *question: Any) -> bytes:
        place = [ANSWERS, self.checkpoint.device.type, self.max_length]
        return Journal.key(self.checkpoint.fingerprint, *place, *question)

    def _draw(self, prompt: decoding.Prompt) -> list[int]:
        # Greedy text does not depend on the seed, nor on which of several samples it is.
        return [self.seed, prompt.sample] if prompt.settings.temperature else []


def _generation(how: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a generation without what is to follow it."""
    return {key: value for key, value in how.items() if key != "then"}


def _is_answer(value: Any) -> bool:
    """Tell an answer that a journal may hold: a text, or a log-likelihood with its greedy flag."""
    if isinstance(value, str):
        return True
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], float) and isinstance(value[1], bool)


def chat_template_digest(tokenizer: Any) -> str | None:
    """Return the sha256 of the tokenizer's chat template, or None where it has none."""
    import hashlib

    template = tokenizer.chat_template
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest() if template else None
