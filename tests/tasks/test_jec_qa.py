"""JEC-QA: AGIEval's prompt, byte for byte, two ways to parse an answer, and the six scores, compared with a recount."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.metrics.answers import choices
from harness.recorded.score import Scoring, score
from support import mirrors, scripted

QUERY = "问题：小河上{{ 能 }}行船的是____? 选项：(A)竹筏 (B)石磨 (C)木船 (D)铁锅\n答案：从A到D, 我们应选择"


def question(number: int, *gold: int) -> dict[str, Any]:
    options = [f"({letter})第{number}号{name}" for letter, name in zip("ABCD", "竹石木铁", strict=True)]
    query = f"问题：第{number}题? 选项：{' '.join(options)}\n答案：从A到D, 我们应选择"
    return {"query": query, "choices": options, "gold": list(gold)}


KNOWLEDGE = [question(0, 1), question(1, 0, 2), question(2), question(3, 3), question(4, 0, 1, 2, 3), question(5, 2)]
CASES = [
    question(number, *gold) for number, gold in enumerate([(0,), (1, 3), (1,), (2, 3), (3,), (0, 1), (2,), (1,)], 6)
]
ANSWERS = ["B", "A、C", "", "选D", "ABC", "(B)", "我选A", "应选择B和D。", "B", "C、D", "D项", "(A)(C)", "无", "FB"]


@pytest.fixture
def mirror(tmp_path):
    mirrors.write(tmp_path / "data", "hails/agieval-jec-qa-kd", "default", test=KNOWLEDGE)
    mirrors.write(tmp_path / "data", "hails/agieval-jec-qa-ca", "default", test=CASES)
    return tmp_path / "data"


def test_the_prompt_is_agievals_query_unchanged(tmp_path):
    row = {"query": QUERY, "choices": ["(A)竹筏", "(B)石磨", "(C)木船", "(D)铁锅"], "gold": [0, 2]}
    mirrors.write(tmp_path, "hails/agieval-jec-qa-kd", "default", test=[row])
    built = mirrors.task("jec_qa_kd", tmp_path)
    settings = {"until": ["\n问题："], "do_sample": False, "max_gen_toks": 512}
    assert mirrors.requests(built) == [(QUERY, settings)]
    assert built.doc_to_target(built.eval_docs[0]) == "AC"


@pytest.mark.parametrize(
    ("response", "agieval", "disc_law"),
    [
        ("B", "B", "B"),
        ("A、C", "AC", "AC"),
        ("应选择BD。", "BD", "BD"),
        ("因为DNA鉴定，答案是A、C。", "ACD", "AC"),
        ("都不对", "", ""),
        ("E或F", "EF", ""),
    ],
)
def test_an_answer_is_parsed_in_two_ways(mirror, response, agieval, disc_law):
    built = mirrors.task("jec_qa_kd", mirror)
    built.build_all_requests()
    for instance in built.instances:
        instance.resps = [response]
    built.apply_filters()
    assert built.instances[0].filtered_resps == {"agieval": agieval, "disc-law": disc_law}
    assert choices.agieval_letters(response) == set(agieval)


def test_a_question_without_a_right_option_is_never_answered_right(mirror):
    built = mirrors.task("jec_qa_kd", mirror)
    for letters in ("", "A", "ABCD"):
        assert built.process_results(KNOWLEDGE[2], [letters]) == {"exact_set": 0.0}


def test_the_six_numbers_are_those_of_a_recount(mirror, tmp_path, monkeypatch):
    responses = {row["query"]: answer for row, answer in zip([*KNOWLEDGE, *CASES], ANSWERS, strict=True)}
    report = scripted.report(monkeypatch, tmp_path, mirror, responses, "jec_qa")
    values = {
        (score.task, score.metric): (score.value, score.n)
        for score in report.manifest.scores
        if score.filter == "agieval"
    }
    answers = {}
    for name, rows in (("jec_qa_kd", KNOWLEDGE), ("jec_qa_ca", CASES)):
        samples = report.samples(name)
        samples = samples[samples["filter"] == "agieval"].sort_values("doc_id")
        assert [*samples["doc_id"]] == [*range(len(rows))]
        answers[name] = [
            (set(row["gold"]), {"ABCDEF".index(letter) for letter in texts[0] if letter in "ABCDEF"})
            for row, texts in zip(rows, samples["responses"], strict=True)
        ]
    answers["jec_qa"] = answers["jec_qa_kd"] + answers["jec_qa_ca"]
    assert any(chosen == gold for gold, chosen in answers["jec_qa"] if len(gold) > 1)
    for name, pairs in answers.items():
        single = [(gold, chosen) for gold, chosen in pairs if len(gold) == 1]
        for metric, counted in (("exact_set", pairs), ("exact_set_single", single)):
            right = sum(bool(gold) and chosen == gold for gold, chosen in counted)
            assert values[name, metric] == (pytest.approx(right / len(counted)), len(counted)), (name, metric)
    # A mean of the halves' means, or one weighted by the number of all their questions, would differ.
    halves = [values[name, "exact_set_single"] for name in ("jec_qa_kd", "jec_qa_ca")]
    assert halves == [(pytest.approx(2 / 3), 3), (pytest.approx(3 / 5), 5)]
    assert values["jec_qa", "exact_set_single"] == (pytest.approx(5 / 8), 8)


def test_two_files_of_answers_give_all_six_numbers(mirror, tmp_path):
    answers = dict(zip(("jec_qa_kd", "jec_qa_ca"), (ANSWERS[: len(KNOWLEDGE)], ANSWERS[len(KNOWLEDGE) :]), strict=True))
    for name, texts in answers.items():
        lines = (json.dumps({"id": index, "prediction": text}) for index, text in enumerate(texts))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (report,) = score(Scoring(tmp_path, tmp_path / "out", data=mirror))
    scores = [score for score in report.manifest.scores if score.filter == "agieval"]
    values = {(score.task, score.metric): score.value for score in scores}
    assert {task for task, _ in values} == {"jec_qa", *answers}
    assert values["jec_qa", "exact_set_single"] == pytest.approx(5 / 8)


def test_a_checkpoint_answers_it(mirror, tmp_path):
    report = scripted.answered(tmp_path, mirror, "jec_qa", max_gen_toks=8)
    samples = report.samples("jec_qa_kd")
    assert len(samples) == 2 * len(KNOWLEDGE)
    assert {*samples["target"]} == {"B", "AC", "", "D", "ABCD", "C"}
    assert samples["exact_set_single"].isna().sum() == 6
