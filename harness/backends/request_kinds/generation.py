"""Generated text after a prompt: lm-eval's `generate_until`, and what all generating kinds of requests share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lm_eval.api.instance import Instance

from harness.backends import answer_text
from harness.backends.answer_text import AnswerText
from harness.backends.backend import Backend
from harness.backends.request_kinds.kind import Inputs, RequestKind
from harness.backends.work import Work
from harness.engine.decoding.settings import parse_settings
from harness.engine.requests import Prompt


class GeneratingKind(RequestKind):
    """A kind whose arguments are a prompt and a mapping of generation settings."""

    own_arguments: ClassVar[frozenset[str]] = frozenset()
    """Keys of the generation settings that only this kind of request reads; all other keys are decoding settings."""

    def prompts(self, requests: Sequence[Instance], backend: Backend) -> list[Prompt]:
        """Return each request's prompt."""
        ids = backend.encoder.encode(request.args[0] for request in requests)
        return self.with_settings(requests, [ids[request.args[0]] for request in requests], backend)

    def with_settings(self, requests: Sequence[Instance], ids: Sequence[list[int]], backend: Backend) -> list[Prompt]:
        """Return prompts of token `ids` with the settings of `requests`; an empty prompt becomes BOS (or EOS)."""
        eos = backend.encoder.eos_text()
        samples: Counter[int] = Counter()  # lm-eval passes the same object once for each sample of a prompt
        prompts = []
        for request, prompt_ids in zip(requests, ids, strict=True):
            text, arguments = request.args
            settings = parse_settings(self.decoding_arguments(arguments), eos)
            is_thinking = backend.leaves_open(text)
            start = prompt_ids or backend.encoder.beginning()
            prompts.append(Prompt(start, settings, samples[id(request)], is_thinking, backend.encoder.lead(start)))
            samples[id(request)] += 1
        return prompts

    def decoding_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the generation settings `arguments` without the keys that only this kind of request reads."""
        return {key: value for key, value in arguments.items() if key not in self.own_arguments}

    def inputs(self, requests: Sequence[Instance], backend: Backend) -> Inputs:
        """Return each request's prompt."""
        return Inputs(prompts=self.prompts(requests, backend))


class GenerateUntil(GeneratingKind):
    """`generate_until`: (prompt, generation settings) → the generated text without its thought."""

    shares_beginnings = True

    def answer(self, requests: Sequence[Instance], backend: Backend, work: Work) -> list[AnswerText]:
        """Return the generated answers."""
        return generate(self.prompts(requests, backend), backend, work)


def generate(prompts: Sequence[Prompt], backend: Backend, work: Work) -> list[AnswerText]:
    """Return the answer that `backend` generates after each prompt, and count in `work` how answers ended."""
    answers = [
        answer_text.read(
            generation.text,
            prompt.settings.until,
            is_cut=generation.is_cut,
            opened=prompt.thinking,
            marks=backend.marks,
        )
        for prompt, generation in zip(prompts, backend.generate(prompts), strict=True)
    ]
    work.count_answers(answers)
    return answers
