"""The answers of a run, written to a file and scored by `harness score`, give the numbers of the run."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.checkpoints.reference import parse
from harness.cli import main
from harness.engine.decoding.stopping import Stopper
from harness.engine.engine import AnswerBatch, Engine
from harness.engine.requests import Generation, Prompt
from harness.recorded import score
from harness.reports.report import Report, TaskInfo
from harness.runs.options import Options
from harness.runs.sweep import run
from support import tiny

TEXTS = (
    "\n7\n\nQuestion: 8",
    "<think>答案是 B，89</think>\n\n答案：A",
    "<think>An open thought: #### 12",
    "  ",
    "",
    "A\n问题：下一个？",
    "The answer is 1,200.\n#### 1,200",
    "89</think>7",
    "<think>89</think><think>7",
    "Sure. <think>7",
    "Sure. <think>89\n\n8</think>7",
    "<think>8</think>7\n\nQuestion: 9\n问题：<think>9</think>12",
    "[THINK]8[/THINK]\n<think>9</think>B",
    "[THINK]A[/THINK]AC",
    "这件上衣的版型宽松，显瘦百搭。\n\n\n类型#裙",
    '{"人名": ["张三"], "地址": []}',
    "[正确答案]D",
    "对，正确。",
    "根据《中华人民共和国刑法》第二百六十四条，判处罚金。",
    "3×10^8",
    "\n\n选C。\n\n",
)
"""What a model may generate if nothing stops it: thoughts, stop strings, white space, other notations."""
FAMILIES = (
    *("gsm8k", "gsm8k_fixed", "ceval_gen_law", "ceval_gen_cot_law", "c3_gen", "cmnli_gen", "adgen"),
    *("lawbench_1_1", "lawbench_1_2", "lawbench_3_3", "jec_qa_kd", "disc_law_single_nje", "disc_law_multiple_nje"),
    *("legal_consult", "cluener_json", "duie", "conll2003_ner", "iepile_ner"),
)
DATA_SETS = (
    *("openai/gsm8k", "ceval/ceval-exam/law", "clue/clue/c3", "clue/clue/cmnli", "shibing624/AdvertiseGen"),
    *("open-compass/LawBench/1-1", "open-compass/LawBench/1-2", "open-compass/LawBench/3-3"),
    *("hails/agieval-jec-qa-kd", "FudanDISC/DISC-Law-Eval", "AndrewZhe/lawyer-llama", "CLUEbenchmark/CLUENER2020"),
    *("baidu/DuIE2.0", "eriktks/conll2003", "zjunlp/iepile-samples"),
)
"""The folders of the data that `FAMILIES` read."""
LIMIT = 3
WORDS = tiny.tokenizer()


def text_of(prompt: str, texts: dict[str, str]) -> str:
    """Return the text that was decoded after `prompt`, which its task may have cut on the right."""
    return texts[prompt] if prompt in texts else next(text for cut, text in texts.items() if prompt.startswith(cut))


def decoded(engine: Engine, prompt: Prompt, tokens: list[int]) -> Generation:
    """Return what the decoding loop of `engine` makes of `tokens` that a model chooses one after another."""
    stopper = Stopper(WORDS, prompt.settings.until, [WORDS.eos_token_id], engine.marks)
    stopper.watch(0, thinking=prompt.thinking)
    lengths = range(1, len(tokens) + 1)
    end = next((length for length in lengths if stopper.ended([0], [tokens[:length]])[0]), None)
    continuation = stopper.finish(tokens[:end], thinking=prompt.thinking, ended=end is not None)
    return Generation(continuation.text, continuation.is_cut)


def answered(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    data: Path | None,
    *tasks: str,
    reference: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> tuple[Report, dict[str, dict[int, str]]]:
    """Return a run's report, and the texts that were decoded, by prompt."""
    texts: dict[str, str] = {}

    def decode(engine: Engine, prompts: Any, missing: Any) -> Any:
        for index, prompt in enumerate(prompts):
            if missing[index]:
                shown = WORDS.decode(prompt.ids, skip_special_tokens=True)
                text = TEXTS[zlib.crc32(shown.encode()) % len(TEXTS)]
                tokens = [*WORDS.encode(text, add_special_tokens=False), WORDS.eos_token_id]
                tokens = tokens[: prompt.settings.max_tokens]
                texts[shown] = WORDS.decode(tokens, skip_special_tokens=True)
                yield AnswerBatch([(index, decoded(engine, prompt, tokens))], 0, 3)

    monkeypatch.setattr(Engine, "decode", decode)
    base = tiny.llama(folder / "base", context=32_768)
    [report] = run(
        [replace(parse(str(base)), **reference)], Options(tasks=tasks, output=folder / "runs", data=data, **options)
    )
    by_task = {}
    for task in report.manifest.tasks:
        rows = report.samples(task).drop_duplicates("doc_id")
        by_task[task] = {row["doc_id"]: text_of(row["prompt"], texts) for row in rows.to_dict("records")}
    return report, by_task


