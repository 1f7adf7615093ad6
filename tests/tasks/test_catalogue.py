"""The catalogue finds tasks by name, tag and glob, and refuses what it cannot load."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import HarnessError
from harness.tasks import index
from harness.tasks.catalogue import Catalogue
from support import invented


@pytest.mark.parametrize(
    ("glob", "member"),
    [("ceval_high_school_h*", "ceval_high_school_history"), ("arc_*", "arc_easy"), ("mmlu_[ab]*", "mmlu_anatomy")],
)
def test_a_glob_matches_our_tasks_and_lm_evals(glob: str, member: str) -> None:
    assert member in Catalogue().expand([glob])


def test_a_name_is_found_without_reading_lm_evals_whole_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    real = index.read
    monkeypatch.setattr(index, "read", lambda folders: real(read.extend(folders) or read))
    Catalogue().index_for(["gsm8k"])
    assert index.lm_eval_folder() not in read


def test_the_definitions_of_one_name_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invented.mirror(tmp_path)
    read: list[Path] = []
    real = index.read
    monkeypatch.setattr(index, "read", lambda folders: real(read.extend(folders) or folders))
    catalogue = Catalogue()
    catalogue.sources(["gsm8k"], tmp_path)
    catalogue.load(["gsm8k"], tmp_path)
    assert len(read) == len(set(read)) == 3  # ours, the demo's, and lm-eval's folder gsm8k


def test_overlapping_groups_load_each_task_once(tmp_path: Path) -> None:
    tasks = Catalogue().load(["ceval", "ceval_law"], invented.mirror(tmp_path))
    assert len(tasks.tasks) == 52
    assert tasks.headlines == ["ceval", "ceval_law"]


def test_a_task_that_runs_the_checkpoints_code_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "danger.yaml").write_text(
        "task: danger\nunsafe_code: true\ndataset_path: openai/gsm8k\ndataset_name: main\noutput_type: generate_until\n"
        "test_split: test\ndoc_to_text: '{{question}}'\ndoc_to_target: '{{answer}}'\n"
        "metric_list:\n- metric: exact_match\n  aggregation: mean\n  higher_is_better: true\n"
    )
    with pytest.raises(HarnessError, match="runs code that the checkpoint writes"):
        Catalogue([own]).load(["danger"], invented.mirror(tmp_path / "data"))


def first_prompt(data: Path) -> str:
    (task,) = Catalogue().load(["ceval_law"], data).tasks.values()
    return str(task.build_requests(limit=1)[0].args[0])


def rewrite(data: Path, word: str) -> None:
    file = data / "ceval" / "ceval-exam" / "law" / "val-00000-of-00001.parquet"
    rows = [{**row, "question": word} for row in pq.read_table(file).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows), file)


def test_two_mirrors_with_the_same_card_are_not_mixed_up(tmp_path: Path) -> None:
    first, other = (invented.mirror(tmp_path / name) for name in ("first", "other"))
    rewrite(other, "另一处的问题")
    assert "另一处的问题" not in first_prompt(first)
    assert "另一处的问题" in first_prompt(other)


def test_documents_replaced_in_place_are_read_again(tmp_path: Path) -> None:
    data = invented.mirror(tmp_path)
    first_prompt(data)
    file = data / "ceval" / "ceval-exam" / "law" / "val-00000-of-00001.parquet"
    before = file.stat()
    rewrite(data, "后来的问题")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "后来的问题" in first_prompt(data)


@pytest.mark.parametrize("named", ["a file", "a pattern", "a folder"])
def test_a_file_that_a_task_lists_itself_is_read_again_if_it_was_replaced(tmp_path: Path, named: str) -> None:
    """`cp -p` and `rsync -a` keep path, size and date, by which `datasets` remembers what it read."""
    rows, folder = tmp_path / "rows", tmp_path / "tasks"
    rows.mkdir()
    folder.mkdir()
    arguments = {
        "a file": f"{{data_files: {{test: {rows / 'one.jsonl'}}}}}",
        "a pattern": f"{{data_files: {{test: '{rows}/*.jsonl'}}}}",
        "a folder": f"{{data_dir: {rows}}}",
    }
    (folder / "listed.yaml").write_text(
        f"task: listed\ndataset_path: json\ndataset_kwargs: {arguments[named]}\n"
        f"test_split: {'train' if named == 'a folder' else 'test'}\noutput_type: generate_until\n"
        "doc_to_text: '{{question}}'\ndoc_to_target: '{{answer}}'\nmetric_list: [{metric: exact_match}]\n"
    )

    def prompt() -> str:
        (task,) = Catalogue([folder]).load(["listed"]).tasks.values()
        assert not task.lm_eval.config.dataset_kwargs.get("cache_dir")  # a report shows the task as its YAML has it
        return str(task.build_requests(limit=1)[0].args[0])

    file, other = rows / "one.jsonl", tmp_path / "other.jsonl"
    file.write_text('{"question": "old?", "answer": "1"}')
    other.write_text('{"question": "new?", "answer": "1"}')
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    assert prompt() == "old?"
    shutil.copy2(other, file)
    assert prompt() == "new?"


def test_removed_documents_are_an_error(tmp_path: Path) -> None:
    data = invented.mirror(tmp_path)
    first_prompt(data)
    shutil.rmtree(data / "ceval" / "ceval-exam" / "law")
    with pytest.raises(HarnessError, match="ceval_law"):
        first_prompt(data)


@pytest.mark.parametrize(("task", "num_fewshot", "examples"), [("gsm8k", 13, 12), ("ceval_law", 6, 5)])
def test_more_shots_than_examples_are_refused(tmp_path: Path, task: str, num_fewshot: int, examples: int) -> None:
    with pytest.raises(HarnessError, match=f"has {examples} few-shot examples, not {num_fewshot}"):
        Catalogue().load([task], invented.mirror(tmp_path), num_fewshot=num_fewshot)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("task: [", "cannot be read"),
        ("group: circle\ntask: [circle]\n", "contains itself"),
        ("group: circle\ntask: [nope1]\n", "names 'nope1', which is not a task"),
    ],
)
def test_a_broken_task_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "circle.yaml").write_text(content)
    with pytest.raises(HarnessError, match=message):
        Catalogue([own]).load(["circle"], invented.mirror(tmp_path / "data"))
