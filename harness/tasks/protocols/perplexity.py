"""OpenCompass's choice by the perplexity of whole texts."""

from __future__ import annotations

from typing import Any

from lm_eval.api.instance import Instance

from harness.tasks.protocols.base import ProtocolTask


class Perplexity(ProtocolTask):
    """Multiple choice by the perplexity of whole texts, as OpenCompass's `PPLInferencer` defines it.

    Prompt and choice together are one text. The answer is the choice whose text has the least mean negative
    log-likelihood per token, the first one if several are equal (`MeanLikelihood`). If the prompt differs between
    choices, it is left empty and the choices are the whole texts.
    """

    def construct_requests(self, doc: dict[str, Any], ctx: object, **kwargs: object) -> list[Instance]:
        """Return one request for each choice's whole text."""
        requests: list[Instance] = super().construct_requests(doc, ctx, **kwargs)
        for request in requests:
            request.request_type = "mean_loglikelihood"
        return requests
