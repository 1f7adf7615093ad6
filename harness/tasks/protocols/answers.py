"""Questions of a person's own file, answered in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean

from harness.metrics.text.overlap import best
from harness.tasks.protocols.base import FromFile


class Answers(FromFile):
    """Answers in words, compared with a document's accepted `answers` by each of `metadata.metrics`.

    A document may hold `turns`, the conversation that leads up to its answer: with a chat template they are turns of
    the prompt, else `prompt` holds them as text.
    """

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
            own = turns.pop(0)["content"] if turns[0]["role"] == "system" else ""
            told = "\n\n".join(text for text in (system_instruction, own) if text)
            turns.insert(0, {"role": "system", "content": told})
        return chat_template(turns, add_generation_prompt=True)

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> Instance:
        """Return the one request; after examples, `metadata.stops_after_shots` end an answer, too."""
        made: Instance = super().construct_requests(doc, ctx, **kwargs)
        if self.config.num_fewshot:
            prompt, settings = made.arguments
            until = [*settings["until"], *self.stated.stops_after_shots]
            made.arguments = (prompt, {**settings, "until": until})
        return made

    def process_results(self, doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
        """Return the best score against any accepted answer, metric by metric."""
        return {name: best(name, results[0], doc["answers"]) for name in self._metrics}

    def aggregation(self) -> dict[str, Callable[..., float]]:
        """Return how documents make a number: their mean."""
        return dict.fromkeys(self._metrics, mean)

    def higher_is_better(self) -> dict[str, bool]:
        """Return that more is better."""
        return dict.fromkeys(self._metrics, True)

    @property
    def _metrics(self) -> tuple[str, ...]:
        return self.stated.metrics
