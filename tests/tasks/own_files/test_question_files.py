"""A user's own test set: recognised layouts, prompts, scores and refused files.

Prompts are written out here, and compared with lm-eval's rendering of the template that a user would write in YAML.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.checkpoints.reference import parse
from harness.cli import main
from harness.errors import HarnessError
from harness.metrics.text import overlap
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.own_files import file_tasks, question_files
from support import tiny

CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = tiny.tokenizer()
    words.chat_template = CHAT
    return tiny.llama(tmp_path_factory.mktemp("base"), words)


def written(folder: Path, *rows: dict[str, Any], name: str = "my.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def built(file: Path, comparisons: tuple[str, ...] = (), shots: int = 0) -> Any:
    """Return lm-eval's object of the task of `file`, its requests built as in a run."""
    task = file_tasks.build(str(file), comparisons).lm_eval
    task.set_config("num_fewshot", shots)
    task.set_fewshot_seed(1234)
    task.build_all_requests(rank=0, world_size=1)
    return task


# --- layouts ----------------------------------------------------------------------------------------------------------

BUY = {"question": "哪里卖纸？", "A": "书店", "B": "鱼市", "answer": "A"}


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
    ],
)
def test_a_row_of_each_layout_has_its_prompt_and_answer(
    tmp_path: Path, row: dict[str, Any], comparisons: Any, prompt: str, answer: str
) -> None:
    questions = question_files.read(written(tmp_path, row), comparisons)
    assert (questions.documents[0]["prompt"], questions.documents[0]["answer"]) == (prompt, answer)
    assert not questions.is_multiple_choice


@pytest.mark.parametrize(
    ("row", "prompt", "place"),
    [
        (BUY, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 0),
        ({**BUY, "answer": "鱼市"}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 1),
        ({**BUY, "answer": "（B）"}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 1),
        ({**BUY, "A": "b", "B": "a", "answer": "a"}, "哪里卖纸？\nA. b\nB. a\n答案：", 1),
        ({**BUY, "answer": "Ｂ"}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 1),
        ({**BUY, "answer": "b"}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 1),
        ({**BUY, "answer": "B. 鱼市"}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 1),
        ({**BUY, "answer": 0.0}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 0),
        ({"Question": "Q?", "Options": ["x", "y"], "Answer": "B"}, "Q?\nA. x\nB. y\nAnswer:", 1),
        ({**BUY, "C": ""}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 0),
        ({**BUY, "C": None, "D": None, "answer": ["B"]}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 1),
        ({"question": "Q?", "choices": ["x", "y", "z"], "answer": 0}, "Q?\nA. x\nB. y\nC. z\nAnswer:", 0),
        ({"question": "Q?", "choices": ["3", "7", "1"], "answer": "7"}, "Q?\nA. 3\nB. 7\nC. 1\nAnswer:", 1),
        ({"question": "Q?", "choices": [30, 0, 10], "answer": 30}, "Q?\nA. 30\nB. 0\nC. 10\nAnswer:", 0),
        ({"question": "Q?", "choices": ["1", "0"], "answer": 0}, "Q?\nA. 1\nB. 0\nAnswer:", 0),
        ({"question": "Q?", "A": 0, "B": 1, "C": 2, "answer": "B"}, "Q?\nA. 0\nB. 1\nC. 2\nAnswer:", 1),
        ({"question": "Q?", "option_a": "x", "option_b": "y", "answer": "B"}, "Q?\nA. x\nB. y\nAnswer:", 1),
        ({"question": "Q?", "options": {"a": "x", "b": "y"}, "answer": "B"}, "Q?\nA. x\nB. y\nAnswer:", 1),
        ({"prompt": "Q?", "A": "x", "B": "y", "answer": "B"}, "Q?\nA. x\nB. y\nAnswer:", 1),
        ({"instruction": "选。", "input": "Q?", "A": "x", "B": "y", "output": "B"}, "选。\nQ?\nA. x\nB. y\n答案：", 1),
        ({"question": "Q?", "options": {"A": "x", "B": "y"}, "answer": "B"}, "Q?\nA. x\nB. y\nAnswer:", 1),
        ({"question": "Q?", "options": ["A. x", "B. y"], "label": "B"}, "Q?\nA. x\nB. y\nAnswer:", 1),
        (
            {"question": "Q?", "choices": {"label": ["1", "2"], "text": ["x", "y"]}, "answerKey": "2"},
            "Q?\nA. x\nB. y\nAnswer:",
            1,
        ),
        ({"passage": "P.", "question": "Q?", "choices": [1, 2.5], "answer": "A"}, "P.\nQ?\nA. 1\nB. 2.5\nAnswer:", 0),
    ],
)
def test_choices_get_letters(tmp_path: Path, row: dict[str, Any], prompt: str, place: int) -> None:
    questions = question_files.read(written(tmp_path, row))
    assert questions.is_multiple_choice
    assert (questions.documents[0]["prompt"], questions.documents[0]["answer"]) == (prompt, place)


