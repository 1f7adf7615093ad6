"""ChatGLM2's two passes over C-Eval: reason, then choose."""

from __future__ import annotations

from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.utils import apply_template

from harness.tasks.protocols.base import ProtocolTask


class ThinkThenChoose(ProtocolTask):
    """Two dependent requests in one: generate a chain of thought, then choose a letter after reading it.

    This is the protocol of THUDM/ChatGLM2-6B's evaluation/evaluate_ceval.py (`request_kinds.think_then_choose`).
    `metadata.then` is the second prompt as two templates: the text before the chain of thought and the text after it.
    """

    def construct_requests(self, doc: dict[str, Any], ctx: object, **kwargs: object) -> Instance:
        """Return the one request: the first prompt, and the parts of the second prompt."""
        request: Instance = super().construct_requests(doc, ctx, **kwargs)
        before, after = (apply_template(part, doc) for part in self.require("then").then or ())
        request.request_type = "think_then_choose"
        request.arguments = (request.args[0], {**request.args[1], "then": [before, after]})
        return request