def scored(folder: Path, task: str, data: Path | None, texts: dict[int, str], **options: Any) -> Report:
    file = folder / f"{Path(task).name}.recorded.jsonl"
    lines = (json.dumps({"id": i, "prediction": text}, ensure_ascii=False) for i, text in texts.items())
    file.write_text("\n".join(lines), encoding="utf-8")
    name = Path(task).name
    scoring = score.Scoring(file, folder / "scored", task=task, data=data, format="jsonl", name=name, **options)
    [report] = score.score(scoring)
    return report


def first_rows(data: Path, folder: Path) -> Path:
    """Write the first rows of each data set of `FAMILIES` into `folder`, which is read faster than `data`."""
    for name in DATA_SETS:
        card = data / Path(name).parts[0] / Path(name).parts[1] / "README.md"
        for file in filter(Path.is_file, (card, *(data / name).rglob("*"))):
            copy = folder / file.relative_to(data)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".parquet":
                pq.write_table(pq.read_table(file).slice(0, 10 * LIMIT), copy)
            else:
                shutil.copyfile(file, copy)
    return folder


def require_equal(one: Report, again: Report, task: str) -> None:
    columns = ["filter", "responses", "prediction", "understood"]
    metrics = sorted({score.metric for score in one.manifest.scores if score.task == task})
    first, second = one.samples(task), again.samples(task)
    for column in [*columns, *metrics]:
        assert first[column].map(repr).tolist() == second[column].map(repr).tolist(), (task, column)
    assert {(s.metric, s.filter): s.value for s in one.manifest.scores if s.task == task} == pytest.approx(
        {(s.metric, s.filter): s.value for s in again.manifest.scores if s.task == task}
    )
    counts = ("answers", "empty_answers", "thoughts", "unfinished_thoughts", "not_understood")
    before, after = one.manifest.tasks[task], again.manifest.tasks[task]
    assert [getattr(before, name) for name in counts] == [getattr(after, name) for name in counts]


@pytest.mark.data
def test_answers_of_every_family_give_the_same_scores_from_a_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beginning = first_rows(data, tmp_path / "data")
    report, texts = answered(monkeypatch, tmp_path, beginning, *FAMILIES, limit=LIMIT)
    for task in FAMILIES:
        require_equal(report, scored(tmp_path, task, beginning, texts[task], limit=LIMIT), task)


