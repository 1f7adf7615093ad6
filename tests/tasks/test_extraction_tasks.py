"""Entities, relations and events in KnowLM's formats: documents, prompts, scores and reports."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.backends.local import HarnessLM
from harness.checkpoints.reference import parse
from harness.cli.views import samples, tables
from harness.common import console
from harness.errors import HarnessError
from harness.metrics.extraction.documents import parse_answer
from harness.metrics.extraction.schemas import DUEE, DUIE
from harness.reports import report as reports
from harness.reports.breakdown import breakdowns
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.task import Task
from support import mirrors, tiny

# The invented texts contain what can go wrong: template braces, quotes, commas, and brackets inside names.
CLUENER = [
    {
        "text": "林晚在 {{青石镇}} 卖《灯,塔》。",
        "entities": [("name", "林晚", 0), ("address", "青石镇", 6), ("book", "《灯,塔》", 13)],
    },
    {"text": "今天没有人来。", "entities": []},
    {
        "text": "老周是钟表(修理)匠，林晚也是。",
        "entities": [("name", "老周", 0), ("position", "钟表(修理)匠", 3), ("name", "林晚", 11)],
    },
    {"text": "今天没有人来。", "entities": []},
]
TAGGED = [
    {"id": "0", "tokens": list("老周去青石镇邮局"), "ner_tags": [1, 2, 0, 3, 4, 4, 4, 4]},
    {"id": "1", "tokens": list("甲乙"), "ner_tags": [5, 5]},
]
ENGLISH = [
    {"id": "0", "tokens": ["Ada", "Finch", "of", "Port", "Mill"], "ner_tags": [1, 2, 0, 5, 6]},
    {"id": "1", "tokens": ["Milish", "bread"], "ner_tags": [7, 0]},
]
DUIE_ROWS = [
    {
        "text": "林晚主演的《灯塔》在青石镇上映。",
        "spo_list": [
            {"subject": "灯塔", "predicate": "主演", "object": [("@value", "林晚")]},
            {"subject": "灯塔", "predicate": "上映时间", "object": [("inArea", "青石镇"), ("@value", "去年")]},
        ],
    }
]
DUEE_ROWS = [
    {
        "text": "林晚从邮局辞职，老周也走了。",
        "event_list": [
            {
                "event_type": "组织关系-辞/离职",
                "trigger": "辞职",
                "arguments": [("离职者", "林晚"), ("原所属组织", "邮局")],
            },
            {"event_type": "组织关系-辞/离职", "trigger": "走", "arguments": [("离职者", " 老周")]},
        ],
    }
]
SIX = ["cluener", "peoples_daily_ner", "msra_ner", "conll2003_ner", "duie", "duee"]
EVERY = [*SIX, "cluener_sentences", "cluener_key_value", "cluener_json", "conll2003_ner_json", "duie_json", "duee_json"]


REST = [name for name in EVERY if name != "cluener"]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    cluener = [
        {
            "text": row["text"],
            "entities": [{"type": t, "text": x, "start": s, "end": s + len(x) - 1} for t, x, s in row["entities"]],
        }
        for row in CLUENER
    ]
    mirrors.write(folder, "CLUEbenchmark/CLUENER2020", "data", train=cluener[::-1], validation=cluener)
    mirrors.write(folder, "peoples-daily-ner/peoples_daily_ner", "data", test=TAGGED)
    mirrors.write(folder, "levow/msra_ner", "data", test=TAGGED)
    mirrors.write(folder, "eriktks/conll2003", "conll2003", train=ENGLISH, validation=ENGLISH, test=ENGLISH)
    duie = [
        {
            "text": row["text"],
            "spo_list": [
                {
                    **triple,
                    "subject_type": "",
                    "object": [{"role": r, "value": v, "type": ""} for r, v in triple["object"]],
                }
                for triple in row["spo_list"]
            ],
        }
        for row in DUIE_ROWS
    ]
    mirrors.write(folder, "baidu/DuIE2.0", "duie", train=duie, validation=duie)
    duee = [
        {
            "text": row["text"],
            "event_list": [
                {**event, "arguments": [{"role": r, "argument": a, "alias": [""]} for r, a in event["arguments"]]}
                for event in row["event_list"]
            ],
        }
        for row in DUEE_ROWS
    ]
    mirrors.write(folder, "baidu/DuEE1.0", "duee", validation=duee)
    return folder


@pytest.fixture(scope="module")
def tasks(mirror: Path) -> dict[str, Any]:
    return mirrors.tasks(EVERY, mirror)


CLUENER_TYPES = ["地址", "书名", "公司", "游戏", "政府", "电影", "姓名", "组织机构", "职位", "景点"]
TYPES = str(CLUENER_TYPES)
FIRST = f"已知候选的实体类型列表：{TYPES}，请你根据实体类型列表，从以下输入中抽取出可能存在的实体。请按照"
PROMPTS = {
    "cluener": FIRST + '"(实体,实体类型)"的格式回答。\n输入：林晚在 {{青石镇}} 卖《灯,塔》。\n输出：',
    "cluener_json": FIRST
    + "JSON字符串[{'entity':'', 'entity_type':''}, ]的格式回答。\n输入：林晚在 {{青石镇}} 卖《灯,塔》。\n输出：",
    "msra_ner": FIRST.replace(TYPES, "['人物', '地理位置', '组织机构']")
    + '"(实体,实体类型)"的格式回答。\n输入：老周去青石镇邮局\n输出：',
    "conll2003_ner": "Identify the entities and types in the following text and where entity type list ['person', "
    "'location', 'organization', 'miscellaneous']. Please provide your answerin the form of (Entity, Type).\n"
    "Input: Ada Finch of Port Mill\nOutput:",
}
ANSWERS = {
    "cluener": "输入中包含的实体是：\n(林晚,姓名),(青石镇,地址),(《灯,塔》,书名)",
    "cluener_sentences": "输入中包含的实体是：\n实体是林晚\n实体类型是姓名\n\n实体是青石镇\n实体类型是地址\n\n"
    "实体是《灯,塔》\n实体类型是书名\n\n",
    "cluener_key_value": "输入中包含的实体是：\n姓名：林晚\n地址：青石镇\n书名：《灯,塔》\n",
    "cluener_json": "输入中包含的实体是：\n[{'entity': '林晚', 'entity_type': '姓名'}, "
    "{'entity': '青石镇', 'entity_type': '地址'}, {'entity': '《灯,塔》', 'entity_type': '书名'}]",
    "peoples_daily_ner": "输入中包含的实体是：\n(老周,人物),(青石镇邮局,组织机构)",
    "msra_ner": "输入中包含的实体是：\n(老周,人物),(青石镇邮局,组织机构)",
    "conll2003_ner": "(Ada Finch, person),(Port Mill, location)",
    "conll2003_ner_json": "[{'Entity': 'Ada Finch', 'Type': 'person'}, {'Entity': 'Port Mill', 'Type': 'location'}]",
    "duie": "输入中包含的关系三元组是：\n(灯塔,主演,林晚),(灯塔,上映时间,去年)",
    "duie_json": "输入中包含的关系三元组是：\n[{'head': '灯塔', 'relation': '主演', 'tail': '林晚'}, {'head': '灯塔', "
    "'relation': '上映时间', 'tail': '去年'}]",
    "duee": "输入中包含的事件是：\n(辞职,组织关系-辞/离职,[(林晚,离职者),(邮局,原所属组织)]),"
    "(走,组织关系-辞/离职,[(老周,离职者)])",
    "duee_json": "输入中包含的事件是：\n[{'event_trigger': '辞职', 'event_type': '组织关系-辞/离职', 'arguments': "
    "[{'argument': '林晚', 'role': '离职者'}, {'argument': '邮局', 'role': '原所属组织'}]}, "
    "{'event_trigger': '走', 'event_type': '组织关系-辞/离职', 'arguments': [{'argument': '老周', 'role': '离职者'}]}]",
}


@pytest.mark.parametrize("name", PROMPTS)
def test_the_prompt_is_knowlms_instruction_and_the_text(tasks, name):
    assert mirrors.requests(tasks[name])[0][0] == PROMPTS[name]


@pytest.mark.parametrize("name", EVERY)
def test_targets_are_written_as_knowlm_writes_them(tasks, name):
    task = tasks[name]
    assert task.doc_to_target(task.eval_docs[0]) == ANSWERS[name]


def test_prompts_have_all_types_and_roles(tasks):
    roles = [role for roles in DUEE.values() for role in roles]
    for name, listed in (("duie", DUIE), ("duee", DUEE), ("duee", roles)):
        prompt = mirrors.requests(tasks[name])[0][0]
        assert all(f"'{item}'" in prompt for item in listed)


def test_examples_are_drawn_from_the_training_split(mirror):
    task = mirrors.task("conll2003_ner", mirror, num_fewshot=1)
    prompt = mirrors.requests(task)[0][0]
    assert prompt.count("Input: ") == 2
    examples = [
        "Milish bread\nOutput: (Milish, miscellaneous)",
        f"Ada Finch of Port Mill\nOutput: {ANSWERS['conll2003_ner']}",
    ]
    assert any(f"Input: {example}\n\nIdentify the entities" in prompt for example in examples)
    with pytest.raises(HarnessError, match=r"few-shot examples are drawn from the split 'train', which .* lacks"):
        mirrors.task("duee", mirror, num_fewshot=1)


def answered(task: Any, answers: list[str]) -> dict[str, list[Any]]:
    """Return the values of each metric for these answers to the documents of `task`."""
    task.build_all_requests()
    for instance, text in zip(task.instances, answers, strict=True):
        instance.resps = [text]
    task.apply_filters()
    values: dict[str, list[Any]] = {}
    for instance in task.instances:
        for name, value in task.process_results(instance.doc, [instance.filtered_resps["none"]]).items():
            values.setdefault(name, []).append(value)
    return values


@pytest.mark.parametrize("name", EVERY)
def test_right_answers_score_1_in_every_metric_of_a_task(tasks, name):
    task = tasks[name]
    values = answered(task, [task.doc_to_target(doc) for doc in task.eval_docs])
    stated = {metric.name: metric for metric in Task(task).metrics}
    assert set(values) == set(stated)
    for metric, of_documents in values.items():
        assert task.aggregation()[metric](of_documents) == (0 if metric == "unparsed" else 1)
        assert stated[metric].fraction
    assert ("kg2instruction_f1" in stated) == (name not in ("cluener_json", "conll2003_ner_json", "duee", "duee_json"))


def test_scores_of_entities(tasks):
    answers = ["(林晚,姓名),(青石镇,景点),(林晚,姓名)", "我不知道", "输入中包含的实体是：\n姓名：老周\n", "(今天,时间)"]
    values = answered(tasks["cluener"], answers)
    assert values["micro_f1"] == [(2, 5), (0, 0), (2, 4), (0, 1)]
    assert values["precision"] == [(1, 2), (0, 0), (1, 1), (0, 1)]
    assert values["recall"] == [(1, 3), (0, 0), (1, 3), (0, 0)]
    assert values["unparsed"] == [0, 1, 0, 0]
    assert values["macro_f1"][0] == {"姓名": [1, 1, 1], "地址": [0, 0, 1], "书名": [0, 0, 1], "景点": [0, 1, 0]}
    # kg2instruction does not expect what it cannot read from the right answer: the book with a comma. Of equal texts,
    # only the last counts.
    assert values["kg2instruction_f1"] == [(2, 4), (2, 3), (0, 1)]
    assert tasks["cluener"].aggregation()["macro_f1"](values["macro_f1"]) == pytest.approx((1 * 4 / 5 + 0 + 0 + 0) / 4)


def test_scores_of_events_and_arguments(tasks):
    answer = "(辞职,组织关系-辞/离职,[(林晚,离职者),(老周,离职者)]),(走,组织关系-退出,[(邮局,原所属组织)])"
    values = answered(tasks["duee"], [answer])
    assert values["event_f1"] == [(2, 4)]
    assert values["argument_f1"] == [(4, 6)]  # compared by the type of the event, not by its trigger
    assert values["kg2instruction_event_f1"] == [(2, 4)]
    assert values["kg2instruction_argument_f1"] == [(2, 6)]
    assert values["event_macro_f1"] == [{"组织关系-辞/离职": [1, 1, 2], "组织关系-退出": [0, 1, 0]}]


def test_a_parsed_answer_is_json(tasks):
    task = tasks["cluener"]
    document = task.eval_docs[0]
    assert parse_answer("(林晚,姓名)", document) == '[["林晚", "姓名"]]'
    assert parse_answer("不知道", document) == "null"
    both = json.loads(parse_answer("(灯,塔,书名)", document))
    assert both == {"records": [["灯,塔", "书名"]], "kg2instruction": []}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("checkpoint") / "tiny", context=16_384)


def test_a_checkpoint_that_knows_nothing_is_evaluated_on_all_of_them(mirror, checkpoint, tmp_path):
    options = Options(tasks=("extraction", *EVERY[len(SIX) :]), output=tmp_path, data=mirror, max_gen_toks=6)
    [report] = run([parse(str(checkpoint))], options)
    assert set(report.manifest.tasks) == set(EVERY)
    scores = {(score.task, score.metric): score for score in report.manifest.scores}
    assert scores["extraction/entities", "micro_f1"].members == SIX[:4]
    for name in EVERY:
        rows = report.samples(name)
        assert next(iter(rows["prompt"])) == mirrors.requests(mirrors.task(name, mirror))[0][0]
        assert next(iter(rows["target"])) == ANSWERS[name]
        assert all(len(responses) == 1 for responses in rows["responses"])
        assert all(isinstance(json.loads(text), list | dict | None) for text in rows["prediction"])
        assert scores[name, "unparsed"].n == len(rows)


@pytest.fixture(scope="module")
def knowing(mirror: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> reports.Report:
    """A report of answers to CLUENER's third document only, in which 林晚 is mistaken for a place."""

    def answer(_: Any, requests: list[Any], **__: Any) -> list[str]:
        answer_text = "(老周,姓名),(钟表(修理)匠,职位),(林晚,地址)"
        return [answer_text if "老周" in request.args[0] else "NAN" for request in requests]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HarnessLM, "generate_until", answer)
        options = Options(tasks=("cluener",), output=tmp_path_factory.mktemp("knowing"), data=mirror)
        [report] = run([parse(str(checkpoint))], options)
    return report


