"""Questions of a user's own test set, answered in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean

from harness.metrics.answers.numbers import last_number
from harness.metrics.text.overlap import best
from harness.tasks.protocols.own_questions import OwnQuestions


class Answers(OwnQuestions):
    """Generated answers, compared with a document's accepted `answers` by each of `metadata.metrics`.

    A document may have `turns`, the conversation before its answer. With a chat template, these become turns of the
    prompt; without one, the document's `prompt` is used, which has them as text.
    """

    @property
    def has_conversations(self) -> bool:
        """Whether some document has earlier answers in its `turns`."""
        return any(turn["role"] == "assistant" for doc in self._documents for turn in doc.get("turns") or ())

    def fewshot_context(
        self,
        doc: dict[str, Any],
        num_fewshot: int,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = False,
        chat_template: Callable[..., str] | None = None,
        gen_prefix: str | None = None,
    ) -> Any:
        """Return the prompt: a conversation as turns, anything else as lm-eval renders it."""
        turns = list(doc.get("turns") or [])
        if len(turns) < 2 or not apply_chat_template or chat_template is None:
            return super().fewshot_context(
                doc,
                num_fewshot,
                system_instruction,
                apply_chat_template,
                fewshot_as_multiturn,
                chat_template,
                gen_prefix,
            )
        if system_instruction:
            first = turns.pop(0)["content"] if turns[0]["role"] == "system" else ""
            system = "\n\n".join(text for text in (system_instruction, first) if text)
            turns.insert(0, {"role": "system", "content": system})
        return chat_template(turns, add_generation_prompt=True)

    def construct_requests(self, doc: dict[str, Any], ctx: object, **kwargs: object) -> Instance:
        """Return the one request; after few-shot examples, `metadata.stops_after_shots` end its answer as well."""
        request: Instance = super().construct_requests(doc, ctx, **kwargs)
        if self.config.num_fewshot:
            prompt, settings = request.arguments
            until = [*settings["until"], *self.stated.stops_after_shots]
            request.arguments = (prompt, {**settings, "until": until})
        return request

    def process_results(self, doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
        """Return, for each metric, the best score against any accepted answer.

        A metric that is not defined for all accepted answers is left out.
        """
        scores = ((name, best(name, results[0], doc["answers"])) for name in self.stated.metrics)
        return {name: score for name, score in scores if score is not None}

    def understood(self, doc: dict[str, Any], answer: str) -> bool | None:
        """Return whether `answer` contains a number if numbers are compared; None for metrics that compare texts."""
        return last_number(answer) is not None if "number" in self.stated.metrics else None

    def aggregation(self) -> dict[str, Callable[..., float]]:
        """Return the mean for each metric: a score is the mean of the documents' values."""
        return dict.fromkeys(self.stated.metrics, mean)

    def higher_is_better(self) -> dict[str, bool]:
        """Return True for each metric: higher values are better."""
        return dict.fromkeys(self.stated.metrics, True)
