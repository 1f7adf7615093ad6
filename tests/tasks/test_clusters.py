"""What documents share: as the task says, as is known of its data, and never of text that is not there."""

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


def of(dataset: str, config: str | None = None) -> DataSource:
    return DataSource(dataset, config, None, "")


def test_documents_that_render_the_same_are_a_cluster() -> None:
    key = clusters.key(task(cluster="{{turns | join(' ')}}"), None)
    one, same, other = (key({"turns": turns}) for turns in (["春", "夏"], ["春", "夏"], ["春", "秋"]))
    assert one == same != other
    assert one is not None
    assert len(one) == 16


def test_a_text_has_the_same_key_in_every_task() -> None:
    case = clusters.key(task(cluster="{{question.split('罪名:')[0]}}"), None)
    plain = clusters.key(task(cluster="{{fact}}"), None)
    assert case({"question": "某甲取走一袋米。\n罪名:盗窃"}) == plain({"fact": "某甲取走一袋米。"})


def test_without_a_template_or_without_text_nothing_is_shared() -> None:
    assert clusters.key(task(), None)({"question": "?"}) is None
    assert clusters.key(task(), of("me/mine"))({"question": "?"}) is None
    assert clusters.key(task(cluster="{{passage}}"), None)({"passage": " "}) is None


def test_what_is_known_of_a_data_set_holds_for_the_configuration_it_is_known_of() -> None:
    asked = {"question": "This passage.\nWho?"}
    history = clusters.key(task(), of("cais/mmlu", "high_school_us_history"))
    assert history(asked) == history({"question": "This passage.\nWhen?"}) is not None
    assert clusters.key(task(), of("cais/mmlu", "anatomy"))(asked) is None


def test_a_tasks_own_word_comes_first() -> None:
    asked, source = {"passage": "A", "topic": "B"}, of("EleutherAI/drop")
    own = clusters.key(task(cluster="{{topic}}"), source)
    assert own(asked) != clusters.key(task(), source)(asked)


def test_a_known_data_set_with_other_columns_has_no_clusters() -> None:
    assert clusters.key(task(), of("EleutherAI/drop"))({"article": "A"}) is None


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
def test_what_is_known_names_columns_that_lm_evals_tasks_ask_about(dataset: str) -> None:
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
def test_a_template_that_cannot_be_rendered_is_told_with_its_task(template: str) -> None:
    with pytest.raises(HarnessError, match=r"metadata\.cluster of task mine cannot be rendered"):
        clusters.key(task(cluster=template), None)({"question": "?"})


@pytest.mark.parametrize(
    "asked",
    [{"question": "谁？", "answer": "甲"}, {"question": "谁？", "choices": ["甲", "乙"], "answer": "A"}],
    ids=["in words", "by letters"],
)
def test_questions_of_a_persons_file_on_one_context_are_a_cluster(asked: dict[str, Any], tmp_path: Path) -> None:
    contexts = ["甲来了。", "乙来了。", "甲来了。", None]
    keys = {}
    for name, rows in (
        ("with", [{**asked, "context": context} for context in contexts]),
        ("without", [asked, asked]),
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
def test_real_data_have_the_clusters_that_their_columns_show(
    name: str, documents: int, distinct: int, largest: int, data: Path
) -> None:
    tasks = Catalogue().load([name], data)
    counts = Counter(map(clusters.key(tasks.tasks[name], tasks.sources[name]), tasks.tasks[name].documents))
    assert None not in counts
    assert (counts.total(), len(counts), max(counts.values())) == (documents, distinct, largest)


@pytest.mark.data
def test_the_same_cases_are_one_cluster_in_several_tasks_of_lawbench(data: Path) -> None:
    names = ("lawbench_3_1", "lawbench_3_4", "lawbench_3_5", "lawbench_one_shot_3_4")
    tasks = Catalogue().load(names, data)
    found = [{*map(clusters.key(task, tasks.sources[name]), task.documents)} for name, task in tasks.tasks.items()]
    assert [len(keys) for keys in found] == [500] * 4
    assert found[0] == found[1] == found[2] == found[3]
