"""A task built on a mirror's files equals the one that lm-eval builds with `datasets.load_dataset`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data import mirror as mirror_splits
from harness.tasks.catalogue import Catalogue
from support import mirrors
from support.mirrors_by_task import TASKS, mirror


def read_by_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `load_dataset` read every data set from here on."""
    monkeypatch.setattr(mirror_splits, "read", lambda folder, config: None)


def dumped(task: Any) -> str:
    """Return a task's configuration as a report has it."""
    config = task.dump_config()
    config["dataset_kwargs"].pop("cache_dir", None)
    return json.dumps(config, default=lambda function: function.__name__)


def loaded_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which `load_dataset` adds the name of every data set that it loads from here on."""
    import datasets

    names: list[str] = []
    real = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **more: real(path=names.append(path) or path, **more))
    return names


@pytest.mark.parametrize("name", TASKS)
def test_requests_and_configuration_equal_lm_evals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    mirror(name, tmp_path)
    shots = None if name == "piqa" else 2  # the mirror of piqa has no split to draw examples from
    names = loaded_names(monkeypatch)
    ours = mirrors.task(name, tmp_path, num_fewshot=shots)
    assert not names
    read_by_datasets(monkeypatch)
    theirs = mirrors.task(name, tmp_path, num_fewshot=shots)
    assert names
    assert mirrors.requests(ours) == mirrors.requests(theirs)
    assert mirrors.kinds(ours) == mirrors.kinds(theirs)
    assert dumped(ours) == dumped(theirs)


@pytest.mark.data
@pytest.mark.parametrize("name", ["ceval_law", "mmlu_anatomy", "cmmlu_agronomy", "gsm8k", "cmnli", "c3_gen"])
def test_requests_on_real_data_equal_lm_evals(data: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def first(task: Any) -> list[tuple[Any, ...]]:
        task.build_all_requests(limit=20)
        return [instance.args for instance in task.instances]

    ours = first(mirrors.task(name, data, num_fewshot=5))
    read_by_datasets(monkeypatch)
    assert ours == first(mirrors.task(name, data, num_fewshot=5))


OWN = """task: mine
dataset_path: a/b
dataset_name: one
output_type: generate_until
test_split: test
doc_to_text: '{{text}}'
doc_to_target: '{{text}}'
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
SHUFFLING = """import random
def shuffled(dataset):
    return dataset.map(lambda doc: {"text": doc["text"] + str(random.random())})
def listed(dataset):
    return [{**doc} for doc in dataset]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    mirrors.write(tmp_path / "data", "a/b", "one", test=[{"text": f"t{i}"} for i in range(4)])
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "utils.py").write_text(SHUFFLING)
    return tmp_path


def build(own: Path, more: str = "") -> Any:
    (own / "own" / "mine.yaml").write_text(OWN + more)
    return Catalogue([own / "own"]).load(["mine"], own / "data").tasks["mine"].lm_eval


def test_documents_processed_at_random_are_the_same_at_every_access(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build(own, "process_docs: !function utils.shuffled\n")
    drawn = [list(task.eval_docs) for _ in range(3)]
    assert drawn[0] == drawn[1] == drawn[2]
    assert "def shuffled" in task.dump_config()["process_docs"]
    read_by_datasets(monkeypatch)
    assert drawn[0] == list(build(own, "process_docs: !function utils.shuffled\n").eval_docs)


@pytest.mark.parametrize(
    "more",
    [
        "dataset_kwargs: {revision: main}\n",
        "fewshot_config: {process_docs: !function utils.listed}\nfewshot_split: test\n",
        "metadata: {1: one, version: 1}\n",
    ],
)
def test_a_task_that_loads_otherwise_is_left_to_lm_eval(own: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    names = loaded_names(monkeypatch)
    assert [doc["text"] for doc in build(own, more).eval_docs] == ["t0", "t1", "t2", "t3"]
    assert names


def test_trust_remote_code_is_no_reason_to_leave_a_task_to_lm_eval(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = loaded_names(monkeypatch)
    assert len(build(own, "dataset_kwargs: {trust_remote_code: true}\n").eval_docs) == 4
    assert not names


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_other_formats_are_read_again_after_a_change(own: Path, ending: str) -> None:
    folder = own / "data" / "a" / "b"
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: one\n  data_files: [{{split: test, path: t.{ending}}}]\n---\n"
    )
    for word in ("before", "after!"):
        rows = f"text\n{word}\n" if ending == "csv" else json.dumps({"text": word}) + "\n"
        (folder / f"t.{ending}").write_text(rows)
        assert [doc["text"] for doc in build(own).eval_docs] == [word]


def test_several_tasks_on_one_configuration_read_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror("ceval_law", tmp_path)
    read: list[Any] = []
    real = mirror_splits.read
    monkeypatch.setattr(mirror_splits, "read", lambda *key: real(*(read.append(key) or key)))
    loaded = mirrors.tasks(["ceval_law", "ceval_gen_law", "ceval_test_law"], tmp_path)
    assert len(read) == 1
    assert loaded["ceval_law"].dataset is not loaded["ceval_gen_law"].dataset