def test_a_report_has_prompts_responses_parsed_answers_and_scores(knowing):
    row = knowing.samples("cluener").iloc[2]
    assert "老周是钟表(修理)匠" in row["prompt"]
    assert list(row["responses"]) == ["(老周,姓名),(钟表(修理)匠,职位),(林晚,地址)"]
    assert json.loads(row["prediction"])["records"] == [["老周", "姓名"], ["钟表(修理)匠", "职位"], ["林晚", "地址"]]
    assert json.loads(row["micro_f1"]) == [4, 6]
    scores = {score.metric: score for score in knowing.manifest.scores}
    assert scores["micro_f1"].value == pytest.approx(2 * 2 / (3 + 6))
    assert scores["micro_f1"].primary
    assert scores["micro_f1"].low is not None


@pytest.mark.parametrize(("width", "costs"), [(80, False), (120, True)])
def test_metric_names_are_complete_in_a_narrow_terminal(knowing, monkeypatch, width, costs):
    out = console.Console(width=width, record=True, file=io.StringIO())
    monkeypatch.setattr(console, "create", lambda **_: out)
    tables.show_report(knowing)
    output = out.export_text()
    for score in knowing.manifest.scores:
        assert f"│ cluener │ {score.metric}" in output
    assert ("┃ tokens ┃" in output) == costs


