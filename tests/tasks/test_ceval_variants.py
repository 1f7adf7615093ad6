"""C-Eval's other protocols: generated answers, reasoning, ChatGLM2's two passes, and the test split."""

from __future__ import annotations

import pytest
import yaml

from harness.common.resources import folder
from support import mirrors
from support.ceval_exam import GOLDEN, QUESTION, SHOTS

COLUMNS = ("question", "A", "B", "C", "D", "answer")
EXPLAINED = "1. 因为一加一。\n2. 所以是二。"
ITEM = "  小明借小红一本书，约定周五归还。周六小红可以要求小明____。 \nA. 唱歌\nB. 跳舞\nC. 归还该书\nD. 1000"
FAMILIES = ("ceval_test", "ceval_gen", "ceval_gen_cot", "ceval_gen_cot_llama", "ceval_cot")


@pytest.fixture
def build(tmp_path):
    def rows(documents, answer=True):
        return [
            {"id": i, **dict(zip(COLUMNS, row, strict=True)), "explanation": EXPLAINED}
            | ({} if answer else {"answer": ""})
            for i, row in enumerate(documents)
        ]

    splits = {"dev": rows(SHOTS), "val": rows([QUESTION]), "test": rows([QUESTION, SHOTS[0]], answer=False)}
    mirrors.write(tmp_path, "ceval/ceval-exam", "law", **splits)
    return lambda family: mirrors.task(f"{family}_law", tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_the_subject_names_and_categories_of_ceval(family):
    place = folder("tasks")
    for file in sorted((place / "ceval").glob("ceval_*.yaml")):
        ceval = yaml.safe_load(file.read_text(encoding="utf-8"))
        subject = ceval["dataset_name"]
        config = yaml.safe_load((place / family / f"{family}_{subject}.yaml").read_text(encoding="utf-8"))
        assert (config["task_alias"], config["dataset_name"]) == (ceval["task_alias"], subject)
        tags = [tag.replace("ceval_", f"{family}_", 1) for tag in ceval["tag"]]
        assert config["tag"] == tags + ([f"{family}_subjects"] if family == "ceval_cot" else [])
        assert config.get("description") == (None if family == "ceval_cot" else ceval["description"])


def test_the_test_split_has_the_prompt_of_ceval_and_no_score_without_answers(build):
    built = build("ceval_test")
    assert mirrors.requests(built)[:4] == [(GOLDEN, letter) for letter in "ABCD"]
    likelihoods = [(-4.0, False), (-3.0, False), (-1.0, True), (-2.0, False)]
    withheld = built.eval_docs[0]
    assert built.process_results(withheld, likelihoods) == {}
    assert built.process_results({**withheld, "answer": "C"}, likelihoods) == {"acc": 1.0}
    assert built.process_results({**withheld, "answer": "B"}, likelihoods) == {"acc": 0.0}


def test_a_generated_answer_has_the_prompt_of_ceval_and_four_filters(build):
    built = build("ceval_gen")
    [(prompt, settings)] = mirrors.requests(built)
    assert prompt == GOLDEN
    assert settings["until"] == ["\n\n"]
    built.instances[0].resps = ["我认为应当归还该书"]
    built.apply_filters()
    assert built.instances[0].filtered_resps == {
        "chatglm": "C",
        "chatgpt": "-",
        "chatgpt-zero-shot": "-",
        "minimax": "我",
    }
    built.instances[0].resps = ["答案是C"]
    built.apply_filters()
    assert built.instances[0].filtered_resps["chatgpt"] == "-"
    assert built.instances[0].filtered_resps["chatgpt-zero-shot"] == "C"


def test_few_shot_examples_reason_and_only_the_letter_is_scored(build):
    built = build("ceval_gen_cot")
    [(prompt, settings)] = mirrors.requests(built)
    thought = f"答案：让我们一步一步思考，\n{EXPLAINED}\n所以答案是"
    expected = GOLDEN
    for shot in SHOTS:
        expected = expected.replace(f"答案：{shot[5]}\n\n", f"{thought}{shot[5]}。\n\n")
    assert prompt == expected
    assert prompt.count(thought) == 5
    assert settings["until"] == ["\n答案：让我们一步一步思考"]
    built.instances[0].resps = [f"让我们一步一步思考，\n{EXPLAINED}\n所以答案是C。\n\n下一题\nA. 甲"]
    built.apply_filters()
    answers = built.instances[0].filtered_resps
    assert answers == {"chatglm": "C", "chatgpt": "C"}
    assert built.process_results(built.eval_docs[0], [answers["chatglm"]]) == {"exact_match": 1.0}


def test_llamas_variant_begins_the_thought_and_reads_the_conclusion(build):
    built = build("ceval_gen_cot_llama")
    [(prompt, settings)] = mirrors.requests(built)
    [(reasoned, _)] = mirrors.requests(build("ceval_gen_cot"))
    assert prompt == f"{reasoned}让我们一步一步思考，\n1."
    assert settings["until"] == ["让我们一步一步思考"]
    document = built.eval_docs[0]
    right = document[document["answer"]]
    for response, score in (("甲。\n所以答案是C。", 1.0), (f" {right}", 1.0), ("甲\n乙", 0.0), ("选择A", 0.0)):
        built.instances[0].resps = [response]
        built.apply_filters()
        assert built.process_results(document, [built.instances[0].filtered_resps["llama"]]) == {"exact_match": score}


def test_the_second_pass_contains_the_first_answer(build):
    built = build("ceval_cot")
    [(prompt, settings)] = mirrors.requests(built)
    assert mirrors.kinds(built) == {"think_then_choose"}
    assert prompt == f"[Round 1]\n\n问：{ITEM}\n\n答："
    assert settings["then"] == [f"[Round 1]\n\n问：{ITEM}", "\n综上所述，ABCD中正确的选项是：\n\n答："]
    assert (settings["max_gen_toks"], settings["do_sample"], settings["until"]) == (512, False, [])
    built.instances[0].resps = ["想到这里，答：A\n综上所述，ABCD中正确的选项是：\n\n答：C"]
    built.apply_filters()
    assert built.instances[0].filtered_resps == {"letter": "C"}


@pytest.mark.parametrize("family", FAMILIES)
def test_averages_have_the_weights_of_their_source(family):
    group = yaml.safe_load((folder("tasks") / family / f"_{family}.yaml").read_text(encoding="utf-8"))
    by_question = family == "ceval_cot"
    assert [item["weight_by_size"] for item in group["aggregate_metric_list"]] == [by_question]
    weights = {name: average["weight"] for name, average in group["metadata"]["averages"].items()}
    assert weights.pop(f"{family}/mean over subjects", "task") == "task"
    assert set(weights.values()) == {"sample" if by_question else "task"}
    assert len(weights) == 5


def test_the_ids_of_official_submissions_are_places_in_the_split(data):
    """A submission names a question by its id."""
    import pandas as pd

    for file in sorted((data / "ceval/ceval-exam").glob("*/test-*.parquet")):
        ids = pd.read_parquet(file, columns=["id"])["id"]
        assert list(ids) == list(range(len(ids)))


def test_every_task_states_its_source():
    """lm-eval silently skips files that it cannot read, so that a task would be missing."""
    from lm_eval.tasks._yaml_loader import load_yaml

    configs = [load_yaml(file, resolve_func=False) for file in sorted(folder("tasks").rglob("*.yaml"))]
    tasks = [config for config in configs if "task" in config and "group" not in config]
    assert len(tasks) > 6 * 52 + 57
    for config in tasks:
        required = {"version", "source", "licence", "documents", "contamination", "protocol"}
        assert required <= set(config["metadata"]), config["task"]
        assert all(str(config["metadata"][key]).strip() for key in required), config["task"]


@pytest.mark.parametrize(
    "name",
    ["mmlu", "gsm8k", "gsm8k_cot", "cmmlu", "piqa", "mrpc", "sst2", "sciq", "agieval_jec_qa_kd", "agieval_jec_qa_ca"],
)
def test_facts_missing_in_lm_evals_definitions_are_known_for_their_data(name):
    from harness.data.facts import facts
    from harness.tasks.catalogue import Catalogue

    for source in Catalogue().sources([name], None).values():
        assert set(facts(source.dataset, source.config)) == {"source", "licence", "documents", "contamination"}
