"""All kinds of requests, by lm-eval's request type."""

from __future__ import annotations

from collections.abc import Sequence

from lm_eval.api.instance import Instance

from harness.backends.backend import Backend
from harness.backends.request_kinds.chatglm_predict import ChatGLMPredict
from harness.backends.request_kinds.generation import GenerateUntil
from harness.backends.request_kinds.kind import Inputs, RequestKind
from harness.backends.request_kinds.likelihoods import ContinuationLikelihood, MeanLikelihood
from harness.backends.request_kinds.think_then_choose import ThinkThenChoose
from harness.backends.request_kinds.whole_texts import RollingLikelihood, SlidingLikelihood

KINDS: dict[str, RequestKind] = {
    "loglikelihood": ContinuationLikelihood(),
    "loglikelihood_rolling": RollingLikelihood(),
    "loglikelihood_sliding": SlidingLikelihood(),
    "mean_loglikelihood": MeanLikelihood(),
    "generate_until": GenerateUntil(),
    "think_then_choose": ThinkThenChoose(),
    "chatglm_predict": ChatGLMPredict(),
}


def inputs(requests: Sequence[Instance], backend: Backend) -> Inputs:
    """Return what `requests` of several kinds ask of `backend` first; types that are not registered are left out."""
    by_type: dict[str, list[Instance]] = {}
    for request in requests:
        by_type.setdefault(request.request_type, []).append(request)
    of_kinds = [kind.inputs(by_type[name], backend) for name, kind in KINDS.items() if name in by_type]
    return Inputs(
        [pair for part in of_kinds for pair in part.pairs], [prompt for part in of_kinds for prompt in part.prompts]
    )