def test_the_terminal_shows_samples_with_their_parsed_answers(knowing, capsys):
    samples.show_samples(knowing, "wrong", None, 20)
    output = capsys.readouterr().out
    assert "cluener: 2 of 4 samples are wrong" in output
    assert "answered (老周,姓名),(钟表(修理)匠,职位),(林晚,地址)" in output
    assert '["钟表(修理)匠", "职位"]' in output
    assert "micro_f1 0.6667   precision 0.6667   recall 0.6667   kg2instruction_f1 0.5   unparsed 0" in output


def test_a_report_has_its_scores_by_type(knowing):
    [breakdown] = breakdowns(reports.read(knowing.folder))
    assert (breakdown.task, breakdown.metric) == ("cluener", "macro_f1")
    assert breakdown.types == {"姓名": (1, 1, 3), "地址": (0, 1, 1), "职位": (1, 1, 1), "书名": (0, 0, 1)}
    assert next(iter(breakdown.types)) == "姓名"
    macro = {score.metric: score.value for score in knowing.manifest.scores}["macro_f1"]
    assert macro == pytest.approx(sum(counts.f1 for counts in breakdown.types.values()) / 4)


def test_the_terminal_shows_scores_by_type(knowing, capsys):
    tables.show_report(knowing)
    output = capsys.readouterr().out
    assert "cluener, macro_f1 by type" in output
    [line] = [line for line in output.splitlines() if "姓名" in line]
    assert line.replace("│", " ").split() == ["姓名", "50.0", "%", "100.0", "%", "33.3", "%", "1", "1", "3"]
    [line] = [line for line in output.splitlines() if "书名" in line]
    assert line.replace("│", " ").split() == ["书名", "0.0", "%", "–", "0.0", "%", "0", "0", "1"]


