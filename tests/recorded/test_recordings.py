"""Predictions among other files, and in odd shapes: they are found, or an error says what is wrong."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from harness.recorded import recordings
from harness.recorded.score import Scoring, score
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.catalogue import Catalogue
from support import invented, tiny

HALF = "\\ud83d"
"""The first half of a surrogate pair, as JSON writes it."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return invented.mirror(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def correct(data: Path) -> list[str]:
    """Return lines with the correct answers to GSM8K."""
    documents = Catalogue().load(["gsm8k"], data).tasks["gsm8k"].documents
    return [json.dumps({"id": i, "prediction": document["answer"]}) for i, document in enumerate(documents)]


def write(file: Path, lines: list[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    file.write_text(text + "\n", encoding="utf-8")
    return file


def pack(file: Path, members: dict[str, bytes], encoding: str = "utf-8") -> Path:
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT, encoding=encoding) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


def only(reports: Iterator[Report]) -> Report:
    (report,) = reports
    return report


def value(report: Report) -> float:
    return report.manifest.scores[0].value


# --- lines ------------------------------------------------------------------------------------------------------------


def test_a_broken_first_line_does_not_hide_a_file(data: Path, correct: list[str], tmp_path: Path) -> None:
    write(tmp_path / "in" / "gsm8k.jsonl", ["{", *correct[1:]])
    with pytest.raises(HarnessError, match=r"gsm8k.jsonl, line 1, is not JSON"):
        list(score(Scoring(tmp_path / "in", tmp_path / "out", data=data)))


@pytest.mark.parametrize("line", ['{"id": 0, "prediction": "%s"}', '{"id": 0, "prediction": "", "prompt": "%s"}'])
def test_half_a_surrogate_pair_is_an_error(data: Path, correct: list[str], tmp_path: Path, line: str) -> None:
    file = write(tmp_path / "gsm8k.jsonl", [line % HALF, *correct[1:]])
    with pytest.raises(HarnessError, match=r"line 1, is not JSON \(a text has half of a character, '\\ud83d'\)"):
        list(score(Scoring(file, tmp_path / "out", data=data)))
    assert value(only(score(Scoring(file, tmp_path / "out", data=data, keep_going=True)))) == 5 / 6
    whole = write(tmp_path / "gsm8k.jsonl", [line % (HALF + "\\ude00"), *correct[1:]])
    assert value(only(score(Scoring(whole, tmp_path / "out", data=data)))) == 5 / 6


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gsm8k.JSONL").write_text('{"id": 0, "prediction": "7", "prediction": "8"}')
    with pytest.raises(HarnessError, match=r"line 1, is not JSON \(an object has the key 'prediction' twice\)"):
        list(recordings.find(tmp_path / "gsm8k.JSONL"))


def test_byte_order_marks_of_joined_files_are_left_out(tmp_path: Path) -> None:
    lines = '\ufeff{"id": 0, "prediction": "7"}\n\ufeff{"id": 1, "prediction": "8"}\n'
    (tmp_path / "gsm8k.jsonl").write_text(lines, encoding="utf-8")
    [recording] = recordings.find(tmp_path / "gsm8k.jsonl")
    assert [answer.responses for answer in recording.tasks[0].answers] == [(("7",),), (("8",),)]


def test_a_likelihood_of_400_digits_is_an_error(data: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "ceval_law.jsonl", [{"id": 0, "logprobs": [0, -1, -2, -(10**400)]}])
    with pytest.raises(HarnessError, match=r"line 1, is not JSON \(a number has more than 308 digits"):
        list(score(Scoring(file, tmp_path / "out", data=data)))


def test_answers_beyond_the_limit_are_counted(data: Path, correct: list[str], tmp_path: Path) -> None:
    report = only(score(Scoring(write(tmp_path / "gsm8k.jsonl", correct), tmp_path / "out", data=data, limit=4)))
    assert "gsm8k: 2 answers to documents beyond the limit of 4 are left out" in report.manifest.notes


def test_likelihoods_of_too_many_choices_are_an_error(data: Path, tmp_path: Path) -> None:
    rows = [{"id": i, "logprobs": [0, -1, -2, -3, -4]} for i in range(2)]
    with pytest.raises(HarnessError, match="line 1, has 5 responses, but ceval_law needs 4"):
        list(score(Scoring(write(tmp_path / "ceval_law.jsonl", rows), tmp_path / "out", data=data)))


# --- documents in the file --------------------------------------------------------------------------------------------


def sample(number: int, **changes: Any) -> dict[str, Any]:
    document = {"question": "2 + 1?", "answer": "#### 3"}
    line = {"doc_id": number, "doc": document, "arguments": [["2 + 1?", {}]], "resps": [["#### 3"]], "filter": "none"}
    return line | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resps": "abc"}, "has no 'doc_id', 'doc' and 'resps' as lm-eval writes them"),
        ({"resps": {"abc": 1}}, "has no 'doc_id', 'doc' and 'resps' as lm-eval writes them"),
        ({"doc_id": -1}, "has no 'doc_id', 'doc' and 'resps' as lm-eval writes them"),
        ({"resps": [["a"], ["b"]]}, "has 2 responses, but gsm8k needs 1"),
        ({"doc": {"question": "2 + 1?"}}, "task gsm8k cannot be built on the recorded documents .* name the task"),
        ({"doc": {"question": "", "answer": 10**40}}, "the recorded documents of task gsm8k make no table"),
    ],
)
def test_samples_that_lm_eval_does_not_write_are_errors(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = write(tmp_path / "samples_gsm8k_2026-11-26T05-53-39.123456.jsonl", [sample(0, **changes)])
    with pytest.raises(HarnessError, match=message):
        list(score(Scoring(file, tmp_path / "out")))


def test_an_id_of_ten_digits_is_not_counted_up_to(tmp_path: Path) -> None:
    file = write(tmp_path / "samples_gsm8k_2026-11-26T05-53-39.123456.jsonl", [sample(0), sample(9_999_999_999)])
    started = time.monotonic()
    with pytest.raises(HarnessError, match="9,999,999,998 entries are missing, the first is 1: add them"):
        list(score(Scoring(file, tmp_path / "out")))
    assert time.monotonic() - started < 60


def entry(refr: str) -> dict[str, str]:
    return {"origin_prompt": "", "prediction": "正确答案:A", "refr": refr}


def lawbench(file: Path, *entries: tuple[str, str]) -> Path:
    content = ", ".join(f"{json.dumps(key)}: {json.dumps(entry(refr))}" for key, refr in entries)
    return write(file, [f"{{{content}}}"])


def test_the_first_of_two_entries_with_one_number_counts(tmp_path: Path) -> None:
    file = lawbench(tmp_path / "m" / "1-2.json", ("0", "正确答案:A"), ("0", "正确答案:B"))
    with pytest.raises(HarnessError, match=r"1-2.json, entry 0, appears twice"):
        list(score(Scoring(file, tmp_path / "out")))
    assert value(only(score(Scoring(file, tmp_path / "out", keep_going=True)))) == 1


@pytest.mark.parametrize(
    ("key", "refr", "message"),
    [
        ("0", "谁知道", r"1-2.json: lawbench_1_2 cannot be scored by the references in it \(.*\): correct them"),
        ("9" * 5000, "正确答案:A", "is not numbered"),
        ("٣", "正确答案:A", "is not numbered"),
    ],
)
def test_entries_that_lawbench_does_not_write_are_errors(tmp_path: Path, key: str, refr: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        list(score(Scoring(lawbench(tmp_path / "m" / "1-2.json", (key, refr)), tmp_path / "out")))


def test_a_file_without_answers_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"1-2.json, holds no answers"):
        list(score(Scoring(lawbench(tmp_path / "m" / "1-2.json"), tmp_path / "out")))


# --- where files are --------------------------------------------------------------------------------------------------


def test_a_file_named_after_its_task_belongs_to_the_model_of_its_folder(tmp_path: Path) -> None:
    file = lawbench(tmp_path / "qwen" / "1-2.json", ("0", "正确答案:A"))
    assert only(score(Scoring(file, tmp_path / "out"))).manifest.checkpoint.name == "qwen"
    other = write(tmp_path / "glm" / "samples_gsm8k_2026-11-26T05-53-39.123456.jsonl", [sample(0)])
    assert only(score(Scoring(other, tmp_path / "out"))).manifest.checkpoint.name == "glm"


def test_a_table_of_disc_law_is_recognised_by_its_folder(tmp_path: Path) -> None:
    file = write(tmp_path / "qwen" / "multi" / "pae_results.csv", ["input,model_output"])
    for path in (file, file.parent, file.parent.parent):
        with pytest.raises(HarnessError, match=r"pae_results.csv, holds no answers"):
            list(score(Scoring(path, tmp_path / "out")))


def test_a_table_of_disc_law_whose_header_is_no_csv_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "qwen" / "multi" / "pae_results.csv", ['"input"x,model_output'])
    with pytest.raises(HarnessError, match=r"pae_results.csv, line 0, is not CSV"):
        list(score(Scoring(file, tmp_path / "out")))


