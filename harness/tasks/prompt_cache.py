"""Caches that make lm-eval's prompts cheap: templates compiled once, and each few-shot example rendered once.

lm-eval renders the examples of a prompt again for every document. Here each example is rendered once for each of the
task's templates. lm-eval's code still decides which examples are drawn, in which order, and how a prompt is put
together. Prompts therefore equal those of lm-eval byte for byte.

Not here: finding tasks (`harness.tasks.catalogue`), or the prompts themselves (`tasks/`, `harness.tasks.protocols`).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

_RENDERING = ("doc_to_text", "doc_to_choice", "doc_to_target")


class _Constant:
    """A template without variables."""

    def __init__(self, text: str) -> None:
        self._text = text

    def render(self, *_: object, **__: object) -> str:
        return self._text


def compile_once() -> None:
    """Make lm-eval compile each prompt template once, not for every document: the same text, 30 times faster."""
    from lm_eval.utils import env

    if hasattr(env.from_string, "cache_info"):
        return
    compile_template = env.from_string

    @functools.lru_cache(maxsize=1024)
    def from_string(source: str) -> Any:
        # Most descriptions are plain text. (Jinja turns every "\r\n" and "\r" into "\n".)
        return compile_template(source) if "{" in source or "\r" in source else _Constant(source)

    env.from_string = from_string


def render_shots_once(task: Any) -> None:
    """Make lm-eval's `task` render each few-shot example once, and stop looking for n examples once it has n."""
    from lm_eval.api.samplers import FirstNSampler
    from lm_eval.api.task import ConfigurableTask

    sampler = getattr(task, "sampler", None)
    if not isinstance(task, ConfigurableTask) or sampler is None:
        return
    shots = {id(shot): shot for shot in sampler.df}
    for name in _RENDERING:
        if getattr(type(task), name) is getattr(ConfigurableTask, name):  # lm-eval's own method, not a subclass's
            setattr(task, name, _remembering(getattr(task, name), shots))
    if type(sampler) is FirstNSampler:
        sampler.sample = functools.partial(_first, sampler)


def _remembering(method: Callable[..., Any], shots: dict[int, Any]) -> Callable[..., Any]:
    """Return a task's `doc_to_…` method that remembers the result of each template for each of `shots`.

    lm-eval passes a template to the method for an example, but not for the evaluated document. Results are not
    remembered if the task has a function instead of a template, or if the template draws at random.
    """
    results: dict[tuple[int, str], Any] = {}

    @functools.wraps(method)
    def rendered(doc: Any, template: Any = None) -> Any:
        if not isinstance(template, str) or id(doc) not in shots or "random" in template:
            return method(doc, template)
        key = (id(doc), template)
        if key not in results:
            results[key] = method(doc, template)
        return results[key]

    return rendered


def _first(sampler: Any, n: int, eval_doc: Any = None, df: Any = None, **_: object) -> Any:
    """Return the examples of lm-eval's `FirstNSampler.sample`, without comparing `eval_doc` with every example."""
    if eval_doc is None:
        shots = sampler.df[:n]
    else:
        shots = list(itertools.islice((shot for shot in sampler.df if shot != eval_doc), n))
    assert len(shots) == n, f"{n} examples are needed, and there are {len(shots)}"
    return shots