def test_a_recorded_prompt_that_opens_a_thought_is_heeded(tmp_path: Path) -> None:
    """A template that opens the thought leaves its opening mark in the prompt, and only the answer's end may show."""
    file = tmp_path / "own.jsonl"
    file.write_text('{"question": "3 + 4?", "answer": "7"}\n{"question": "1 + 1?", "answer": "2"}', encoding="utf-8")
    recorded = tmp_path / "recorded.jsonl"
    lines = (
        {"id": 0, "prompt": "3 + 4?<think>\n", "prediction": "it is 7"},
        {"id": 1, "prompt": "1 + 1?<think>\n", "prediction": "one and one</think>2"},
    )
    recorded.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    [report] = score.score(score.Scoring(recorded, tmp_path / "scored", task=str(file), format="jsonl"))
    assert report.samples("own.jsonl")["responses"].map(list).tolist() == [[""], ["2"]]
    assert report.manifest.tasks["own.jsonl"].unfinished_thoughts == 1


@pytest.mark.parametrize(
    ("think", "texts", "responses"),
    [
        (None, ["<plan>8</plan>7", "<think>8</think>7"], ["<plan>8</plan>7", "7"]),
        ("<plan>,</plan>", ["<plan>8</plan>7", "<plan>8", "<think>8</think>7"], ["7", "", "<think>8</think>7"]),
        ("none", ["<plan>8</plan>7", "<think>8</think>7"], ["<plan>8</plan>7", "<think>8</think>7"]),
        ("[THINK],[/THINK]", ["[THINK]8[/THINK]Write </think>."], ["Write </think>."]),
    ],
)
def test_marks_that_are_named_are_those_of_a_reference(
    think: str | None, texts: list[str], responses: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.jsonl"
    rows = ({"question": f"{i} + 7 - {i}?", "answer": "7"} for i in range(len(texts)))
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    report = scored(tmp_path, str(file), None, dict(enumerate(texts)), comparisons=("contains",), think=think)
    assert [text for row in report.samples("own.jsonl")["responses"] for text in row] == responses
    monkeypatch.setattr(f"{__name__}.TEXTS", texts)
    key = {} if think is None else {"think": think}
    run_report, by_id = answered(monkeypatch, tmp_path, None, str(file), comparisons=("contains",), reference=key)
    require_equal(
        run_report,
        scored(tmp_path, str(file), None, by_id["own.jsonl"], comparisons=("contains",), think=think),
        "own.jsonl",
    )


@pytest.mark.parametrize("marks", ["<plan>", "a,a", "a,", "a,b,c"])
def test_marks_that_are_not_two_are_refused(marks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text('{"question": "3 + 4?", "answer": "7"}', encoding="utf-8")
    predictions = tmp_path / "answers.jsonl"
    predictions.write_text('{"id": 0, "prediction": "7"}', encoding="utf-8")
    arguments = ["score", "--predictions", str(predictions), "--task", str(file), "--metric", "number"]
    assert main([*arguments, "--think", marks, "-o", str(tmp_path / "out")]) == 2
    assert f"--think is two marks, --think START,END, or none, not '{marks}'" in capsys.readouterr().err


@pytest.mark.parametrize("mark", ["</s>", "<|im_end|>", "<eoa>\n", "<|endoftext|></s>"])
def test_end_marks_are_no_part_of_an_answer_to_an_own_file(mark: str, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text('{"question": "3 + 4?", "answer": "7"}', encoding="utf-8")
    report = scored(tmp_path, str(file), None, {0: f"7{mark}"}, comparisons=("exact_match",))
    assert report.samples("own.jsonl")["exact_match"].tolist() == [1.0]


@pytest.mark.parametrize(
    "text",
    [
        *("<s>7", "<|im_start|>assistant\n7", "[gMASK]sop7", "[gMASK]<sop> 7", "<|assistant|>\n7", "<｜Assistant｜>7"),
        *("7<|im_end|>\n<|im_start|>user\n8", "7<eoa>\n<|Human|>: 8", "assistant\n\n7", "[INST] 3 [/INST] 7"),
        *("<start_of_turn>model\n7", "analysisWe add.assistantfinal7", "analysis3 + 4 = 7. assistantfinal7"),
    ],
)
def test_answers_with_marks_of_a_chat_template_are_counted(text: str, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    rows = ({"question": f"{place} + 4?", "answer": "7"} for place in range(2))
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    report = scored(tmp_path, str(file), None, {0: "The analysis of <s>this</s> assistant: 7", 1: text})
    assert [note for note in report.manifest.notes if "chat template" in note] == [
        "own.jsonl: 1 of 2 answers hold marks of a chat template, which the metrics read as text (first: "
        "…/own.jsonl.recorded.jsonl, line 2)"
    ]


@pytest.mark.data
def test_marks_that_a_published_task_reads_as_text_are_counted(data: Path, tmp_path: Path) -> None:
    texts = {0: "A</s>", 1: "[正确答案]A<eoa>", 2: "A"}
    report = scored(tmp_path, "lawbench_1_2", data, texts, limit=3)
    assert any("2 of 3 answers hold marks of a chat template" in note for note in report.manifest.notes)


def test_marks_of_thoughts_that_occur_nowhere_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own.jsonl"
    rows = ({"question": f"{place} + 4?", "answer": "7"} for place in range(2))
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    texts = ["<think>8</think>7", "7"]
    report = scored(tmp_path, str(file), None, dict(enumerate(texts)), think="<paln>,</paln>")
    where = "…/own.jsonl.recorded.jsonl, line 1"
    assert report.manifest.notes == [
        "own.jsonl: the marks <paln> … </paln> (--think) occur in none of 2 answers",
        "own.jsonl: 1 of 2 answers hold a thought between marks that --think does not name, which the metrics read as "
        f"text (first: {where})",
    ]
    assert not scored(tmp_path, str(file), None, {0: "<plan>8</plan>7", 1: "7"}, think="<plan>,</plan>").manifest.notes
    monkeypatch.setattr(f"{__name__}.TEXTS", texts)
    run_report, _ = answered(monkeypatch, tmp_path, None, str(file), reference={"think": "<paln>,</paln>"})
    assert any(
        "the marks <paln> … </paln> (think=) occur in none of 2 ans" in note for note in run_report.manifest.notes
    )


@pytest.mark.parametrize("opening", ["", "<think>", "3 + 4?<think>\n"])
def test_a_second_thought_is_one_whoever_opened_the_first(opening: str, tmp_path: Path) -> None:
    file, recorded = tmp_path / "own.jsonl", tmp_path / "recorded.jsonl"
    file.write_text('{"question": "3 + 4?", "answer": "7"}', encoding="utf-8")
    prompt, start = (opening, "") if "?" in opening else ("3 + 4?", opening)
    line = {"id": 0, "prompt": prompt, "prediction": f"{start}8</think>\n<Thinking>9</Thinking>7"}
    recorded.write_text(json.dumps(line), encoding="utf-8")
    [report] = score.score(score.Scoring(recorded, tmp_path / "scored", task=str(file), format="jsonl"))
    assert report.samples("own.jsonl")["responses"].map(list).tolist() == [["7"]]


def test_recorded_texts_that_go_on_behind_a_stop_string_are_counted(tmp_path: Path) -> None:
    """A thought alone shortens no answer."""
    file = tmp_path / "own.jsonl"
    rows = ({"question": f"{i} + 1?", "answer": str(i + 1)} for i in range(4))
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    texts = {0: "1\nQuestion: 2 + 2?", 1: "<think>1 + 1</think>", 2: "<think>Hm.</think>3\n", 3: "4"}
    report = scored(tmp_path, str(file), None, texts, comparisons=("number",))
    [note] = [note for note in report.manifest.notes if "stop string" in note]
    assert note.startswith("own.jsonl: 1 recorded answer went on behind a stop string")
    assert report.samples("own.jsonl")["number"].tolist() == [1, 0, 1, 1]


@pytest.mark.data
def test_the_lines_of_chatglms_script_are_read_without_thoughts(data: Path, tmp_path: Path) -> None:
    """Its own runs sample, and cut references by a tokenizer that a file does not name."""
    texts = {0: "<think>裙子</think>一条连衣裙", 1: "<think>裙", 2: "一条半身裙"}
    report = scored(tmp_path, "adgen_chatglm", data, texts, limit=3)
    lines = [json.loads(text) for responses in report.samples("adgen_chatglm")["responses"] for text in responses]
    assert [line["predict"] for line in lines] == ["一条连衣裙", "", "一条半身裙"]
    info = report.manifest.tasks["adgen_chatglm"]
    assert (info.answers, info.thoughts, info.unfinished_thoughts) == (3, 2, 1)


def test_letter_sets_of_an_own_file_give_the_same_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "letters.jsonl"
    choices = {"A": "苹果", "B": "石头", "C": "梨", "D": "铁"}
    rows = ({"question": f"第{i}题：哪些是水果？", **choices, "answer": "AC"} for i in range(len(TEXTS)))
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    report, texts = answered(monkeypatch, tmp_path, None, str(file))
    require_equal(report, scored(tmp_path, str(file), None, texts["letters.jsonl"]), "letters.jsonl")


@pytest.mark.parametrize("metric", ["exact_match", "contains", "number", "rouge", "bleu"])
def test_answers_to_an_own_file_give_the_same_scores_and_do_not_depend_on_the_metric(
    metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.jsonl"
    rows = ({"question": f"第{i}个数是几？", "answer": f"答案是 {i}"} for i in range(len(TEXTS)))
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    report, texts = answered(monkeypatch, tmp_path, None, str(file), comparisons=(metric,))
    require_equal(report, scored(tmp_path, str(file), None, texts["own.jsonl"], comparisons=(metric,)), "own.jsonl")
    both, _ = answered(monkeypatch, tmp_path / "both", None, str(file), comparisons=(metric, "contains"))
    assert report.samples("own.jsonl")["responses"].map(list).tolist() == (
        both.samples("own.jsonl")["responses"].map(list).tolist()
    )


@pytest.fixture
def own_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Report]:
    """The report of a run on a file whose answers are read as numbers, some of them in vain."""
    file = tmp_path / "own.jsonl"
    rows = ({"question": f"第{i}个数是几？", "answer": f"答案是 {i}"} for i in range(len(TEXTS)))
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    report, _ = answered(monkeypatch, tmp_path, None, str(file), comparisons=("number",))
    return file, report


def again(file: Path, report: Report, **options: Any) -> TaskInfo:
    """Return what the manifest says of the file when the report's own answers are scored again."""
    settings = {"comparisons": ("number",), **options}
    scoring = score.Scoring(report.folder, file.parent / "again", task=str(file), **settings)
    [rescored] = score.score(scoring)
    return rescored.manifest.tasks["own.jsonl"]


COUNTS = ("answers", "empty_answers", "cut_answers", "unfinished_thoughts", "not_understood", "doubtful_documents")


def test_a_report_scored_again_counts_its_answers_again(own_report: tuple[Path, Report]) -> None:
    file, report = own_report
    before, after = report.manifest.tasks["own.jsonl"], again(file, report)
    assert [getattr(after, name) for name in COUNTS] == [getattr(before, name) for name in COUNTS]
    assert before.not_understood
    assert again(file, report, limit=2).answers == 2
    assert again(file, report, comparisons=("rouge",)).not_understood is None


def test_an_older_report_is_counted_when_it_is_scored_again(own_report: tuple[Path, Report]) -> None:
    """It lacks the columns that say how answers ended and what was understood."""
    file, report = own_report
    samples = report.folder / "samples" / "own.jsonl.parquet"
    pq.write_table(pq.read_table(samples).drop_columns(["endings", "understood"]), samples)
    before, after = report.manifest.tasks["own.jsonl"], again(file, report)
    assert (after.answers, after.not_understood) == (before.answers, before.not_understood)
    assert after.empty_answers == before.empty_answers + before.unfinished_thoughts  # which it cannot tell apart
    assert after.cut_answers is None