FRUIT = {"question": "哪些是水果？", "A": "苹果", "B": "石头", "C": "梨", "D": "铁", "answer": "AC"}


@pytest.mark.parametrize(
    "answer",
    [
        *(
            "AC",
            "CA",
            "A,C",
            "A、C",
            "A，C",
            "A C",
            "A;C",
            "A；C",
            "A/C",
            "A|C",
            "A和C",
            "A and C",
            "ＡＣ",
            "a,c",
            "(A)(C)",
        ),
        *(["A", "C"], ["C", "A"], '["A", "C"]', "['A', 'C']", ["苹果", "梨"], "苹果、梨", "苹果,梨", "苹果\n梨"),
        *("A. 苹果\nC. 梨", "A. 苹果;C. 梨", [0, 2], "0,2", ["A. 苹果", "C. 梨"], "A.C", "（A）（C）"),
    ],
    ids=str,
)
def test_several_right_choices_are_a_set_of_letters(tmp_path: Path, answer: object) -> None:
    single = {**FRUIT, "answer": 1 if answer in ([0, 2], "0,2") else "B"}
    questions = question_files.read(written(tmp_path, {**FRUIT, "answer": answer}, single))
    assert questions.metrics == ("exact_set", "partial_credit")
    assert [document["answer"] for document in questions.documents] == ["AC", "B"]
    assert questions.documents[0]["prompt"] == (
        "问题：哪些是水果？\nA. 苹果\nB. 石头\nC. 梨\nD. 铁\n答案（一个或多个字母）："
    )


def test_letter_sets_are_generated_and_compared(base: Path, tmp_path: Path, capsys) -> None:
    file = written(tmp_path, FRUIT, {**FRUIT, "question": "哪个是石头？", "answer": "B"})
    requests = built(file, (), 1).instances
    assert "\n答案（一个或多个字母）：B\n\n问题：" in requests[0].args[0]
    assert requests[0].args[1]["until"] == ["\n问题：", "\n\n"]
    task = file_tasks.build(str(file))
    document = task.documents[0]
    assert task.score(document, ["AC"]) == {"exact_set": 1, "partial_credit": 1}
    assert task.score(document, ["A"]) == {"exact_set": 0, "partial_credit": 0.5}
    assert task.score(document, ["AB"]) == task.score(document, [""]) == {"exact_set": 0, "partial_credit": 0}
    assert (task.understood(document, "AC"), task.understood(document, "")) == (True, False)
    [report] = run([parse(str(base))], Options((str(file),), tmp_path / "out", max_gen_toks=8))
    assert [(score.metric, score.n) for score in report.manifest.scores] == [("exact_set", 2), ("partial_credit", 2)]
    assert main(["run", "--model", str(base), "--tasks", str(file), "--metric", "bleu"]) == 2
    assert "with answers in words, and no task here is one" in capsys.readouterr().err
    predictions = written(
        tmp_path, {"id": 0, "prediction": "\n选A和C。"}, {"id": 1, "prediction": "B股"}, name="p.jsonl"
    )
    assert main(["score", "--predictions", str(predictions), "--task", str(file), "-o", str(tmp_path / "out")]) == 0
    assert " 50.0 %" in capsys.readouterr().out


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


