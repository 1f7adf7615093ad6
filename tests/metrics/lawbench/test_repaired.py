"""LawBench's repaired metrics on answers made by hand, next to upstream's scores of these, and by their properties."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.lawbench import published, repaired
from harness.metrics.lawbench.labels import CHARGES
from harness.metrics.lawbench.published import SCORERS, character_f1
from harness.metrics.lawbench.repaired import REPAIRED_SCORERS
from support.lawbench_references import REFERENCES

CASES = [json.loads(line) for line in (Path(__file__).parent / "repaired.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['task']}:{case['prediction'][:12]}")
def test_answers_made_by_hand(case: dict[str, object]) -> None:
    task, prediction, reference = (str(case[key]) for key in ("task", "prediction", "reference"))
    upstream, answer = SCORERS[task](prediction, reference), REPAIRED_SCORERS[task](prediction, reference)
    for score, expected in ((upstream.score, case["upstream"]), (answer.score, case["repaired"])):
        assert score == (None if expected is None else pytest.approx(expected))
    assert answer.abstained == case["abstained"]


def test_every_repair_has_cases_that_it_changes_and_cases_that_it_does_not() -> None:
    for task in REPAIRED_SCORERS:
        are_equal = {case["upstream"] == case["repaired"] for case in CASES if case["task"] == task}
        assert are_equal == {False, True}, task


@pytest.mark.data
@pytest.mark.parametrize("task", sorted(REPAIRED_SCORERS))
def test_a_copy_of_the_reference_scores_1(data: Path, task: str) -> None:
    [file] = (data / "open-compass" / "LawBench" / task).glob("*.parquet")
    answers = pq.read_table(file, columns=["answer"])["answer"].to_pylist()
    answer_scores = [REPAIRED_SCORERS[task](answer, answer) for answer in answers]
    assert {answer.score for answer in answer_scores if answer.score is not None} == {1.0}
    assert not any(answer.abstained for answer in answer_scores)
    if task == "3-3":
        assert sum(not {*answer.removeprefix("罪名:").split(";")} <= {*CHARGES} for answer in answers) == 18


@pytest.mark.parametrize(
    "tail", ["", "<|im_end|>", "<eoh>", "### 回答:", "</s>", "<|im_end|>\n<|im_start|>assistant\n"]
)
def test_what_a_chat_template_appends_to_a_sentence_is_not_part_of_it(tail: str) -> None:
    arguments = (f"改正。句子：\n渡口己经关闭。{tail}", "渡口已经关闭。", "渡口已经关闭。")
    assert repaired.proofreading(*arguments) == (1, 0, 0)
    assert published.proofreading(*arguments).hits == 1 + bool(tail)


def test_what_a_chat_template_puts_elsewhere_stays() -> None:
    prompt = "你是助手。\n### Human: 改正。句子：\n渡口己经关闭。\n### Assistant: "
    assert repaired.without_template(prompt) == prompt
    assert repaired.proofreading(prompt, "渡口已经关闭。", "渡口已经关闭。") == (1, 0, 0)


@pytest.mark.data
@pytest.mark.parametrize("config", ["2-1", "2-1_one_shot"])
def test_no_sentence_of_the_data_is_changed(data: Path, config: str) -> None:
    [file] = (data / "open-compass" / "LawBench" / config).glob("*.parquet")
    prompts = [f"{row['instruction']}\n{row['question']}" for row in pq.read_table(file).to_pylist()]
    assert [repaired.without_template(prompt) for prompt in prompts] == prompts


@given(
    st.lists(st.text("骗打人取", min_size=1, max_size=3), max_size=4),
    st.lists(st.text("骗打人", min_size=1), max_size=4),
)
@settings(deadline=None)  # the first call imports scipy
def test_words_are_matched_so_that_the_sum_of_hits_is_greatest(predicted: list[str], expected: list[str]) -> None:
    expected = expected or ["骗"]
    shorter, longer = sorted((predicted, expected), key=len)
    best = max(sum(map(character_f1, shorter, chosen)) for chosen in itertools.permutations(longer, len(shorter)))
    answer = repaired.trigger_words(";".join(predicted), ";".join(expected))
    assert answer.score == pytest.approx(2 * best / (len(predicted) + len(expected)))
    assert answer.abstained == (not predicted)


@given(st.permutations(["受害人:李乙", "被盗物品:书包", "时间:昨天"]), st.sampled_from(["\n", ";", "；", " ", "，"]))
def test_entities_may_have_any_order_and_separator(parts: list[str], separator: str) -> None:
    reference = "受害人:李乙;被盗物品:书包;时间:昨天"
    assert repaired.entities(separator.join(parts), reference).score == pytest.approx(1)


@given(st.integers(0, 25), st.integers(1, 11), st.sampled_from(["", "零", "又"]), st.sampled_from(["个月", "月"]))
def test_years_and_months_are_one_term(years: int, months: int, joint: str, unit: str) -> None:
    prediction = f"判处有期徒刑{f'{years}年{joint}' if years else ''}{months}{unit}"
    assert repaired.prison_term(prediction, f"刑期:{years * 12 + months}个月").score == pytest.approx(1)


@pytest.mark.sampled(20)
@pytest.mark.parametrize("task", sorted(REPAIRED_SCORERS))
@pytest.mark.parametrize("piece", ["1", "第1条、", "六个月", "时间： \n", "1,", "A", "打;", "年1", "诈骗"])
def test_repetitions_take_linear_time(task: str, piece: str) -> None:
    started = time.process_time()
    REPAIRED_SCORERS[task](piece * (30_000 // len(piece)), REFERENCES.get(task, "违约"))
    assert time.process_time() - started < 5  # quadratic work takes a minute


@pytest.mark.parametrize("task", sorted(REPAIRED_SCORERS))
@given(prediction=st.text(st.sampled_from("第条款、1,二十百年个月元:：;；A无\n (侮辱违约时间"), max_size=30))
def test_every_answer_has_a_score(task: str, prediction: str) -> None:
    answer = REPAIRED_SCORERS[task](prediction, REFERENCES.get(task, "违约"))
    assert answer.score is not None
    assert answer.score <= 1


@pytest.mark.parametrize("task", ["1-2", "2-8", "3-1", "3-3", "3-4", "3-7"])
def test_a_reference_of_another_task_is_refused(task: str) -> None:
    with pytest.raises(ValueError, match=r"reads|must be one of"):
        REPAIRED_SCORERS[task]("A", "另一题的答案")
