"""lm-eval task classes for protocols that ask a checkpoint what lm-eval has no request for.

A task names one with `class:` in its YAML. Each changes only the kind of its requests, which are methods of
`harness.engine.lm.HarnessLM`; everything else is lm-eval's `ConfigurableTask`. lm-eval's own models lack those methods,
so run by them such a task stops, rather than being scored by another definition under the same name.

Not here: prompts and labels (`tasks/`), or how requests are answered (`harness.engine`).
"""

from __future__ import annotations

from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.utils import apply_template


class Task(ConfigurableTask):  # type: ignore[misc]
    """lm-eval's task, made of a configuration that may name a class."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={key: value for key, value in config.items() if key != "class"})


class Perplexity(Task):
    """Multiple choice by the perplexity of whole texts, as OpenCompass's `PPLInferencer` defines it.

    Each choice makes one text of prompt and answer; the least mean negative log-likelihood per token wins, the first of
    equals (`HarnessLM.mean_loglikelihood`). Where the prompt differs between choices, it is left empty and the choices
    are the whole texts.
    """

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> list[Instance]:
        """Return a request for each choice's whole text."""
        made: list[Instance] = super().construct_requests(doc, ctx, **kwargs)
        for request in made:
            request.request_type = "mean_loglikelihood"
        return made


class ThinkThenChoose(Task):
    """Two dependent requests in one: reason in words, then choose a letter after reading them.

    As THUDM/ChatGLM2-6B's evaluation/evaluate_ceval.py does it (`HarnessLM.think_then_choose`). `metadata.then` holds
    the second prompt as two templates, what stands before the chain of thought and what stands after it.
    """

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> Instance:
        """Return the one request: the first prompt, and how to go on."""
        made: Instance = super().construct_requests(doc, ctx, **kwargs)
        before, after = (apply_template(part, doc) for part in self.config.metadata["then"])
        made.request_type = "think_then_choose"
        made.arguments = (made.args[0], {**made.args[1], "then": [before, after]})
        return made
