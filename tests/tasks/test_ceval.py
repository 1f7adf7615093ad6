"""The `ceval` task family agrees with C-Eval's own subject list, wording and data."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from lm_eval.tasks import TaskManager

from harness.common.resources import folder
from support import mirrors
from support.ceval_exam import GOLDEN, QUESTION, SHOTS

CEVAL = folder("tasks") / "ceval"
TAGS = {
    "STEM": "ceval_stem",
    "Social Science": "ceval_social_science",
    "Humanities": "ceval_humanities",
    "Other": "ceval_other",
}


@pytest.fixture(scope="module")
def manager() -> TaskManager:
    return TaskManager(include_defaults=False, include_path=[str(CEVAL)])


@pytest.fixture(scope="module")
def subjects(manager) -> dict[str, dict]:
    """Each subject's YAML merged with its include, by subject."""
    group = yaml.safe_load((CEVAL / "_ceval.yaml").read_text(encoding="utf-8"))
    shared = yaml.safe_load((CEVAL / "_ceval_yaml").read_text(encoding="utf-8"))
    configs = [yaml.safe_load((CEVAL / f"{name}.yaml").read_text(encoding="utf-8")) for name in group["task"]]
    return {config["dataset_name"]: {**shared, **config} for config in configs}


@pytest.fixture
def invented(tmp_path) -> Path:
    """A data set with the hub's layout and one subject, `law`, made of invented documents."""
    root = tmp_path / "ceval" / "ceval-exam"
    (root / "law").mkdir(parents=True)
    (root / "README.md").write_text(
        "---\nconfigs:\n- config_name: law\n  data_files:\n"
        + "".join(f"  - split: {s}\n    path: law/{s}-00000-of-00001.parquet\n" for s in ("test", "val", "dev"))
        + "---\n"
    )
    for split, rows in {"dev": SHOTS, "val": [QUESTION], "test": [(*QUESTION[:5], "")]}.items():
        columns = [list(column) for column in zip(*rows, strict=True)]
        table = pa.table(
            {"id": pa.array(range(len(rows)), pa.int32())}
            | dict(zip(["question", "A", "B", "C", "D", "answer"], columns, strict=True))
            | {"explanation": ["解析不应出现在提示里"] * len(rows)}
        )
        pq.write_table(table, root / "law" / f"{split}-00000-of-00001.parquet")
    return root


def build(manager: TaskManager, subject: str, dataset: Path, cache: Path):
    overrides = {"dataset_path": str(dataset), "dataset_kwargs": {"cache_dir": str(cache)}}
    index = manager.task_index
    return manager._factory.build(index[f"ceval_{subject}"], overrides=overrides, registry=index)


def requests(task) -> list[tuple[str, str]]:
    task.build_all_requests()
    return [instance.args for instance in task.instances]


def test_the_folder_holds_only_the_group_and_its_members(manager, subjects):
    assert set(manager.all_subtasks) == {f"ceval_{subject}" for subject in subjects}
    assert set(manager.all_groups) == {"ceval"}
    assert set(manager.all_tags) == {*TAGS.values(), "ceval_hard"}


def test_named_averages_cover_the_categories_and_weigh_subjects_equally():
    group = yaml.safe_load((CEVAL / "_ceval.yaml").read_text(encoding="utf-8"))
    expected = {f"ceval/{name}": {"tag": tag, "weight": "task"} for name, tag in TAGS.items()}
    expected["ceval/Hard"] = {"tag": "ceval_hard", "weight": "task"}
    assert group["metadata"]["averages"] == expected
    assert group["aggregate_metric_list"] == [{"metric": "acc", "aggregation": "mean", "weight_by_size": False}]


def test_source_licence_and_protocol_are_declared(subjects):
    for config in subjects.values():
        metadata = config["metadata"]
        assert metadata["version"] == 1
        assert "hkust-nlp/ceval" in metadata["source"]
        assert "2305.08322" in metadata["source"]
        assert metadata["licence"] == "CC BY-NC-SA 4.0"
        assert metadata["protocol"]


def test_subjects_are_the_official_ones_in_the_official_order(definitions, subjects):
    official = json.loads((definitions / "ceval.json").read_text(encoding="utf-8"))
    assert list(subjects) == list(official["subjects"])
    assert len(subjects) == 52


def test_every_subject_has_its_official_names_and_category(definitions, subjects):
    official = json.loads((definitions / "ceval.json").read_text(encoding="utf-8"))
    for subject, (english, chinese, category) in official["subjects"].items():
        config = subjects[subject]
        hard = ["ceval_hard"] if subject in official["hard"] else []
        assert config["task"] == f"ceval_{subject}"
        assert config["task_alias"] == english
        assert config["tag"] == [TAGS[category], *hard]
        assert config["description"] == f"以下是中国关于{chinese}考试的单项选择题，请选出其中的正确答案。\n\n"


def test_the_prompt_equals_the_one_written_by_hand(manager, invented, tmp_path):
    task = build(manager, "law", invented, tmp_path / "cache")
    assert requests(task) == [(GOLDEN, letter) for letter in "ABCD"]


def test_the_likeliest_letter_is_the_answer(manager, invented, tmp_path):
    task = build(manager, "law", invented, tmp_path / "cache")
    doc = task.task_docs[0]
    right = [(-2.0, False), (-3.0, False), (-1.0, True), (-4.0, False)]
    wrong = [(-1.0, True), (-3.0, False), (-2.0, False), (-4.0, False)]
    assert task.process_results(doc, right) == {"acc": 1.0}
    assert task.process_results(doc, wrong) == {"acc": 0.0}


def test_a_document_without_an_answer_is_an_error_and_not_scored_as_wrong(manager, invented, tmp_path):
    task = build(manager, "law", invented, tmp_path / "cache")
    with pytest.raises(ValueError, match="not in list"):
        task.process_results(task.dataset["test"][0], [(-1.0, True)] * 4)


@pytest.mark.data
def test_every_real_prompt_equals_one_assembled_from_the_rows(subjects, data):
    root = data / "ceval" / "ceval-exam"

    def item(row: dict) -> str:
        return row["question"] + "".join(f"\n{letter}. {row[letter]}" for letter in "ABCD") + "\n答案："

    total, tasks = 0, mirrors.tasks(["ceval"], data)
    for subject, config in subjects.items():
        dev, val = (pq.read_table(root / subject / f"{s}-00000-of-00001.parquet").to_pylist() for s in ("dev", "val"))
        assert len(dev) == 5
        shots = "".join(item(row) + row["answer"] + "\n\n" for row in dev)
        expected = [(config["description"] + shots + item(row), letter) for row in val for letter in "ABCD"]
        assert requests(tasks[f"ceval_{subject}"]) == expected
        total += len(val)
    assert total == 1346
