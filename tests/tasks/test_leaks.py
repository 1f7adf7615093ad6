"""Few-shot examples never show the answer to the evaluated question; where lm-eval's do, they are counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.catalogue import Catalogue
from harness.tasks.same_question import text_form
from support import mirrors, tiny

# Each question occurs in several spellings; no question is a part of another.
SPELLINGS = [
    ("三加四是？", " 三加四是？", "三加四是?", "三加\u200b四是？\n", "三 加 四 是？"),
    ("WHO wrote it?", "who wrote it?", "Ｗho　wrote it？", "who  wrote it? "),
    ("⑧减一是？", "8减一是？"),
    ("哪里卖纸？", "12. 哪里卖纸", "第3题：哪里卖纸。", "（4）哪里卖纸？", "Q5: 哪里卖纸……"),
    ("哪里卖鱼？",),
]
QUESTIONS = st.lists(st.sampled_from([text for spellings in SPELLINGS for text in spellings]), min_size=2, max_size=12)


def loaded(folder: Path, rows: list[dict[str, Any]], shots: int, comparisons: tuple[str, ...] = ("contains",)) -> Any:
    file = folder / "q.jsonl"
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return Catalogue((), comparisons).load([str(file)], num_fewshot=shots).tasks["q.jsonl"]


def fewest_others(questions: list[str]) -> int:
    """Return the smallest number of rows that ask another question than a row, by the table above."""
    groups = [next(place for place, texts in enumerate(SPELLINGS) if text in texts) for text in questions]
    return len(groups) - max(Counter(groups).values())


@settings(max_examples=settings.default.max_examples // 2, deadline=None)
@given(questions=QUESTIONS, shots=st.integers(1, 3), has_choices=st.booleans())
def test_no_prompt_holds_its_question_twice(
    tmp_path_factory: pytest.TempPathFactory, questions: list[str], shots: int, has_choices: bool
) -> None:
    options = {"choices": ["甲", "乙"], "answer": "A"} if has_choices else {"answer": "x"}
    rows = [{"question": text, **options} for text in questions]
    folder = tmp_path_factory.mktemp("own")
    if fewest_others(questions) < shots:
        with pytest.raises(HarnessError, match="few-shot examples that ask another question than"):
            loaded(folder, rows, shots)
        return
    task = loaded(folder, rows, shots)
    for request in task.build_requests():
        prompt = text_form(str(request.args[0]))
        assert prompt.count(text_form(questions[request.doc_id])) == 1
        assert sum(prompt.count(text_form(texts[0])) for texts in SPELLINGS) == shots + 1


def test_choices_in_another_order_are_the_same_question_and_other_choices_are_not(tmp_path: Path) -> None:
    rows = [
        {"question": "哪一项正确？", "A": "一", "B": "二", "answer": "A"},
        {"question": "哪一项正确? ", "A": "二", "B": "一", "answer": "B"},
        {"question": "哪一项正确？", "A": "三", "B": "四", "answer": "A"},
    ]
    prompts = [str(request.args[0]) for request in loaded(tmp_path, rows, 1, ()).build_requests() if request.idx == 0]
    assert ["A. 三" in prompt for prompt in prompts] == [True, True, True]
    with pytest.raises(HarnessError, match="has 1 few-shot examples that ask another question than"):
        loaded(tmp_path, rows, 2, ())


def test_a_question_on_another_passage_is_another_question(tmp_path: Path) -> None:
    rows = [{"context": text, "question": "主题是？", "answer": text} for text in ("春天", "夏天")]
    prompts = [str(request.args[0]) for request in loaded(tmp_path, rows, 1).build_requests()]
    assert all(prompt.count("主题是") == 2 for prompt in prompts)


PUBLISHED = """task: published
dataset_path: a/b
dataset_name: one
output_type: multiple_choice
test_split: test
fewshot_split: dev
num_fewshot: 2
doc_to_text: "{{q}}?"
doc_to_choice: opts
doc_to_target: gold
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


def test_leaks_of_published_tasks_are_noted(tmp_path: Path) -> None:
    test = [{"q": f"frage {place}", "opts": ["a", "b"], "gold": 0} for place in range(3)]
    dev = [{**test[0], "q": "Frage  0"}, {**test[1], "opts": ["c", "d"]}]  # the second has other choices
    mirrors.write(tmp_path / "data", "a/b", "one", test=test, dev=dev)
    (tmp_path / "published.yaml").write_text(PUBLISHED)
    options = Options(("published",), tmp_path / "out", tmp_path / "data", include=(tmp_path,))
    base = tiny.llama(tmp_path / "base")
    [report] = run([parse(str(base))], options)
    note = "published: the few-shot examples of 1 question have the question itself, with its answer"
    assert note in report.manifest.notes
