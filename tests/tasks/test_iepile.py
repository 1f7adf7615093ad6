"""IEPile's samples: unchanged prompts, answers parsed strictly, parts of a document scored together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints.reference import parse
from harness.runs.options import Options
from harness.runs.sweep import run
from support import mirrors, tiny

LABELS = {
    "NER": [{"entity": "林晚", "entity_type": "人物"}, {"entity": "青石镇", "entity_type": "地点"}],
    "RE": [{"head": "林晚", "relation": "出生地", "tail": "青石镇"}],
    "EE": [
        {
            "event_trigger": "走",
            "event_type": "离职",
            "arguments": [{"argument": "林晚", "role": "人"}, {"argument": "老周", "role": "人"}],
        }
    ],
}
LABELS["EET"] = LABELS["EE"]
SCHEMAS: dict[str, list[list[Any]]] = {
    "NER": [["人物", "作品"], ["地点"]],
    "RE": [["出生地"], ["配偶"]],
    "EET": [["离职", "收购"], ["获奖"]],
    "EE": [[{"event_type": "离职", "arguments": ["人", "时间"]}], [{"event_type": "收购", "arguments": ["时间"]}]],
}
ANSWERS = {
    "NER": ['{"人物": ["林晚"], "作品": []}', '{"地点": ["青石镇"]}'],
    "EET": ['{"离职": ["走"], "收购": []}', '{"获奖": []}'],
    "RE": ['{"出生地": [{"subject": "林晚", "object": "青石镇"}]}', '{"配偶": []}'],
    "EE": ['{"离职": [{"trigger": "走", "arguments": {"人": ["林晚", "老周"], "时间": "NAN"}}]}', '{"收购": []}'],
}


def question(schema: list[Any]) -> str:
    return json.dumps(
        {"instruction": "抽取{{甲}}", "schema": schema, "input": "林晚和老周走出青石镇"}, ensure_ascii=False
    )


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    for kind, label in LABELS.items():
        rows = [
            {"id": "x", "instruction": question(schema), "label": json.dumps(label, ensure_ascii=False), "source": None}
            for schema in SCHEMAS[kind]
        ]
        rows.append({**rows[0], "id": "y", "label": "[]", "source": "镇志"})
        mirrors.write(folder, "zjunlp/iepile-samples", kind, test=rows)
    return folder


@pytest.fixture(scope="module")
def tasks(mirror: Path) -> dict[str, Any]:
    return mirrors.tasks(["iepile"], mirror)


def scores(task: Any, answers: list[str]) -> dict[tuple[str, str], float]:
    """Return a task's scores by metric and filter for these answers to its prompts."""
    task.build_all_requests()
    for instance, text in zip(task.instances, answers, strict=True):
        instance.resps = [text]
    task.apply_filters()
    values: dict[tuple[str, str], list[Any]] = {}
    for instance in task.instances:
        for filter_name, parsed in instance.filtered_resps.items():
            for metric, value in task.process_results(instance.doc, [parsed]).items():
                values.setdefault((metric, filter_name), []).append(value)
    return {key: task.aggregation()[key[0]](listed) for key, listed in values.items()}


@pytest.mark.parametrize("kind", LABELS)
def test_prompts_are_those_of_the_data_and_right_answers_score_100(tasks, kind):
    task = tasks[f"iepile_{kind.lower()}"]
    assert [prompt for prompt, _ in mirrors.requests(task)] == [question(SCHEMAS[kind][index]) for index in (0, 1, 0)]
    assert [task.doc_to_target(doc) for doc in task.eval_docs][:2] == ANSWERS[kind]
    values = scores(task, [task.doc_to_target(doc) for doc in task.eval_docs])
    assert {value for (metric, _), value in values.items() if metric != "unparsed"} == {100}


def test_parts_of_a_document_are_scored_together(tasks):
    # A type that the second prompt did not request counts as well: of the two predictions of 林晚, one is a hit.
    values = scores(tasks["iepile_ner"], ['{"人物": ["林晚"]}', '{"人物": ["林晚"], "地点": "青石镇"}', "没有"])
    assert values == {
        ("iepile_precision", "none"): 50.0,
        ("iepile_recall", "none"): 50.0,
        ("iepile_f1", "none"): 50.0,
        ("unparsed", "none"): pytest.approx(1 / 3),
    }


def test_only_the_repaired_filter_accepts_head_and_tail(tasks):
    values = scores(tasks["iepile_re"], ['{"出生地": [{"head": "林晚", "tail": "青石镇"}]}', "{}", "{}"])
    assert values["iepile_f1", "none"] == 0
    assert values["iepile_f1", "repaired"] == 100


def test_arguments_are_compared_without_their_trigger(tasks):
    answer = '{"离职": [{"trigger": "出", "arguments": {"人": ["林晚", "甲"], "时间": "NAN"}}]}'
    values = scores(tasks["iepile_ee"], [answer, "{}", "{}"])
    assert (values["iepile_event_f1", "none"], values["iepile_argument_f1", "none"]) == (0, 50)


def test_a_checkpoint_that_knows_nothing_is_evaluated(mirror, tmp_path):
    base = tiny.llama(tmp_path / "tiny", context=2048)
    [report] = run([parse(str(base))], Options(("iepile",), tmp_path / "out", data=mirror, max_gen_toks=4))
    values = {(score.task, score.metric, score.filter): score for score in report.manifest.scores}
    assert values["iepile_ner", "iepile_f1", "none"].value == 0
    assert values["iepile_re", "unparsed", "repaired"].value == 1
    assert values["iepile_ee", "iepile_argument_f1", "none"].primary is False
    rows = report.samples("iepile_ner")
    assert set(rows["prediction"]) == {"null"}
    assert json.loads(rows["iepile_f1"][0])[2] == [["林晚", "人物"], ["青石镇", "地点"]]
