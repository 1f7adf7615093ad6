"""The group `lawyer_llama`, and copies of data sets that have only the splits that zero-shot needs."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.tasks import index
from harness.tasks.catalogue import Catalogue
from harness.tasks.describe import summaries
from support import mirrors

PIQA = [{"goal": "拧紧螺丝", "sol1": "用螺丝刀", "sol2": "用勺子", "label": 0}]
GENERAL = ("c3", "cmnli", "sciq", "piqa")


def test_it_has_the_tasks_of_the_paper_and_its_average_of_four():
    catalogue = Catalogue()
    leaves = list(catalogue.sources(["lawyer_llama"], None))
    assert leaves[:8] == [*GENERAL, "mrpc", "sst2", "agieval_jec_qa_kd", "agieval_jec_qa_ca"]
    assert len([name for name in leaves if name.startswith("cmmlu_")]) == len(leaves) - 8 == 67


def test_its_definitions_are_found_without_reading_lm_evals_whole_tree(monkeypatch):
    folders_read = []
    real = index.read
    monkeypatch.setattr(index, "read", lambda folders: real(folders_read.extend(folders) or folders_read))
    Catalogue().index_for(["lawyer_llama"])
    assert index.lm_eval_folder() not in folders_read


def test_a_group_without_an_average_of_its_own_has_the_headlines_of_its_members(data, tmp_path):
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "two.yaml").write_text(
        "group: two\ntask: [c3, mmlu_hendrycks, mrpc]\n"
        "metadata: {version: 1, averages: {two/pair: {tasks: [c3, mrpc], weight: task}}}\n"
    )
    loaded = Catalogue([tasks]).load(["two"], data)
    assert loaded.headlines == ["two/pair", "c3", "mmlu_hendrycks", "mrpc"]
    [pair] = [named.average for named in loaded.averages if named.average.name == "two/pair"]
    assert (pair.tasks, pair.weight) == (("c3", "mrpc"), "task")


def test_a_copy_without_the_few_shot_split_is_evaluated_zero_shot(tmp_path):
    mirrors.write(tmp_path, "baber/piqa", "default", validation=PIQA)
    built = mirrors.task("piqa", tmp_path)
    assert mirrors.requests(built) == [("Question: 拧紧螺丝\nAnswer:", f" {PIQA[0][key]}") for key in ("sol1", "sol2")]


def test_examples_from_a_split_that_a_copy_lacks_are_refused_and_not_drawn_elsewhere(tmp_path):
    mirrors.write(tmp_path, "baber/piqa", "default", validation=PIQA * 3)
    with pytest.raises(HarnessError, match=r"examples are drawn from the split 'train', which .* lacks: fetch it with"):
        mirrors.task("piqa", tmp_path, num_fewshot=2)


def test_a_group_with_a_protocol_is_listed_with_it():
    [line] = [line for line in summaries(None) if line.name == "lawyer_llama"]
    assert line.protocol.startswith("The public tasks on which Lawyer LLaMA's stages were compared")
    assert line.dataset == "7 data sets"
    assert line.members == 75
