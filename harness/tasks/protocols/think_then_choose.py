"""ChatGLM2's two passes over C-Eval: reason, then choose."""

from __future__ import annotations

from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.utils import apply_template

from harness.tasks.protocols.base import ProtocolTask


class ThinkThenChoose(ProtocolTask):
    """Two dependent requests in one: reason in words, then choose a letter after reading them.

    As THUDM/ChatGLM2-6B's evaluation/evaluate_ceval.py does it (`HarnessLM.think_then_choose`). `metadata.then` holds
    the second prompt as two templates, what stands before the chain of thought and what stands after it.
    """

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> Instance:
        """Return the one request: the first prompt, and how to go on."""
        made: Instance = super().construct_requests(doc, ctx, **kwargs)
        before, after = (apply_template(part, doc) for part in self.stated.then or ())
        made.request_type = "think_then_choose"
        made.arguments = (made.args[0], {**made.args[1], "then": [before, after]})
        return made