def test_right_answers_of_mmlus_files_are_read_as_places(data: Path) -> None:
    """Many choices of MMLU are numbers, which must not be taken for places."""
    count = 0
    for file in sorted((data / "cais/mmlu").glob("*/test-*.parquet")):
        answers = list(pd.read_parquet(file, columns=["answer"])["answer"])
        assert [document["answer"] for document in question_files.read(file).documents] == answers
        count += len(answers)
    assert count >= 14042


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
        [{"question": f"第{i}问：甲乙丙？", "answer": f"答{i}"} for i in range(12)],
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


# --- wrong inputs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "comparisons", "message"),
    [
        ([], (), "holds no rows"),
        ([{"title": "a", "body": "b"}], (), "no known layout in the columns title, body: rename them"),
        ([{"question": "谁？", "answer": "我"}], (), "has answers in words: say how they are compared, with --metric"),
        ([{"question": "谁？", "answer": "我"}], ("f1",), "there is no --metric f1 for answers in words: choose among"),
        ([{"question": "谁？", "answer": "我"}], ("number",), "line 1: its answer '我' holds no number"),
        (
            [{"question": "?", "answer": "a"}, {"question": "?", "answer": "😀!"}],
            ("rouge",),
            "line 2: its answer '😀!'",
        ),
        ([{"question": "?", "answers": ["a", "❤️"]}], ("bleu",), "line 1: its answer '❤️' has no word"),
        ([BUY, {"question": "谁？"}], (), "line 2: 'A', 'B' … is not a list of 2 to 26 choices"),
        ([BUY, {**BUY, "answer": "C"}], (), "line 2: 'answer' is 'C', which is not one of its 2 choices"),
        ([BUY, {**BUY, "answer": None}], (), "line 2: 'answer' does not name one choice"),
        ([{**BUY, "answer": 0}, {**BUY, "answer": 2}], (), "which is not one of its 2 choices, counted from 0"),
        ([BUY, {**BUY, "answer": 1}], (), "line 2: 'answer' is '1', which is not one of its 2 choices"),
        ([{**BUY, "A": "1", "B": "0", "answer": "0"}], (), "may be texts of choices, or count them from 0: name them"),
        ([{**BUY, "answer": 1}, {**BUY, "answer": 1}], (), "they may count from 1: name them by letters"),
        ([{**BUY, "A": "B", "B": "甲", "answer": "B"}], (), "is more than one of its 2 choices"),
        ([{**BUY, "B": "书店", "answer": "书店"}], (), "'answer' is '书店', which is more than one of its 2 choices"),
        ([{**BUY, "answer": "AX"}], (), "'answer' is 'AX', which is not one of its 2 choices"),
        ([{**BUY, "answer": "ABA"}], (), "'answer' names a choice twice"),
        ([{**BUY, "answer": ["A", "书店"]}], (), "'answer' names a choice twice"),
        ([{**BUY, "answer": []}], (), "line 1: 'answer' is an empty list"),
        ([{**BUY, "answer": "bad"}], (), "'answer' is 'bad', which is not one of its 2 choices"),
        ([FRUIT, {**FRUIT, "D": "AB", "answer": "AB"}], (), "line 2: 'answer' is 'AB', which may be the text of a"),
        ([{**FRUIT, "answer": [1, 3]}], (), "they may count from 1: name them by letters"),
        ([{**FRUIT, "answer": "1,3"}], (), "they may count from 1: name them by letters"),
        ([{"question": "谁？", "answer": float("nan")}], ("bleu",), "line 1: 'answer' is not a text"),
        ([{"question": "谁？", "answer": "我"}, BUY], ("bleu",), "line 1: 'A', 'B' … is not a list of 2 to 26 choices"),
        (
            [{"content": "一", "summary": "二", "A": "三", "B": "四"}],
            (),
            "no known layout in the columns content, summary",
        ),
        ([{"question": "谁？", "answer": "2024/05/01"}], (), "has answers in words"),
        ([{"question": "谁？", "answer": "1,3,4"}], (), "has answers in words"),
        ([{"question": "", "answer": "1"}], (), "line 1: 'question' is missing or empty"),
        ([{"question": ["a"], "answer": "1"}], (), "line 1: 'question' is not a text"),
        ([{"question": "谁？", "answer": {"a": 1}}], ("bleu",), "line 1: 'answer' is not a text"),
        (
            [{"question": "谁？", "answers": []}],
            ("bleu",),
            "line 1: 'answers' is an empty list, or has entries that are not",
        ),
        (
            [{"instruction": "a", "output": "b", "history": ["c"]}],
            ("bleu",),
            "'history' is not a list of questions and",
        ),
        ([{"messages": [{"role": "user", "content": "a"}]}], ("bleu",), "does not end with a question and its answer"),
        ([{"messages": [{"role": "tool", "content": "a"}]}], ("bleu",), "of a role (tool) other than system, human"),
        ([{"messages": ["a"]}], ("bleu",), "line 1: 'messages' holds an item that is not a turn"),
    ],
)
def test_a_file_that_cannot_be_a_test_set_is_refused(
    tmp_path: Path, rows: Any, comparisons: Any, message: str, capsys
) -> None:
    file = written(tmp_path, *rows)
    with pytest.raises(HarnessError) as error:
        question_files.read(file, comparisons)
    assert message in str(error.value)
    assert str(file) in str(error.value)
    metric = ["--metric", ",".join(comparisons)] if comparisons else []
    assert (
        main(["run", "--model", "nowhere", "--tasks", str(file), *metric]) == 2
    )  # before any checkpoint is looked for
    assert message in capsys.readouterr().err


