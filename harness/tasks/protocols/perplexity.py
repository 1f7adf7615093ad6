"""OpenCompass's choice by the perplexity of whole texts."""

from __future__ import annotations

from typing import Any

from lm_eval.api.instance import Instance

from harness.tasks.protocols.base import ProtocolTask


class Perplexity(ProtocolTask):
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
