"""Few-shot examples rendered once give the same prompts as lm-eval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lm_eval import utils
from lm_eval.api.samplers import ContextSampler, FirstNSampler

from harness.tasks import prompt_cache
from harness.tasks.catalogue import Catalogue
from harness.tasks.task import Task
from support import mirrors

ROWS = [{"q": f"frage {i}", "opts": ["eins", "zwei"], "gold": i % 2, "lead": f"{i}"} for i in range(6)]
CHOICE = """task: mine
dataset_path: a/b
dataset_name: one
output_type: multiple_choice
test_split: test
num_fewshot: 3
doc_to_text: "{{q}}?"
doc_to_choice: opts
doc_to_target: gold
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
FREE = (
    CHOICE.replace("multiple_choice", "generate_until")
    .replace("doc_to_choice: opts\n", "")
    .replace("doc_to_target: gold", "doc_to_target: '{{opts[gold]}}'")
    .replace("metric: acc", "metric: exact_match")
)
INPUTS = CHOICE.replace('doc_to_text: "{{q}}?"', "doc_to_text: gold").replace("doc_to_target: gold", "doc_to_target: q")
FUNCTIONS = "def text(doc):\n    return doc['q'] + '!'\n"
KINDS = {
    "drawn from another split": CHOICE + "fewshot_split: dev\n",
    "drawn from its own split": CHOICE + "fewshot_split: test\n",
    "the first": CHOICE + "fewshot_split: dev\nfewshot_config: {sampler: first_n}\n",
    "the first of its own split": CHOICE + "fewshot_split: test\nfewshot_config: {sampler: first_n}\n",
    "with words of their own": CHOICE + "fewshot_split: dev\ndescription: 'Of {{q}}:\\n'\n"
    "fewshot_config: {doc_to_text: 'Shown {{q}}', gen_prefix: 'So:'}\n",
    "free answers": FREE + "fewshot_split: dev\ndescription: Plain.\ngen_prefix: '{{lead}} is'\n",
    "several inputs": INPUTS + "fewshot_split: dev\nfewshot_config: {doc_to_choice: opts}\n",
    "a function": CHOICE.replace('"{{q}}?"', "!function utils.text") + "fewshot_split: dev\n",
    "random words": CHOICE.replace("{{q}}", "{{['a', 'b', 'c'] | random}}") + "fewshot_split: dev\n",
    "none": CHOICE.replace("num_fewshot: 3", "num_fewshot: 0"),
}


def chat(messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
    return "|".join(f"{m['role']}: {m['content']}" for m in messages) + str(add_generation_prompt)


def build(folder: Path, definition: str, rows: list[dict[str, Any]] = ROWS) -> Any:
    mirrors.write(folder / "data", "a/b", "one", test=rows, dev=[*rows[::-1], {**rows[0], "q": "andere"}])
    own = folder / "own"
    own.mkdir(exist_ok=True)
    (own / "utils.py").write_text(FUNCTIONS)
    (own / "mine.yaml").write_text(definition)
    return Catalogue([own]).load(["mine"], folder / "data").tasks["mine"].lm_eval


def prompts(task: Any) -> list[Any]:
    import random

    arguments = []
    for settings in ({}, {"apply_chat_template": True, "chat_template": chat, "fewshot_as_multiturn": True}):
        for _ in range(2):
            Task(task).reseed()
            random.seed(5)
            task.build_all_requests(**settings)
            arguments += [instance.args for instance in task.instances]
    return arguments


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_equal_lm_evals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    ours = prompts(build(tmp_path, KINDS[kind]))
    monkeypatch.setattr(prompt_cache, "render_shots_once", lambda task: None)
    monkeypatch.setattr(utils.env, "from_string", type(utils.env).from_string.__get__(utils.env))
    monkeypatch.setattr(prompt_cache, "compile_once", lambda: None)
    assert ours == prompts(build(tmp_path, KINDS[kind]))


def rendered(monkeypatch: pytest.MonkeyPatch, task: Any) -> int:
    """Return how many times templates are rendered to build the task's prompts."""
    count = 0
    real = utils.apply_template

    def counted(template: str, doc: dict[str, Any]) -> str:
        nonlocal count
        count += 1
        return str(real(template, doc))

    with monkeypatch.context() as patch:
        patch.setattr(utils, "apply_template", counted)
        task.build_all_requests()
    return count


def test_each_example_is_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{**ROWS[0], "q": f"frage {i}"} for i in range(40)]
    task = build(tmp_path, KINDS["the first"], rows)
    assert rendered(monkeypatch, task) == len(rows) + 3
    assert rendered(monkeypatch, task) == len(rows)  # not again for the next checkpoint


class Counted(dict[str, Any]):
    compared = 0

    def __ne__(self, other: object) -> bool:
        Counted.compared += 1
        return dict.__ne__(self, other)

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("place", [0, 1, 199, None])
def test_the_first_examples_are_taken_without_comparing_all(place: int | None) -> None:
    shots = [Counted(n=i // 2) for i in range(200)]
    sampler = FirstNSampler(shots)
    doc = None if place is None else shots[place]
    theirs, Counted.compared = sampler.sample(5, eval_doc=doc), 0
    assert prompt_cache._first(sampler, 5, eval_doc=doc) == theirs
    assert Counted.compared <= 7
    for count in (198, 200, 201):
        try:
            expected: Any = sampler.sample(count, eval_doc=doc)
        except AssertionError:
            with pytest.raises(AssertionError):
                prompt_cache._first(sampler, count, eval_doc=doc)
        else:
            assert prompt_cache._first(sampler, count, eval_doc=doc) == expected


def test_another_sampler_is_left_unchanged(tmp_path: Path) -> None:
    task = build(tmp_path, KINDS["drawn from another split"])
    assert type(task.sampler) is ContextSampler
    assert "sample" not in vars(task.sampler)


@pytest.mark.parametrize("text", ["", "plain", " two\nlines\n", "\n", "50 % # of }} all\n\n", "a\r\nb"])
def test_plain_text_equals_jinjas_rendering(text: str) -> None:
    prompt_cache.compile_once()
    assert utils.env.from_string(text).render(q=1) == type(utils.env).from_string(utils.env, text).render(q=1)