def test_a_metric_without_a_test_set_is_refused(base: Path, capsys) -> None:
    assert main(["run", "--model", str(base), "--tasks", "ceval", "--metric", "bleu"]) == 2
    assert "--metric is for a test set of your own" in capsys.readouterr().err


def test_a_metric_applies_to_the_test_sets_with_answers_in_words(base: Path, tmp_path: Path, capsys) -> None:
    written(tmp_path, BUY, {**BUY, "answer": "B"}, name="choices.jsonl")
    assert main(["run", "--model", str(base), "--tasks", str(tmp_path / "*.jsonl"), "--metric", "bleu"]) == 2
    assert "with answers in words, and no task here is one" in capsys.readouterr().err
    written(tmp_path, {"prompt": "写诗", "completion": "春眠不觉晓"}, name="words.jsonl")
    options = Options((str(tmp_path / "*.jsonl"),), tmp_path / "out", comparisons=("bleu",), max_gen_toks=4)
    [report] = run([parse(str(base))], options)
    scores = [(score.task, score.metric) for score in report.manifest.scores]
    assert scores == [("choices.jsonl", "acc"), ("words.jsonl", "bleu4_characters")]
    with pytest.raises(HarnessError, match="no file matches"):
        next(run([parse(str(base))], Options((str(tmp_path / "*.csv"),), tmp_path / "out")))


def test_a_path_of_no_test_set_is_refused_with_advice(base: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "x.txt").write_text("text")
    assert main(["run", "--model", str(base), "--tasks", str(tmp_path / "x.txt")]) == 2
    assert f"to measure a text write ppl:{tmp_path / 'x.txt'}" in capsys.readouterr().err
    assert main(["run", "--model", str(base), "--tasks", "nowhere.jsonl"]) == 2
    assert "there is no file nowhere.jsonl: check the path" in capsys.readouterr().err


def test_a_test_set_can_be_described_and_forecast(base: Path, tmp_path: Path, capsys) -> None:
    file = written(tmp_path, BUY, {**BUY, "question": "哪里卖鱼？", "answer": "B"})
    assert main(["tasks", str(file), "--num-fewshot", "1"]) == 0
    shown = capsys.readouterr().out
    assert "哪里卖鱼？\nA. 书店\nB. 鱼市\n答案：B\n\n哪里卖纸？\nA. 书店\nB. 鱼市\n答案：\n" in shown
    assert "A test set of one's own (question, A, B, answer): the likeliest letter." in " ".join(shown.split())
    assert main(["run", "--dry-run", "--model", str(base), "--tasks", str(file)]) == 0
    assert "my.jsonl" in capsys.readouterr().out