KNOWN = {
    "cluener": dict(zip(CLUENER_TYPES, (373, 154, 378, 295, 247, 151, 465, 367, 433, 209), strict=True)),
    "conll2003_ner": {"location": 1668, "miscellaneous": 702, "organization": 1661, "person": 1617},
}
"""Published numbers of entities: CLUENER2020's development set, CoNLL-2003's English test set."""


@pytest.mark.data
@pytest.mark.parametrize("name", ["cluener", *(pytest.param(name, marks=pytest.mark.oracle) for name in REST)])
def test_right_answers_reach_the_ceiling_on_real_data(data, name):
    """Where numbers of entities were published, the documents have the same numbers."""
    task = mirrors.task(name, data)
    primary = Task(task).metrics[0].name
    documents = list(task.eval_docs)
    parsed = [parse_answer(doc["answer"], doc) for doc in documents]
    values = [task.process_results(doc, [text])[primary] for doc, text in zip(documents, parsed, strict=True)]
    assert task.aggregation()[primary](values) == pytest.approx(task.config.metadata["ceiling"], abs=5e-5)
    if name in KNOWN:
        assert Counter(kind for doc in documents for _, kind in json.loads(doc["records"])) == KNOWN[name]


@pytest.mark.data
def test_types_and_roles_are_those_of_the_data(data):
    relations = pq.read_table(data / "baidu/DuIE2.0/schema/train-00000-of-00001.parquet")["predicate"].to_pylist()
    assert list(DUIE) == relations
    events = pq.read_table(data / "baidu/DuEE1.0/schema/train-00000-of-00001.parquet").to_pylist()
    assert {row["event_type"]: tuple(row["role_list"]) for row in events} == DUEE
