"""Finding tasks by name, tag and glob."""

from __future__ import annotations

from pathlib import Path

import invented
import pytest

from harness.errors import HarnessError
from harness.tasks import Catalogue


@pytest.mark.parametrize(
    ("glob", "some"),
    [("ceval_high_school_h*", "ceval_high_school_history"), ("arc_*", "arc_easy"), ("mmlu_[ab]*", "mmlu_anatomy")],
)
def test_a_glob_finds_tasks_of_ours_and_of_lm_evals(glob: str, some: str) -> None:
    assert some in Catalogue().expand([glob])


def test_a_name_is_found_without_reading_lm_evals_whole_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness import tasks

    seen: list[Path] = []
    real = tasks._index
    monkeypatch.setattr(tasks, "_index", lambda folders: real(seen.extend(folders) or seen))
    Catalogue().index_for(["gsm8k"])
    assert tasks._lm_eval_folder() not in seen


def test_groups_that_overlap_give_each_task_once(tmp_path: Path) -> None:
    found = Catalogue().load(["ceval", "ceval_law"], invented.mirror(tmp_path))
    assert len(found.tasks) == 52
    assert found.headlines == ["ceval", "ceval_law"]


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
