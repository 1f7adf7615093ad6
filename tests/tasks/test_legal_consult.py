"""Lawyer LLaMA's consultations: prompts, byte for byte, parsed and scored answers, and articles that a run supplies."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from harness.metrics.law.consultation import format_record
from harness.metrics.stats.estimates import ratio
from harness.recorded.score import Scoring, score
from harness.retrieval.articles import add_to_tasks
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.catalogue import Catalogue
from harness.tasks.task import Task
from support import mirrors, mirrors_of_law, tiny

TASKS = ("legal_consult", "legal_consult_no_articles", "legal_consult_multi_turn")
WITH = (
    "你是人工智能法律助手“Lawyer LLaMA”，能够回答与中国法律相关的问题。"
    '请参考给出的"参考法条"，回复用户的咨询问题。"参考法条"中可能存在与咨询无关的法条，请回复时不要引用这些无关的法条。\n'
    "### Human: 渡船多久检验一次？\n"
    "### 参考法条: 《渡口法》第一条：渡船每年检验一次。\n"
    "《渡口法》第二条：行人依次上船。\n"
    "《渡口法》第三条：船工应当登记。\n"
    "### Assistant: "
)
WITHOUT = (
    "你是人工智能法律助手“Lawyer LLaMA”，能够回答与中国法律相关的问题。\n### Human: 渡船多久检验一次？\n### Assistant: "
)
CONVERSATION = (
    "你是人工智能法律助手“Lawyer LLaMA”，能够回答与中国法律相关的问题。"
    '请参考给出的"参考法条"，回复用户的咨询问题。"参考法条"中可能存在与咨询无关的法条，请回复时不要引用这些无关的法条。\n'
    "### Human: 渡船多久检验一次？\n"
    "### Assistant: 依据《渡口法》第一条，每年一次。\n"
    "### Human: 谁来检验？\n"
    "### 参考法条: 《渡口法》第一条：渡船每年检验一次。\n"
    "《渡口法》第二条：行人依次上船。\n"
    "《渡口法》第三条：船工应当登记。\n"
    "### Assistant: "
)


@pytest.fixture
def mirror(tmp_path):
    return mirrors_of_law.write(tmp_path / "data")


@pytest.mark.parametrize(("name", "prompt"), [*zip(TASKS, (WITH, WITHOUT, CONVERSATION), strict=True)])
def test_the_prompt_is_lawyer_llama_s(mirror, name, prompt):
    [first, *_] = mirrors.requests(mirrors.task(name, mirror))
    assert first[0] == prompt
    assert first[1] == {"until": [], "do_sample": False, "repetition_penalty": 1.1, "max_gen_toks": 400}


def test_a_clients_text_is_unchanged(mirror):
    [_, second, _] = mirrors.requests(mirrors.task("legal_consult_no_articles", mirror))
    assert "### Human: 结冰了还能过河吗 {{x}} \n### Assistant: " in second[0]


def test_the_target_is_the_lawyers_last_turn(mirror):
    built = mirrors.task("legal_consult_multi_turn", mirror)
    assert [built.doc_to_target(doc) for doc in built.eval_docs] == [
        "乡镇的检验员。\n还有什么问题吗？",
        "渡口关闭，见《渡口法》第四条。",
    ]
    [_, second] = mirrors.requests(built)
    assert second[0].endswith(
        "### Human: 结冰了怎么办？\n### 参考法条: "
        + "\n".join(mirrors_of_law.ARTICLES[index] for index in (3, 1, 0))
        + "\n### Assistant: "
    )


def answered(built, *answers):
    """Return the records of `answers` to the documents of a task, and their scores."""
    built.build_all_requests()
    for instance, answer in zip(built.instances, answers, strict=True):
        instance.resps = [answer]
    built.apply_filters()
    records = [instance.filtered_resps["none"] for instance in built.instances]
    return records, [built.process_results(doc, [text]) for doc, text in zip(built.eval_docs, records, strict=True)]


def test_answers_are_parsed_as_records_and_scored(mirror):
    built = mirrors.task("legal_consult", mirror)
    records, scored = answered(
        built, "每年一次，见《渡口法》第一条、第三条。", "不知道。", "依据民法典第一千三百条办理。"
    )
    assert json.loads(records[0]) == {
        "citations": ["《渡口法》第1条", "《渡口法》第3条"],
        "answer": "每年一次，见《渡口法》第一条、第三条。",
    }
    pairs = {name: [values[name] for values in scored if name in values] for name in built.aggregation()}
    assert pairs["citation_f1"] == [(2, 3), (0, 1)]  # the third reference cites nothing
    assert (pairs["abstains"], pairs["fabricated"], pairs["redundant"]) == ([0, 1, 0], [0, 1], [1])
    assert built.aggregation()["citation_f1"](pairs["citation_f1"]) == ratio([(2, 3), (0, 1)]) == 1 / 2
    assert not any(built.higher_is_better()[name] for name in ("abstains", "fabricated", "mistitled", "redundant"))
    assert set(built.config.metadata["fractions"]) == set(built.aggregation())


def test_a_quotation_of_an_article_of_another_document_is_found(mirror):
    built = mirrors.task("legal_consult_no_articles", mirror)
    _, scored = answered(built, "", "", "《渡口法》第三条规定，冬天结冰的时候，渡口关闭。")
    assert scored[2]["mistitled"] == 0  # thirteen letters may be chance
    long = [{"query": "问", "laws": ["《渡口法》第一条：乡镇的检验员每年应当检验渡船一次。"], "response": ""}]
    mirrors.write(mirror, "AndrewZhe/lawyer-llama", "legal_counsel_with_article_v2", train=long)
    _, scored = answered(
        mirrors.task("legal_consult", mirror), "《渡口法》第二百条规定，乡镇的检验员每年应当检验渡船一次。"
    )
    assert scored[0]["mistitled"] == 0  # the text of article 200 is not known
    mirrors.write(
        mirror,
        "AndrewZhe/lawyer-llama",
        "legal_counsel_with_article_v2",
        train=[*long, {"query": "二", "laws": ["《渡口法》第二百条：甲。"], "response": ""}],
    )
    _, scored = answered(
        mirrors.task("legal_consult", mirror), "《渡口法》第二百条规定，乡镇的检验员每年应当检验渡船一次。", ""
    )
    assert scored[0]["mistitled"] == 1


# --- articles that a run supplies -------------------------------------------------------------------------------------


def articles(file, rows):
    lines = (json.dumps({"query": query, "laws": laws}, ensure_ascii=False) for query, laws in rows.items())
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_retrieved_articles_replace_the_tasks_own_in_the_prompt(mirror, tmp_path):
    first, second, third = (row["query"] for row in mirrors_of_law.QUESTIONS)
    file = articles(tmp_path / "a.jsonl", {first: list("甲乙丙丁"), second: [], third: ["《渡口法》第四条：甲"]})
    prompts = {}
    for name in TASKS[:2]:
        built = mirrors.task(name, mirror)
        add_to_tasks([Task(built)], file)
        prompts[name] = [arguments[0] for arguments in mirrors.requests(built)]
        assert built.config.metadata["retrieved"]["file"] == "a.jsonl"
        _, scored = answered(built, "", "", "《渡口法》第三条")
        assert (scored[2]["citation_given"], scored[2]["citation_provided"]) == ((0, 1), (1, 1))
    assert prompts[TASKS[0]] == prompts[TASKS[1]]
    assert prompts[TASKS[0]][0] == WITH.partition("《渡口法》")[0] + "甲\n乙\n丙\n### Assistant: "
    assert "参考法条" not in prompts[TASKS[0]][1]


def test_articles_that_do_not_fit_the_task_are_refused(mirror, tmp_path):
    file = articles(tmp_path / "a.jsonl", {mirrors_of_law.QUESTIONS[0]["query"]: ["甲"]})
    with pytest.raises(
        HarnessError, match=r"no articles for 2 of the 3 questions of task legal_consult, such as '结冰"
    ):
        add_to_tasks([Task(mirrors.task("legal_consult", mirror))], file)
    with pytest.raises(HarnessError, match="--articles is for tasks that put articles into their prompts"):
        add_to_tasks([Task(object())], file)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("law")
    mirrors_of_law.write(folder / "data")
    tiny.llama(folder / "base", context=2048)
    return folder


def test_every_task_runs_and_other_articles_leave_its_documents_the_same(world):
    rows = {row["query"]: [mirrors_of_law.ARTICLES[3]] for row in mirrors_of_law.QUESTIONS}
    rows |= {row["query"]: [] for row in mirrors_of_law.CONVERSATIONS if row["query"] not in rows}
    file = articles(world / "found.jsonl", rows)
    reports = []
    for supplied in (None, file):
        options = Options(tasks=TASKS, output=world / "runs", data=world / "data", max_gen_toks=12, articles=supplied)
        reports += run([parse(str(world / "base"))], options)
    for name in TASKS:
        before, after = (report.samples(name) for report in reports)
        assert list(before["doc_hash"]) == list(after["doc_hash"])
        assert not set(before["prompt_hash"]) & set(after["prompt_hash"])
        answers = [json.loads(text)["answer"] for text in before["prediction"]]
        assert answers == [response for [response] in before["responses"]]
        hashes = [report.manifest.tasks[name].prompt_hash for report in reports]
        assert hashes[0] != hashes[1]
        scores = {score.metric: score for score in reports[0].manifest.scores if score.task == name}
        assert scores["rougeL_jieba"].primary
        assert scores["rougeL_jieba"].n == scores["abstains"].n == len(before)
        assert all(score.fraction for score in scores.values())
    note = "prompts with articles of law use those of found.jsonl"
    assert [note in report.manifest.notes for report in reports] == [False, True]
    config = json.loads((reports[1].folder / "results.json").read_text(encoding="utf-8"))["configs"]["legal_consult"]
    assert set(config["metadata"]["retrieved"]) == {"file", "sha256"}
    # When answers are scored again, their prompts' articles must be supplied again.
    again = Scoring(reports[1].folder, world / "again", data=world / "data")
    with pytest.raises(HarnessError, match="name that file with --articles"):
        next(score(again))
    with pytest.raises(HarnessError, match="name that file with --articles"):
        next(score(replace(again, articles=articles(world / "others.jsonl", {**rows, "": []}))))
    (scored,) = score(replace(again, articles=file))
    assert scored.manifest.scores == reports[1].manifest.scores


def test_a_copy_with_other_columns_is_refused(mirror):
    mirrors.write(mirror, "AndrewZhe/lawyer-llama", "legal_counsel_with_article_v2", train=[{"query": "问", "law": []}])
    with pytest.raises(HarnessError, match=r"has no split or column 'laws'"):
        mirrors.task("legal_consult", mirror)


@pytest.mark.data
def test_scores_of_the_reference_answers(data):
    """Of the 1,000 reference answers, 656 cite an article, and five cite one that does not exist."""
    task = Catalogue().load(["legal_consult"], data).tasks["legal_consult"].lm_eval
    scored = [task.process_results(doc, [format_record(doc["response"])]) for doc in task.eval_docs]
    assert sum(1 - values["abstains"] for values in scored) == 656
    assert sum(values.get("fabricated", 0) for values in scored) == 5
    pairs = [values["citation_f1"] for values in scored if "citation_f1" in values]
    assert all(hits == total for hits, total in pairs)