def test_a_named_format_leaves_other_files_alone(data: Path, correct: list[str], tmp_path: Path) -> None:
    write(tmp_path / "in" / "gsm8k.jsonl", correct)
    write(tmp_path / "in" / "README.txt", ["What is here."])
    assert value(only(score(Scoring(tmp_path / "in", tmp_path / "out", data=data, format="jsonl")))) == 1


def test_a_folder_that_cannot_be_read_is_an_error(
    data: Path, correct: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in" / "a" / "gsm8k.jsonl", correct)
    write(tmp_path / "in" / "locked" / "gsm8k.jsonl", correct)
    scan = os.scandir

    def guarded(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(HarnessError, match=r"locked cannot be read \(Permission denied\)"):
        list(score(Scoring(tmp_path / "in", tmp_path / "out", data=data)))


def test_members_of_an_archive_may_have_odd_names(data: Path, correct: list[str], tmp_path: Path) -> None:
    content = "\n".join(correct).encode()
    for name, encoding in (("模型/gsm8k.jsonl", "gbk"), ("/models/m/gsm8k.jsonl", "utf-8"), ("./gsm8k.jsonl", "utf-8")):
        members = {name: content, "m/._gsm8k.jsonl": b"\xff\xfe what macOS adds"}
        archive = pack(tmp_path / "odd.tar", members, encoding)
        assert value(only(score(Scoring(archive, tmp_path / "out", data=data)))) == 1


def test_answers_to_all_tasks_of_a_group_get_its_averages(data: Path, tmp_path: Path) -> None:
    for subject in invented.subjects():
        rows = [{"id": i, "logprobs": [0, -1, -2, -3]} for i in range(2)]
        write(tmp_path / "in" / f"ceval_{subject}.jsonl", rows)
    report = only(score(Scoring(tmp_path / "in", tmp_path / "out", data=data, task="ceval")))
    assert {"ceval", "ceval/Hard"} <= {score.task for score in report.manifest.scores}
    assert len(report.manifest.tasks) == 52


def test_one_name_for_several_models_is_refused(data: Path, correct: list[str], tmp_path: Path) -> None:
    for model in ("a", "b"):
        write(tmp_path / "in" / model / "gsm8k.jsonl", correct)
    with pytest.raises(HarnessError, match="holds answers of several models: leave --name out"):
        list(score(Scoring(tmp_path / "in", tmp_path / "out", data=data, name="x")))
    assert not list(tmp_path.glob("out/*"))


def test_a_long_chinese_name_is_shortened_for_the_folder(data: Path, correct: list[str], tmp_path: Path) -> None:
    file = write(tmp_path / "gsm8k.jsonl", correct)
    report = only(score(Scoring(file, tmp_path / "out", data=data, name="模型" * 100)))
    assert report.manifest.checkpoint.name == "模型" * 100


# --- tasks made of files ----------------------------------------------------------------------------------------------


def test_answers_to_a_test_set_of_ones_own_are_scored(tmp_path: Path) -> None:
    questions = write(
        tmp_path / "mine.jsonl", [{"question": "2 + 3?", "answer": "5"}, {"question": "4?", "answer": "4"}]
    )
    answers = write(tmp_path / "answers.jsonl", [{"id": 0, "prediction": "5"}, {"id": 1, "prediction": "5"}])
    report = only(score(Scoring(answers, tmp_path / "out", task=str(questions))))
    assert list(report.manifest.tasks) == ["mine.jsonl"]
    assert value(report) == 1 / 2


def test_a_report_on_ones_own_files_is_scored_again_with_the_same_scores(tmp_path: Path) -> None:
    base = tiny.llama(tmp_path / "base", context=512)
    text = write(tmp_path / "text.jsonl", [{"text": "好的"}, {"text": "a b"}])
    questions = write(tmp_path / "mine.jsonl", [{"question": "2 + 3?", "answer": "5"}])
    for task in (f"ppl:{text}", str(questions)):
        first = only(run([parse(str(base))], Options(tasks=(task,), output=tmp_path / "runs")))
        again = only(score(Scoring(first.folder, tmp_path / "out", task=task)))
        assert again.manifest.scores == first.manifest.scores
