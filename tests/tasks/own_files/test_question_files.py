"""A user's own test set: recognised layouts, prompts, scores and refused files.

Prompts are written out here, and compared with lm-eval's rendering of the template that a user would write in YAML.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.checkpoints.reference import parse
from harness.cli import main
from harness.metrics.text import overlap
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.own_files import question_files
from support import tiny
from support.own_questions import BUY, built, written

CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = tiny.tokenizer()
    words.chat_template = CHAT
    return tiny.llama(tmp_path_factory.mktemp("base"), words)


# --- layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "comparisons", "prompt", "answer"),
    [
        ({"question": "谁写的？", "answer": "老王"}, ("contains",), "问题：谁写的？\n答案：", "老王"),
        ({"query": "Who wrote it?", "answer": "Wang"}, ("contains",), "Question: Who wrote it?\nAnswer:", "Wang"),
        ({"query": "Who wrote it?", "response": "Wang"}, ("contains",), "Who wrote it?", "Wang"),
        ({"问题": "谁写的？", "答案": "老王"}, ("contains",), "问题：谁写的？\n答案：", "老王"),
        ({"context": "文", "question": "问", "answer": "答"}, ("rouge",), "问题：文\n问\n答案：", "答"),
        ({"question": "1+1?", "answer": 2}, (), "Question: 1+1?\nAnswer:", "2"),
        ({"instruction": "改写", "input": "旧句", "output": "新句"}, ("rouge",), "改写\n旧句", "新句"),
        ({"instruction": "作诗", "input": "", "output": "诗"}, ("rouge",), "作诗", "诗"),
        ({"instruction": "作诗", "output": "诗", "id": 3}, ("bleu",), "作诗", "诗"),
        ({"content": "类型#裙", "summary": "好裙子"}, (), "类型#裙", "好裙子"),
        ({"prompt": "a b", "completion": "c"}, ("exact_match",), "a b", "c"),
        ({"Instruction": "改写", "Input": "旧句", "Output": "新句"}, ("rouge",), "改写\n旧句", "新句"),
        ({"input": "a b", "target": "c"}, ("exact_match",), "a b", "c"),
        ({"prompt": "c", "response": "d", "history": [["a", "b"]]}, ("rouge",), "a\nb\nc", "d"),
        ({"prompt": "c", "response": "d", "history": []}, ("rouge",), "c", "d"),
        (
            {"query": "多久", "laws": ["第一条：每年。", "第二条"], "response": "每年"},
            ("rouge",),
            "多久\n参考法条: 第一条：每年。\n第二条",
            "每年",
        ),
        (
            {"query": "多久", "laws": ["第一条"], "history": ["[客户] 多久", "[律师] 每年", "[客户] 谁", "[律师] 我"]},
            ("rouge",),
            "多久\n每年\n谁\n参考法条: 第一条",
            "我",
        ),
        (
            {
                "query": "多久",
                "laws": [],
                "history": ["[客户] 多久", "[客户] 一次", "[律师] 每年", "[律师] 吧", "[客户] 谢"],
            },
            ("rouge",),
            "多久\n一次",
            "每年\n吧",
        ),
        (
            {
                "messages": [
                    {"role": "system", "content": ""},
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "b"},
                ]
            },
            ("rouge",),
            "a",
            "b",
        ),
    ],
)
def test_a_row_of_each_layout_has_its_prompt_and_answer(
    tmp_path: Path, row: dict[str, Any], comparisons: Any, prompt: str, answer: str
) -> None:
    questions = question_files.read(written(tmp_path, row), comparisons)
    assert (questions.documents[0]["prompt"], questions.documents[0]["answer"]) == (prompt, answer)
    assert not questions.is_multiple_choice


SHAREGPT = {
    "system": "你是律师",
    "conversations": [
        {"from": "human", "value": "你好"},
        {"from": "gpt", "value": "您好"},
        {"from": "human", "value": "能退货吗"},
        {"from": "gpt", "value": "七天内可以"},
    ],
}
OPENAI = {
    "messages": [
        {"role": "system", "content": "你是律师"},
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": "您好"},
        {"role": "user", "content": "能退货吗"},
        {"role": "assistant", "content": "七天内可以"},
    ]
}
ALPACA = {
    "system": "你是律师",
    "instruction": "能退货吗",
    "input": "",
    "output": "七天内可以",
    "history": [["你好", "您好"]],
}


SWIFT = {"system": "你是律师", "query": "能退货吗", "response": "七天内可以", "history": [["你好", "您好"]]}


def test_a_conversation_is_the_prompt_of_its_last_answer(base: Path, tmp_path: Path) -> None:
    rows = {"sharegpt": SHAREGPT, "openai": OPENAI, "alpaca": ALPACA, "swift": SWIFT}
    files = tuple(str(written(tmp_path, row, name=f"{name}.jsonl")) for name, row in rows.items())
    options = Options(files, tmp_path / "out", comparisons=("rouge",), max_gen_toks=4)
    [plain] = run([parse(str(base))], options)
    [chat] = run([parse(str(base))], replace(options, apply_chat_template=True, system_instruction="简短"))
    for name in rows:
        [sample] = plain.samples(f"{name}.jsonl").to_dict("records")
        assert sample["prompt"] == "你是律师\n你好\n您好\n能退货吗", name
        assert sample["target"] == "七天内可以", name
        [sample] = chat.samples(f"{name}.jsonl").to_dict("records")
        assert sample["prompt"] == "<system>简短\n\n你是律师<user>你好<assistant>您好<user>能退货吗<assistant>", name


def test_the_layout_is_recognised_by_the_columns_of_all_rows(tmp_path: Path) -> None:
    rows = [
        {"Instruction": "改写", "Input": None, "Output": "新句", "level": 1},
        {"Instruction": "改写", "Input": "旧句", "Output": "新句", "System": "你是编辑"},
    ]
    questions = question_files.read(written(tmp_path, *rows), ("rouge",))
    assert [document["prompt"] for document in questions.documents] == ["改写", "你是编辑\n改写\n旧句"]
    assert (questions.columns, questions.unread) == (("System", "Instruction", "Input", "Output"), ("level",))
    context = [{"question": "问", "answer": "1"}, {"question": "问", "answer": "2", "context": "文"}]
    prompts = [document["prompt"] for document in question_files.read(written(tmp_path, *context)).documents]
    assert prompts == ["问题：问\n答案：", "问题：文\n问\n答案："]


@pytest.mark.parametrize(("step", "least"), [(4, 2_500), pytest.param(1, 14_042, marks=pytest.mark.oracle)])
def test_right_answers_of_mmlus_files_are_read_as_places(data: Path, step: int, least: int) -> None:
    """Many choices of MMLU are numbers, which must not be taken for places."""
    count = 0
    for file in sorted((data / "cais/mmlu").glob("*/test-*.parquet"))[::step]:
        answers = list(pd.read_parquet(file, columns=["answer"])["answer"])
        assert [document["answer"] for document in question_files.read(file).documents] == answers
        count += len(answers)
    assert count >= least


def test_files_of_c_eval_are_multiple_choice_test_sets(data: Path) -> None:
    file = data / "ceval/ceval-exam/law/val-00000-of-00001.parquet"
    documents, table = question_files.read(file).documents, pd.read_parquet(file)
    assert [document["letters"][document["answer"]] for document in documents] == list(table["answer"])
    assert all(text.strip() in document["prompt"] for document, text in zip(documents, table["D"], strict=True))


@pytest.mark.parametrize(
    ("row", "comparisons", "until", "after_shots"),
    [
        ({"question": "谁？", "answer": "我"}, ("contains",), ["\n问题："], ["\n问题："]),
        ({"question": "谁？", "answer": "我"}, ("exact_match",), ["\n问题："], ["\n问题："]),
        ({"question": "Who?", "answer": "me"}, ("exact_match", "bleu"), ["\nQuestion:"], ["\nQuestion:"]),
        ({"prompt": "谁？", "completion": "我"}, ("exact_match",), [], ["\n\n"]),
        ({"prompt": "谁？", "completion": "我"}, ("rouge",), [], ["\n\n"]),
        ({"prompt": "谁？", "completion": "我\n\n你"}, ("rouge",), [], []),
    ],
)
def test_answers_end_where_the_next_question_would_begin(
    tmp_path: Path, row: dict[str, Any], comparisons: tuple[str, ...], until: list[str], after_shots: list[str]
) -> None:
    first = next(iter(row))
    file = written(tmp_path, row, {**row, first: "何时？"})
    assert built(file, comparisons).instances[0].args[1]["until"] == until
    assert [request.args[1]["until"] for request in built(file, comparisons, 1).instances] == [after_shots] * 2


def test_metrics_are_implied_by_numbers_and_by_some_layouts(tmp_path: Path) -> None:
    numbers = [
        {"question": "a", "answer": "1,200"},
        {"question": "b", "answer": "−3/4"},
        {"question": "c", "answer": 5},
    ]
    assert question_files.read(written(tmp_path, *numbers)).metrics == ("number",)
    copy = {"content": "类型#裙", "summary": "好裙子"}
    assert question_files.read(written(tmp_path, copy)).metrics == (
        *("rouge1_jieba", "rouge2_jieba", "rougeL_jieba"),
        "bleu_char",
    )
    english = {"content": "skirt", "summary": "a fine skirt"}
    assert question_files.read(written(tmp_path, english)).metrics == ("rouge1", "rouge2", "rougeL", "bleu_intl")
    copy["summary"] = "很好的裙子"
    assert question_files.read(written(tmp_path, copy), ("bleu", "contains")).metrics == (
        "bleu4_characters",
        "contains",
    )


@pytest.mark.parametrize(
    ("answers", "metrics"),
    [
        (["你好，世界。", "今天天气很好。"], ["rouge1_jieba", "rouge2_jieba", "rougeL_jieba", "bleu4_characters"]),
        (["こんにちは", "元気です"], ["rouge1_characters", "rouge2_characters", "rougeL_characters"]),
        (["Привет, мир", "Доброе утро"], ["rouge1_unicode", "rouge2_unicode", "rougeL_unicode", "bleu_intl"]),
        (["a café", "the end"], ["rouge1_unicode", "rouge2_unicode", "rougeL_unicode", "bleu_intl"]),
        (["hello there", "bye"], ["rouge1", "rouge2", "rougeL", "bleu_intl"]),
        (["hello", "bye"], ["rouge1", "rougeL", "bleu_intl"]),
    ],
)
def test_the_references_not_the_prompts_decide_the_words(
    tmp_path: Path, answers: list[str], metrics: list[str]
) -> None:
    for prompt in ("Translate {}", "翻译第{}句"):
        rows = [{"instruction": prompt.format(i), "output": answer} for i, answer in enumerate(answers)]
        questions = question_files.read(written(tmp_path, *rows), ("rouge", "bleu"))
        assert list(questions.metrics)[: len(metrics)] == metrics


# --- few-shot and lm-eval's own rendering -----------------------------------------------------------------------------

YAML = {
    "pairs": (
        [{"question": f"甲乙丙{i}？", "answer": f"答{i}"} for i in range(12)],
        {"doc_to_text": "问题：{{question}}\n答案：", "doc_to_target": "{{answer}}", "target_delimiter": ""},
    ),
    "english": (
        [{"question": f"what is {i} + 1?", "answer": str(i + 1)} for i in range(12)],
        {"doc_to_text": "Question: {{question}}\nAnswer:", "doc_to_target": "{{answer}}"},
    ),
    "alpaca": (
        [{"instruction": f"改写第{i}句", "input": f"句{i}" * (i % 2), "output": f"新句{i}"} for i in range(12)],
        {
            "doc_to_text": "{{instruction}}{% if input %}\n{{input}}{% endif %}",
            "doc_to_target": "{{output}}",
            "target_delimiter": "\n",
        },
    ),
    "choices": (
        [{"question": f"第{i}问", "choices": ["甲", "乙", f"丙{i}"], "answer": i % 3} for i in range(12)],
        {
            "output_type": "multiple_choice",
            "doc_to_text": "{{question}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\n答案：",
            "doc_to_choice": ["A", "B", "C"],
            "doc_to_target": "answer",
            "target_delimiter": "",
        },
    ),
}


@pytest.mark.parametrize("kind", YAML)
@pytest.mark.parametrize("shots", [0, 3])
def test_prompts_equal_lm_evals_rendering_of_a_users_yaml(tmp_path: Path, kind: str, shots: int) -> None:
    from lm_eval.api.task import ConfigurableTask

    rows, template = YAML[kind]
    file = written(tmp_path, *rows)
    config = {
        "task": "by_hand",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}},
        "test_split": "test",
        "fewshot_split": "test",
        "output_type": "generate_until",
        "generation_kwargs": {"until": ["\n"]},
        "num_fewshot": shots,
        **template,
    }
    theirs = ConfigurableTask(config=config)
    theirs.set_fewshot_seed(1234)
    theirs.build_all_requests(rank=0, world_size=1)
    ours = built(file, () if kind in ("choices", "english") else ("contains",), shots)
    assert len(ours.instances) == len(theirs.instances) == 12 * (3 if kind == "choices" else 1)
    for request, expected in zip(ours.instances, theirs.instances, strict=True):
        assert request.args[0] == expected.args[0]
        if kind == "choices":
            assert request.args[1] == expected.args[1]
    for request in ours.instances:  # no document is an example in its own prompt
        question = request.args[0].rsplit("\n\n", 1)[-1]
        assert request.args[0].count(question) == 1


# --- scores -----------------------------------------------------------------------------------------------------------


def test_an_answer_is_scored_against_its_best_reference(base: Path, tmp_path: Path) -> None:
    rows = [{"question": f"第{i}问", "answers": [f"春天的花{i}", "苹果和梨"]} for i in range(6)]
    names = ("exact_match", "contains", "number", "rouge", "bleu")
    rows = [{**row, "answers": [f"{text} {i}" for i, text in enumerate(row["answers"])]} for row in rows]
    file = written(tmp_path, *rows)
    [report] = run([parse(str(base))], Options((str(file),), tmp_path / "out", comparisons=names, max_gen_toks=24))
    samples = report.samples("my.jsonl").sort_values("doc_id").to_dict("records")
    scores = {score.metric: score for score in report.manifest.scores}
    assert list(scores) == [*names[:3], "rouge1_jieba", "rouge2_jieba", "rougeL_jieba", "bleu4_characters"]
    for name, score in scores.items():
        best = [
            max(overlap.METRICS[name](sample["prediction"].strip(), answer) for answer in row["answers"])
            for sample, row in zip(samples, rows, strict=True)
        ]
        assert score.value == pytest.approx(sum(best) / len(best))
        assert (score.n, score.fraction, score.higher_is_better) == (6, True, True)
    assert max(score.value for score in scores.values()) > 0


def test_the_likeliest_of_five_letters_is_the_answer(base: Path, tmp_path: Path) -> None:
    random.seed(0)
    rows = [
        {"question": f"第{i}问", **{x: x.lower() * 3 for x in "ABCDE"}, "answer": random.choice("ABCDE")}
        for i in range(20)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "mine.csv", index=False)
    [report] = run([parse(str(base))], Options((str(tmp_path / "mine.csv"),), tmp_path / "out"))
    samples = report.samples("mine.csv").sort_values("doc_id").to_dict("records")
    right = [
        "ABCDE"[max(range(5), key=list(sample["logprobs"]).__getitem__)] == row["answer"]
        for sample, row in zip(samples, rows, strict=True)
    ]
    [score] = report.manifest.scores
    assert (score.metric, score.value, score.n) == ("acc", pytest.approx(sum(right) / 20), 20)


def test_a_test_set_can_be_described_and_forecast(base: Path, tmp_path: Path, capsys) -> None:
    file = written(tmp_path, BUY, {**BUY, "question": "哪里卖鱼？", "answer": "B"})
    assert main(["tasks", str(file), "--num-fewshot", "1"]) == 0
    shown = capsys.readouterr().out
    assert "哪里卖鱼？\nA. 书店\nB. 鱼市\n答案：B\n\n哪里卖纸？\nA. 书店\nB. 鱼市\n答案：\n" in shown
    assert "A test set of one's own (question, A, B, answer): the likeliest letter." in " ".join(shown.split())
    assert main(["run", "--dry-run", "--model", str(base), "--tasks", str(file)]) == 0
    assert "my.jsonl" in capsys.readouterr().out
