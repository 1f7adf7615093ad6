"""The engine as an lm-eval model: what lm-eval's `evaluate()` calls, and the journal's only user.

Texts become token ids here. Every answer is looked up in the journal before it is computed, and kept there as soon as
it is; what does not fit the device's memory is asked again in halves.
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
from lm_eval.api.model import TemplateLM

from harness.backends import chatglm_lengths, windows
from harness.backends.encoding import Encoder
from harness.backends.journal import Journal
from harness.backends.letters import LETTERS
from harness.backends.windows import Windows
from harness.backends.work import Cost, Work
from harness.checkpoints.checkpoint import Checkpoint
from harness.common.progress import SILENT, Advance
from harness.engine import scoring
from harness.engine.decoding import thinking
from harness.engine.decoding.settings import parse_settings
from harness.engine.engine import Engine, Found, out_of_memory
from harness.engine.packing import packs, tree
from harness.engine.requests import LogLikelihood, Pair, Prompt
from harness.engine.walks import Walk
from harness.errors import HarnessError

GENERATING = ("generate_until", "think_then_choose")
"""Kinds of requests that are answered with text, after their whole prompt."""
ANSWERS = 6
"""Goes up with every change of this engine that may change an answer, so that journals forget the old ones."""


class HarnessLM(TemplateLM):  # type: ignore[misc]
    """A checkpoint that answers lm-eval's requests."""

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
        super().__init__()
        self.checkpoint = checkpoint
        self.tokenizer = checkpoint.tokenizer
        self.encoder = Encoder(checkpoint.tokenizer)
        self.journal = journal
        self.seed = seed
        self.engine = Engine(checkpoint, seed=seed, batch_tokens=batch_tokens, walk=walk)
        self.template_arguments = template_arguments
        """What the chat template is given beside the conversation, such as `enable_thinking`."""
        self.work = Work()
        self.dropped_system = False
        """The chat template refused a system role, so its text is in no prompt."""
        self.advance = advance

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
        return self._sums(self._rolling(requests), len(requests))

    def loglikelihood_sliding(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Answer (text, {"stride": tokens or None}) requests: the log-likelihood of all tokens of whole texts.

        The first token follows BOS, or EOS where there is none. A text longer than the context is read in windows that
        move by `stride` new tokens, half the context by default, so that but for the first window's each token sees at
        least the context less the stride.
        """
        return self._sums(self._sliding(requests), len(requests))

    def stride(self, wanted: int | None) -> int:
        """Return by how many tokens windows move."""
        return min(wanted or max(self.max_length // 2, 1), self.max_length)

    def mean_loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Answer (prompt, answer) requests: the mean log-likelihood per token of the two as one text.

        Minus this is the perplexity by which OpenCompass's `PPLInferencer` chooses (open-compass/opencompass@a5acc4b,
        models/huggingface.py, `_get_ppl`): the first token, of which nothing is asked, counts in the denominator; what
        exceeds the context is cut on the left.
        """
        whole = self._whole(requests)
        ends = [ids[-self.max_length :] for ids in whole]
        self.work.truncated += sum(len(ids) > self.max_length for ids in whole)
        asked = [i for i, end in enumerate(ends) if len(end) > 1]
        found = self._score([Pair(ends[i][:1], ends[i][1:]) for i in asked])
        answers = dict(zip(asked, found, strict=True))
        nothing = LogLikelihood(0.0, True)
        return [
            (answer.logprob / max(len(end), 1), answer.greedy)
            for answer, end in ((answers.get(i, nothing), end) for i, end in enumerate(ends))
        ]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer (prompt, generation settings) requests."""
        return self._generate(self._prompts(requests))

    def chatglm_predict(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer (prompt, generation settings with `lengths`, `labels` and `chunk`) requests.

        Each answer is a line `{"labels": …, "predict": …}` as ChatGLM-6B's ptuning/main.py writes it: the reference as
        far as this tokenizer keeps it, and what was generated (`harness.backends.chatglm_lengths`).
        """
        labels = chatglm_lengths.references(self.encoder, [chatglm_lengths.Asked.of(*one.args) for one in requests])
        found = self._generate(self._predictions(requests))
        return [chatglm_lengths.line(*pair) for pair in zip(labels, found, strict=True)]

    def _generate(self, prompts: Sequence[Prompt]) -> list[str]:
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

    def expect(self, requests: Sequence[Instance]) -> None:
        """Keep from now on what `requests`, one a document, begin with in common: they will be asked in several calls.

        Answers are those of one call, but for the last bits of likelihoods. Kinds of requests that say nothing of
        what they feed are read as always.
        """
        if (trunks := self.engine.keep_trunks()) is None:
            return
        pairs = self.encoder.pairs([one.args for one in requests if one.request_type == "loglikelihood"])
        prompts = self._prompts([one for one in requests if one.request_type in GENERATING])
        trunks.learn([*scoring.fed(pairs, self.max_length), *(prompt.fed(self.max_length) for prompt in prompts)])

    def cost(self, requests: Sequence[Instance], walk: Walk = Walk.PACK) -> Cost:
        """Return the work that `requests` ask for on `walk`, without doing it.

        Weights are not asked which walk they bear, but those that round activations bear the plain one only.
        """
        by_kind: dict[str, list[Instance]] = {}
        repeated = [request for request in requests for _ in range(request.repeats or 1)]  # as lm-eval will ask them
        for request in repeated:
            by_kind.setdefault(request.request_type, []).append(request)
        pairs = self.encoder.pairs([request.args for request in by_kind.get("loglikelihood", ())])
        pairs += self._rolling(by_kind.get("loglikelihood_rolling", ())).pairs
        pairs += self._sliding(by_kind.get("loglikelihood_sliding", ())).pairs
        whole = [ids[-self.max_length :] for ids in self._whole(by_kind.get("mean_loglikelihood", ()))]
        pairs += [Pair(ids[:1], ids[1:]) for ids in whole if len(ids) > 1]
        prompts = self._prompts([request for kind in GENERATING for request in by_kind.get(kind, ())])
        prompts += self._predictions(by_kind.get("chatglm_predict", ()))
        fed = [prompt.fed(self.max_length) for prompt in prompts]
        walk = Walk.PLAIN if self.checkpoint.rounds_activations else walk
        if walk == Walk.PLAIN:
            tokens = sum(map(scoring.tokens_fed, scoring.plan(pairs, self.max_length, 1)))
        else:
            tokens = scoring.grow(pairs, self.max_length).tokens
        tokens += tree.grow(fed, [1] * len(fed)).tokens if walk == Walk.PACK else sum(map(len, fed))
        return Cost(
            requests=len(repeated),
            tokens=tokens,
            generated_at_most=sum(prompt.settings.max_tokens for prompt in prompts),
        )

    # -- requests as token ids

    def _rolling(self, requests: Sequence[Instance]) -> Windows:
        texts = [str(request.args[0]) for request in requests]
        ids = self.encoder.encode(texts)
        start = self.encoder.start() if texts else 0
        return windows.cut([ids[text] for text in texts], start, self.max_length, [self.max_length] * len(texts))

    def _sliding(self, requests: Sequence[Instance]) -> Windows:
        texts = [str(request.args[0]) for request in requests]
        ids = self.encoder.encode(texts, special=False)
        start = self.encoder.start() if texts else 0
        strides = [self.stride(request.args[1]["stride"]) for request in requests]
        return windows.cut([ids[text] for text in texts], start, self.max_length, strides)

    def _whole(self, requests: Sequence[Instance]) -> list[list[int]]:
        """Return the ids of texts with their answers."""
        texts = ["".join(request.args) for request in requests]
        ids = self.encoder.encode(texts)
        return [ids[text] for text in texts]

    def _prompts(self, requests: Sequence[Instance]) -> list[Prompt]:
        ids = self.encoder.encode(request.args[0] for request in requests)
        return self._drawn(requests, [ids[request.args[0]] for request in requests])

    def _predictions(self, requests: Sequence[Instance]) -> list[Prompt]:
        rooms = chatglm_lengths.rooms(self.encoder, [chatglm_lengths.Asked.of(*one.args) for one in requests])
        prompts = self._drawn(requests, [room.ids for room in rooms])
        return [p.limited_to(room.new_tokens) for p, room in zip(prompts, rooms, strict=True)]

    def _drawn(self, requests: Sequence[Instance], ids: Sequence[list[int]]) -> list[Prompt]:
        """Return the prompts of `ids` with the settings of their requests, and which of several samples each is."""
        eos = None if self.eot_token_id is None else self.tokenizer.decode(self.eot_token_id)
        asked: Counter[int] = Counter()  # lm-eval repeats the same object for several samples of one prompt
        prompts = []
        for request, one in zip(requests, ids, strict=True):
            text, how = request.args
            spelt = parse_settings(_generation(how), eos)
            prompts.append(Prompt(one or [self.encoder.start()], spelt, asked[id(request)], thinking.leaves_open(text)))
            asked[id(request)] += 1
        return prompts

    # -- answers

    def _sums(self, asked: Windows, texts: int) -> list[float]:
        """Return the log-likelihood of each of as many texts."""
        totals = [0.0] * texts
        for owner, answer in zip(asked.owners, self._score(asked.pairs), strict=True):
            totals[owner] += answer.logprob
        return totals

    def _score(self, pairs: Sequence[Pair]) -> list[LogLikelihood]:
        keys = [self._key("loglikelihood", pair.context, pair.continuation) for pair in pairs]
        self.work.truncated += sum(len(pair.context) + len(pair.continuation) > self.max_length + 1 for pair in pairs)
        started = time.perf_counter()
        answers = self._answer(keys, partial(self.engine.score, pairs))
        self.work.scoring_seconds += time.perf_counter() - started
        return [LogLikelihood(*found) for found in answers]

    def _decode(self, prompts: Sequence[Prompt]) -> list[str]:
        keys = [self._key("generate", p.settings.digest, *self._draw(p), p.ids) for p in prompts]
        self.work.truncated += sum(len(p.fed(self.max_length)) < len(p.ids) for p in prompts)
        started = time.perf_counter()
        answers = self._answer(keys, partial(self.engine.decode, prompts))
        self.work.generation_seconds += time.perf_counter() - started
        return [str(found) for found in answers]

    def _answer(self, keys: Sequence[bytes], compute: Callable[[Sequence[bool]], Iterator[Found]]) -> list[Any]:
        """Return the answer of every key, of the journal or of `compute`, which is told which are missing."""
        found = self.journal.get(keys) if self.journal else {}
        held = {key: value for key, value in found.items() if _is_answer(value)}
        known = sum(key in held for key in keys)
        self.work.requests += len(keys)
        self.work.answered_from_journal += known
        self.advance(known)
        while any(missing := _first_missing(keys, held)) and not self._compute(keys, held, compute(missing)):
            if not self.engine.shrink():
                raise out_of_memory(self.checkpoint)
        return [held[key] for key in keys]

    def _compute(self, keys: Sequence[bytes], held: dict[bytes, Any], batches: Iterator[Found]) -> bool:
        """Put all that `batches` bring into `held` and the journal; tell whether memory was enough for it."""
        times = Counter(keys)
        try:
            for batch in batches:
                new = {keys[i]: answer for i, answer in batch.answers}
                held.update(new)
                if self.journal and new:
                    self.journal.put(new)
                self.work.tokens_fed += batch.tokens_fed
                self.work.tokens_generated += batch.tokens_generated
                self.advance(sum(times[key] for key in new))
        except (RuntimeError, MemoryError) as error:
            if not packs.is_memory_error(error):
                raise
        else:
            return True
        if self.checkpoint.device.type == "cuda":  # only here, where the exception no longer holds what was computed
            torch.cuda.empty_cache()
        return False

    def _key(self, *question: Any) -> bytes:
        place = [ANSWERS, self.checkpoint.device.type, self.max_length]
        return Journal.key(self.checkpoint.fingerprint, *place, *question)

    def _draw(self, prompt: Prompt) -> list[int]:
        # Greedy text does not depend on the seed, nor on which of several samples it is.
        return [self.seed, prompt.sample] if prompt.settings.temperature else []


def _generation(how: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a generation without what a protocol wants of it."""
    return {key: value for key, value in how.items() if key not in ("then", "lengths", "labels", "chunk")}


def _first_missing(keys: Sequence[bytes], held: Mapping[bytes, Any]) -> list[bool]:
    """Tell of each key whether it has no answer yet and stands there for the first time."""
    first = {key: at for at, key in reversed(list(enumerate(keys)))}
    return [key not in held and first[key] == at for at, key in enumerate(keys)]


def _is_answer(value: Any) -> bool:
    """Tell an answer that a journal may hold: a text, or a log-likelihood with its greedy flag."""
    if isinstance(value, str):
        return True
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], float) and isinstance(value[1], bool)
