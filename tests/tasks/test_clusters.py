"""Clusters: by the task's template, by what is known about its data set, and never by missing text."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.data.sources import DataSource
from harness.errors import HarnessError
from harness.tasks import clusters, index
from harness.tasks.catalogue import Catalogue
from harness.tasks.task import Task


def task(**metadata: Any) -> Task:
    return Task(SimpleNamespace(config=SimpleNamespace(task="mine", metadata=metadata or None)))


def source_of(dataset: str, config: str | None = None) -> DataSource:
    return DataSource(dataset, config, None, "")


def test_documents_with_the_same_rendered_text_are_a_cluster() -> None:
    key = clusters.key(task(cluster="{{turns | join(' ')}}"), None)
    first, same, other = (key({"turns": turns}) for turns in (["春", "夏"], ["春", "夏"], ["春", "秋"]))
    assert first == same != other
    assert first is not None
    assert len(first) == 16


def test_a_text_has_the_same_cluster_in_every_task() -> None:
    case = clusters.key(task(cluster="{{question.split('罪名:')[0]}}"), None)
    plain = clusters.key(task(cluster="{{fact}}"), None)
    assert case({"question": "某甲取走一袋米。\n罪名:盗窃"}) == plain({"fact": "某甲取走一袋米。"})


def test_without_a_template_or_text_there_is_no_cluster() -> None:
    assert clusters.key(task(), None)({"question": "?"}) is None
    assert clusters.key(task(), source_of("me/mine"))({"question": "?"}) is None
    assert clusters.key(task(cluster="{{passage}}"), None)({"passage": " "}) is None


def test_a_known_template_applies_to_its_configuration_only() -> None:
    document = {"question": "This passage.\nWho?"}
    history = clusters.key(task(), source_of("cais/mmlu", "high_school_us_history"))
    assert history(document) == history({"question": "This passage.\nWhen?"}) is not None
    assert clusters.key(task(), source_of("cais/mmlu", "anatomy"))(document) is None


def test_a_tasks_own_template_takes_precedence() -> None:
    document, source = {"passage": "A", "topic": "B"}, source_of("EleutherAI/drop")
    own = clusters.key(task(cluster="{{topic}}"), source)
    assert own(document) != clusters.key(task(), source)(document)


def test_a_known_data_set_with_other_columns_has_no_clusters() -> None:
    assert clusters.key(task(), source_of("EleutherAI/drop"))({"article": "A"}) is None


FOLDERS = {
    "cais/mmlu": "mmlu/default",
    "EleutherAI/drop": "drop",
    "aps/super_glue": "super_glue",
    "facebook/belebele": "belebele",
    "facebook/mlqa": "mlqa",
    "google/xquad": "xquad",
    "facebook/anli": "anli",
    "nyu-mll/glue": "glue/mnli",
}


@pytest.mark.parametrize("dataset", sorted({name for name, _ in clusters.SHARED}))
def test_known_templates_name_columns_that_lm_evals_tasks_use(dataset: str) -> None:
    from jinja2 import Environment, meta

    folder = index.lm_eval_folder() / FOLDERS.get(dataset, "agieval")
    files = [file for kind in ("*yaml", "*.py") for file in folder.rglob(kind)]
    texts = [file.read_text(encoding="utf-8") for file in files]
    assert any(f"dataset_path: {dataset}\n" in text for text in texts)
    for (name, _), template in clusters.SHARED.items():
        if name == dataset:
            (column,) = meta.find_undeclared_variables(Environment().parse(template))
            assert any(re.search(rf"\b{column}\b", text) for text in texts)


@pytest.mark.parametrize("template", ["{{article}}", "{{question.nothing()}}", "{{question", "{{question | nothing}}"])
def test_an_error_of_a_template_names_its_task(template: str) -> None:
    with pytest.raises(HarnessError, match=r"metadata\.cluster of task mine cannot be rendered"):
        clusters.key(task(cluster=template), None)({"question": "?"})


@pytest.mark.parametrize(
    "question",
    [{"question": "谁？", "answer": "甲"}, {"question": "谁？", "choices": ["甲", "乙"], "answer": "A"}],
    ids=["in words", "by letters"],
)
def test_questions_of_a_users_file_on_one_context_are_a_cluster(question: dict[str, Any], tmp_path: Path) -> None:
    contexts = ["甲来了。", "乙来了。", "甲来了。", None]
    keys = {}
    for name, rows in (
        ("with", [{**question, "context": context} for context in contexts]),
        ("without", [question, question]),
    ):
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        tasks = Catalogue(comparisons=("contains",)).load([str(file)])
        (task,) = tasks.tasks.values()
        keys[name] = list(map(clusters.key(task, None), task.documents))
        assert ("shared" in task.documents[0]) == (name == "with")
    first, second, third, fourth = keys["with"]
    assert first == third != second
    assert None not in (first, second)
    assert fourth is None
    assert keys["without"] == [None, None]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "documents", "distinct", "largest"),
    [
        # Counted in the data sets' own columns; of AGIEval and MMLU, prompts that begin otherwise in 150 characters.
        ("c3", 3816, 2674, 6),
        ("ocnli", 2950, 2165, 5),
        ("adgen", 1070, 1000, 21),
        ("iepile_re", 72, 6, 12),
        ("lawbench_2_5", 500, 499, 2),
        ("lawbench_3_2", 500, 478, 2),
        ("lawbench_3_5", 500, 500, 1),
        ("agieval_sat_en", 206, 44, 7),
        ("mmlu_high_school_us_history", 204, 66, 6),
        ("mmlu_hendrycks_high_school_european_history", 165, 60, 5),
    ],
)
def test_clusters_of_real_data_agree_with_counts_of_their_columns(
    name: str, documents: int, distinct: int, largest: int, data: Path
) -> None:
    tasks = Catalogue().load([name], data)
    counts = Counter(map(clusters.key(tasks.tasks[name], tasks.sources[name]), tasks.tasks[name].documents))
    assert None not in counts
    assert (counts.total(), len(counts), max(counts.values())) == (documents, distinct, largest)


@pytest.mark.data
def test_lawbench_tasks_on_the_same_cases_share_their_clusters(data: Path) -> None:
    names = ("lawbench_3_1", "lawbench_3_4", "lawbench_3_5", "lawbench_one_shot_3_4")
    tasks = Catalogue().load(names, data)
    cluster_sets = [
        {*map(clusters.key(task, tasks.sources[name]), task.documents)} for name, task in tasks.tasks.items()
    ]
    assert [len(keys) for keys in cluster_sets] == [500] * 4
    assert all(keys == cluster_sets[0] for keys in cluster_sets)
