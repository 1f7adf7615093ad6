"""What documents share: as the task says, as is known of its data, and never of text that is not there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness import clusters
from harness.errors import HarnessError
from harness.task_data import DataSource
from harness.tasks import Catalogue


def task(**metadata: Any) -> Any:
    return SimpleNamespace(config=SimpleNamespace(task="mine", metadata=metadata or None))


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
    asked, source = {"article": "A", "topic": "B"}, of("EleutherAI/race", "high")
    own = clusters.key(task(cluster="{{topic}}"), source)
    assert own(asked) != clusters.key(task(), source)(asked)


def test_a_known_data_set_with_other_columns_has_no_clusters() -> None:
    assert clusters.key(task(), of("EleutherAI/race", "high"))({"passage": "A"}) is None


@pytest.mark.parametrize("template", ["{{article}}", "{{question.nothing()}}", "{{question", "{{question | nothing}}"])
def test_a_template_that_cannot_be_rendered_is_told_with_its_task(template: str) -> None:
    with pytest.raises(HarnessError, match=r"metadata\.cluster of task mine cannot be rendered"):
        clusters.key(task(cluster=template), None)({"question": "?"})


@pytest.mark.parametrize(
    ("name", "documents", "clustered", "largest"),
    [
        # Counted in the data sets' own columns, by hand.
        ("c3", 3816, 450, 6),
        ("ocnli", 2950, 641, 5),
        ("adgen", 1070, 32, 21),
        ("iepile_re", 72, 6, 12),
        ("lawbench_2_5", 500, 1, 2),
        ("lawbench_3_2", 500, 22, 2),
        ("lawbench_3_5", 500, 0, 1),
        ("agieval_sat_en", 206, None, None),
    ],
)
def test_real_data_have_the_clusters_that_their_columns_show(
    name: str, documents: int, clustered: int | None, largest: int | None, data: Any
) -> None:
    tasks = Catalogue().load([name], data)
    keys = list(map(clusters.key(tasks.tasks[name], tasks.sources[name]), tasks.tasks[name].eval_docs))
    counts = {one: keys.count(one) for one in {*keys}}
    assert None not in counts
    assert len(keys) == documents
    if clustered is None:  # 206 questions on four dozen passages
        assert 40 <= len(counts) <= 50
        return
    assert sum(count > 1 for count in counts.values()) == clustered
    assert max(counts.values()) == largest


def test_the_same_cases_are_one_cluster_in_several_tasks_of_lawbench(data: Any) -> None:
    names = ("lawbench_3_1", "lawbench_3_4", "lawbench_3_5", "lawbench_one_shot_3_4")
    tasks = Catalogue().load(names, data)
    found = [{*map(clusters.key(task, tasks.sources[name]), task.eval_docs)} for name, task in tasks.tasks.items()]
    assert [len(keys) for keys in found] == [500] * 4
    assert found[0] == found[1] == found[2] == found[3]
