"""lm-eval's model on a backend: what lm-eval's `evaluate()` calls.

Requests of every registered type are answered by `harness.backends.request_kinds`, so a subclass only implements
`score`, `generate` and `max_length`.

Not here: how a backend computes or remembers answers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM

from harness.backends import isolation
from harness.backends.chat import ChatTemplate
from harness.backends.conversations import Conversations
from harness.backends.encoding import Encoder
from harness.backends.request_kinds import whole_texts
from harness.backends.request_kinds.registry import KINDS
from harness.backends.work import Work
from harness.checkpoints.types import Tokenizer
from harness.engine.decoding import thinking
from harness.engine.decoding.thinking import KNOWN, Marks
from harness.engine.requests import Generation, LogLikelihood, Pair, Prompt


class BackendLM(TemplateLM):  # type: ignore[misc]
    """A `harness.backends.backend.Backend` as a model that answers lm-eval's requests."""

    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        *,
        template_arguments: Mapping[str, Any] = MappingProxyType({}),
        marks: Sequence[Marks] = KNOWN,
    ) -> None:
        super().__init__()
        self.name = name
        """The model's name in messages."""
        self.encoder = Encoder(tokenizer)
        self.marks = marks
        """The marks between which the checkpoint writes its thoughts."""
        self.conversations = Conversations(ChatTemplate(name, tokenizer, template_arguments, marks))
        """Renders conversations as prompts."""
        self.work = Work()
        self.keep_going = False
        """Whether a document whose requests fail gets a `FailedAnswer` to each, instead of ending the evaluation."""

    # -- what a backend implements

    @property
    @abstractmethod
    def max_length(self) -> int:
        """Context length in tokens."""

    @abstractmethod
    def score(self, pairs: Sequence[Pair]) -> list[LogLikelihood]:
        """Return the log-likelihood of each pair's continuation after its context, in order."""

    @abstractmethod
    def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Return the generated continuation of each prompt, in order, thoughts included."""

    def leaves_open(self, prompt: str) -> bool:
        """Return whether `prompt` ends within a thought."""
        return thinking.leaves_open(prompt, self.marks) or self.conversations.template.leaves_open(prompt)

    # -- what lm-eval calls

    def answer(self, request_type: str, requests: list[Instance], disable_tqdm: bool = False) -> list[Any]:
        """Return the answers to `requests`, all of the registered `request_type`."""
        if not self.keep_going:
            return KINDS[request_type].answer(requests, self, self.work)

        def answer(chosen: list[Instance]) -> list[Any]:
            before = replace(self.work)
            try:
                return KINDS[request_type].answer(chosen, self, self.work)
            except Exception:  # they are asked again
                self.work.restore_counts(before)
                raise

        return isolation.answer_each(requests, answer)

    def __getattr__(self, name: str) -> Any:
        """Return the method that answers requests of the type `name`, if it is registered.

        Python also calls this after a property has raised AttributeError; the property is then looked up again, which
        raises the same error.
        """
        if name in KINDS:
            return partial(self.answer, name)
        return super().__getattribute__(name)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[LogLikelihood]:
        """Return the log-likelihood of each (context, continuation) request."""
        return self.answer("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of each (text,) request."""
        return self.answer("loglikelihood_rolling", requests)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return the text generated for each (prompt, generation settings) request."""
        return self.answer("generate_until", requests)

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[LogLikelihood]:
        return self.score([Pair(context, continuation) for _, context, continuation in requests])

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, as transformers loads it."""
        return self.encoder.tokenizer

    @property
    def eot_token_id(self) -> int | None:
        """The id of the end-of-text token."""
        eos: int | None = self.tokenizer.eos_token_id
        return eos

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: object) -> list[int]:
        """Return the ids of one text."""
        return self.encoder.encode([string], special=add_special_tokens is not False)[string]

    def stride(self, tokens: int | None) -> int:
        """Return by how many tokens the windows of a long text move; `tokens` is the requested number (or None)."""
        return whole_texts.stride(tokens, self.max_length)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the conversation as the tokenizer's chat template renders it (`Conversations.prompt`)."""
        prompt = self.conversations.prompt(chat_history, generation=add_generation_prompt)
        if add_generation_prompt:
            self.encoder.note_rendered(prompt)
        return prompt
