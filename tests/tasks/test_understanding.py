"""Every task family says in which answers nothing was understood, or that it has no such notion."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from harness.common.resources import folder
from harness.tasks.task import Task
from harness.tasks.understanding import Understanding, UnderstoodRule
from harness.tasks.yaml_files import Reader

OPTIONS = {"A": "甲", "B": "乙", "C": "丙", "D": "丁", "answer": "B", "gold": [1]}
ENTITIES = {"kind": "ner", "language": "zh", "format": "tuples", "types": ["人名"], "counts_upstream": True}
EXTRACTED = {**ENTITIES, "records": "[]", "answer": "NAN"}


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(functions=True)


def task(reader: Reader, definition: str) -> Task:
    """Return the task of a definition, without its data."""
    from lm_eval.filters import build_filter_ensemble

    content = reader.read(folder("tasks") / definition)
    filters = content.get("filter_list", [{"name": "none", "filter": [{"function": "take_first"}]}])
    metrics = {metric["metric"]: metric["higher_is_better"] for metric in content["metric_list"]}
    return Task(
        SimpleNamespace(
            config=SimpleNamespace(task="mine", metadata=content["metadata"]),
            OUTPUT_TYPE=content.get("output_type", "multiple_choice"),
            _filters=[
                build_filter_ensemble(each["name"], [(step["function"], _arguments(step)) for step in each["filter"]])
                for each in filters
            ],
            process_results=content.get("process_results", lambda doc, results: {}),
            aggregation=lambda: dict.fromkeys(metrics, max),
            higher_is_better=lambda: metrics,
        )
    )


def _arguments(step: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in step.items() if key != "function"}


def understood(task: Task, answer: str, document: dict[str, Any], filter: str | None = None) -> bool | None:
    """Return whether the task understands a generated answer, through its own filter."""
    name = task.metrics[0].filter if filter is None else filter
    (ensemble,) = (each for each in task.lm_eval._filters if each.name == name)
    request = SimpleNamespace(resps=[answer], doc=document, filtered_resps={})
    ensemble.apply([request])
    return task.understood(document, request.filtered_resps[name], filter)


@pytest.mark.parametrize(
    ("definition", "filter", "clear", "unclear", "document"),
    [
        ("gsm8k/gsm8k_fixed.yaml", None, "So it is 7.", "I do not know.", {"answer": "#### 7"}),
        ("gsm8k/gsm8k_fixed.yaml", "strict-match", "#### 7", "So it is 7.", {"answer": "#### 7"}),
        ("c3/c3_gen.yaml", None, "答案是C", "甲", {}),
        ("c3/c3_gen.yaml", None, "D", "The answer is 甲", {}),
        ("nli/cmnli_gen.yaml", None, "A", "蕴含", {}),
        ("nli/cmnli_gen.yaml", None, "选B。", "DNA", {}),
        ("nli/ocnli_gen_51e956.yaml", None, "C", "", {}),
        ("jec_qa/jec_qa_kd.yaml", "agieval", "答案是AC", "没有一项", OPTIONS),
        ("jec_qa/jec_qa_kd.yaml", "disc-law", "答案是A、C", "没有一项", OPTIONS),
        ("disc_law/disc_law_single_nje.yaml", None, "B", "", OPTIONS),
        ("ceval_gen/ceval_gen_law.yaml", "chatglm", "答案是B", "都不对", OPTIONS),
        ("ceval_gen/ceval_gen_law.yaml", "chatgpt", "B.", "选B", OPTIONS),
        ("ceval_gen/ceval_gen_law.yaml", "chatgpt-zero-shot", "答案是B", "都不对", OPTIONS),
        ("ceval_gen/ceval_gen_law.yaml", "minimax", "B", "我选B", OPTIONS),
        ("ceval_gen_cot/ceval_gen_cot_law.yaml", "chatgpt", "答案是B。", "都不对", OPTIONS),
        ("ceval_gen_cot_llama/ceval_gen_cot_llama_law.yaml", None, "所以答案是B", "都不对", OPTIONS),
        ("ceval_gen_cot_llama/ceval_gen_cot_llama_law.yaml", None, " 乙", "因为甲和乙都", OPTIONS),
        ("ceval_cot/ceval_cot_law.yaml", None, "答：B", "答：", OPTIONS),
        ("lawbench/lawbench_1_2.yaml", None, "B", "无法确定", {"answer": "正确答案：B。"}),
        ("lawbench/lawbench_one_shot_1_2.yaml", None, "B", "EBITDA", {"answer": "正确答案：B。"}),
        ("lawbench/lawbench_2_2.yaml", None, "违约", "不清楚", {"answer": "争议焦点类别：违约。"}),
        ("lawbench/lawbench_2_6.yaml", None, "受害人:李乙", "没有", {"answer": "受害人:李乙"}),
        ("lawbench/lawbench_3_3.yaml", None, "盗窃罪", "有罪", {"answer": "罪名:盗窃"}),
        ("lawbench/lawbench_3_4.yaml", None, "一年半", "从重处罚", {"answer": "刑期:18个月"}),
        ("extraction/cluener.yaml", None, "(李乙,人名)", "没有找到任何东西。", EXTRACTED),
        ("extraction/cluener.yaml", None, "NAN", "(李乙)是人", EXTRACTED),
        ("extraction/cluener_json.yaml", None, "无", "我不明白", {**EXTRACTED, "format": "json"}),
        ("iepile/iepile_re.yaml", None, "{}", "没有", {"kind": "re"}),
        ("iepile/iepile_re.yaml", "repaired", '{"父": [{"head": "甲", "tail": "乙"}]}', "[]", {"kind": "re"}),
    ],
)
def test_a_family_separates_answers_in_which_it_understood_something(
    reader: Reader, definition: str, filter: str | None, clear: str, unclear: str, document: dict[str, Any]
) -> None:
    built = task(reader, definition)
    assert understood(built, clear, document, filter) is True
    assert understood(built, unclear, document, filter) is False


@pytest.mark.parametrize(
    ("definition", "document"),
    [
        ("lawbench/lawbench_1_1.yaml", {"answer": "答案:渡船应当靠岸。"}),
        ("lawbench/lawbench_2_1.yaml", {"instruction": "句子：", "question": "渡船", "answer": "渡船"}),
        ("lawbench/lawbench_2_7.yaml", {"answer": "渡船应当靠岸。"}),
        ("adgen/adgen.yaml", {"content": "类型#裙", "summary": "裙"}),
        ("legal_consult/legal_consult.yaml", {"response": "应当赔偿。", "laws": []}),
        ("ceval/ceval_law.yaml", OPTIONS),
    ],
)
def test_texts_that_are_only_compared_are_neither_understood_nor_not(
    reader: Reader, definition: str, document: dict[str, Any]
) -> None:
    built = task(reader, definition)
    assert understood(built, "随便", document) is None
    assert understood(built, "", document) is None


def test_every_generated_task_states_its_rule_or_is_known_to_have_none(reader: Reader) -> None:
    """A new task gets its rule, or a place in this list."""
    without_rule = set()
    for file in sorted(folder("tasks").glob("*/*.yaml")):
        content = reader.read(file)
        if content.get("output_type") != "generate_until" or "metric_list" not in content:
            continue
        built = task(reader, str(file.relative_to(folder("tasks"))))
        fallbacks = Understanding(built.lm_eval, None).fallbacks(built.metrics[0].filter)
        has_rule = built.metadata.understood is not None or fallbacks
        if not has_rule:
            without_rule.add(file.parent.name if file.parent.name != "lawbench" else file.stem)
    assert without_rule == {"adgen", "legal_consult", "lawbench_2_1", "lawbench_one_shot_2_1"}


@pytest.mark.parametrize(
    "stated", [{}, {"pattern": "("}, {"pattern": "A", "number": True}, {"letters": "A"}, {"unless": []}]
)
def test_a_rule_states_one_thing(stated: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UnderstoodRule.model_validate(stated)


def test_an_answer_that_the_scorer_fails_on_is_not_understood(reader: Reader) -> None:
    built = task(reader, "lawbench/lawbench_1_2.yaml")
    assert built.understood({"answer": "没有字母"}, "A") is False


def test_an_own_test_set_whose_reader_fails_understood_nothing(reader: Reader) -> None:
    def understood(doc: dict[str, Any], answer: str) -> bool:
        raise RecursionError

    built = task(reader, "gsm8k/gsm8k_fixed.yaml")
    built.lm_eval.understood = understood
    assert built.understood({}, "(" * 9) is False


def test_the_values_of_a_scored_answer_are_not_computed_again(reader: Reader) -> None:
    built, scored = task(reader, "lawbench/lawbench_1_2.yaml"), []
    score = built.lm_eval.process_results
    built.lm_eval.process_results = lambda doc, results: scored.append(results) or score(doc, results)
    document = {"answer": "正确答案：B。"}
    for answer in ("B", "无法确定", "C"):
        values = score(document, [answer])
        assert built.understood(document, answer, None, values) == (answer != "无法确定")
    assert scored == [[""]]
