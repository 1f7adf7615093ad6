"""Published answers, scored by one command, give the published scores."""

from __future__ import annotations

import csv
import io
import json
import statistics
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from harness.errors import HarnessError
from harness.recorded.score import Scoring, score
from harness.reports.report import Report
from support import mirrors
from tolerances import PUBLISHED_SCORE


def only(reports: Iterator[Report]) -> Report:
    (report,) = reports
    return report


def values(report: Report, task: str) -> dict[str, float]:
    return {score.metric: score.value for score in report.manifest.scores if score.task == task}


# --- ChatGLM-6B -------------------------------------------------------------------------------------------------------

GOLDEN = ("rouge-1", "rouge-2", "rouge-l", "bleu-4")


def predictions(folder: Path, lines: list[dict[str, str]]) -> Path:
    file = folder / "p-tuned" / "generated_predictions.txt"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return file


def test_chatglms_own_file_gives_its_own_scores(definitions: Path, tmp_path: Path) -> None:
    cases = json.loads((definitions / "adgen.json").read_text(encoding="utf-8"))["cases"]
    file = predictions(tmp_path, [{"labels": case["reference"], "predict": case["prediction"]} for case in cases])
    report = only(score(Scoring(file, tmp_path / "out")))
    assert report.manifest.checkpoint.name == "p-tuned"
    numbers, samples = values(report, "adgen_chatglm"), report.samples("adgen_chatglm")
    for place, name in enumerate(GOLDEN):
        published = [case["scores"][place] for case in cases]
        assert list(samples[f"predict_{name}"]) == published
        assert numbers[f"predict_{name}"] == pytest.approx(statistics.fmean(published))
    assert not {name for name in numbers if name.endswith("_sd")}, "one seed has no standard deviation"
    assert "coverage" not in numbers, "such a file contains no attributes"


def test_with_the_data_at_hand_lines_belong_to_their_documents(tmp_path: Path) -> None:
    rows = [
        {"content": "类型#裙*颜色#红色", "summary": "红色的裙子，飘逸又显瘦。"},
        {"content": "类型#上衣*颜色#白色", "summary": "白色的上衣，简约大方。"},
    ]
    mirrors.write(tmp_path / "data", "shibing624/AdvertiseGen", "default", validation=rows)
    # Upstream cuts references to 62 tokens.
    lines = [{"labels": row["summary"][:6], "predict": "红色的长裙。"} for row in rows]
    report = only(score(Scoring(predictions(tmp_path, lines), tmp_path / "out", data=tmp_path / "data")))
    assert values(report, "adgen_chatglm")["coverage"] == (1 + 0) / 2
    assert list(report.samples("adgen_chatglm")["prompt"]) == [row["content"] for row in rows]
    responses = [json.loads(texts[0]) for texts in report.samples("adgen_chatglm")["responses"]]
    assert responses == lines
    # In another order they do not: the references in the file count, and the report says why.
    other = only(score(Scoring(predictions(tmp_path, lines[::-1]), tmp_path / "other", data=tmp_path / "data")))
    assert any("has another 'summary' than document 0" in note for note in other.manifest.notes)
    assert "coverage" not in values(other, "adgen_chatglm")


def test_answers_in_our_own_format_are_scored_by_whole_references_and_a_note_says_so(tmp_path: Path) -> None:
    rows = [{"content": "类型#裙*颜色#红色", "summary": "红色的裙子，飘逸又显瘦。"}]
    mirrors.write(tmp_path / "data", "shibing624/AdvertiseGen", "default", validation=rows)
    lines = [{"labels": "红色", "predict": "红色的长裙。"}]
    own_lines = tmp_path / "adgen_chatglm.jsonl"
    own_lines.write_text(json.dumps({"id": 0, "prediction": "红色的长裙。"}), encoding="utf-8")
    for file, is_noted in ((predictions(tmp_path, lines), False), (own_lines, True)):
        report = only(score(Scoring(file, tmp_path / "out", data=tmp_path / "data")))
        assert any("references are whole" in note for note in report.manifest.notes) is is_noted


def test_a_malformed_line_of_chatglms_file_is_named(tmp_path: Path) -> None:
    file = predictions(tmp_path, [{"labels": "好", "predict": "好"}, {"labels": "好"}])
    with pytest.raises(
        HarnessError, match=r"generated_predictions.txt, line 2, lacks the texts 'labels' and 'predict'"
    ):
        list(score(Scoring(file, tmp_path / "out")))
    report = only(score(Scoring(file, tmp_path / "out", keep_going=True)))
    assert any("1 entries could not be read" in note for note in report.manifest.notes)


# --- LawBench ---------------------------------------------------------------------------------------------------------

UNPUBLISHED = ("2-9", "2-10")
PROOFREADING = "2-1"
"""The task whose score depends on upstream's tables of characters, too."""


def compare_with_published(report: Report, data: Path) -> set[str]:
    """Compare every score and abstention rate with the table; return the tasks compared."""
    model, compared = report.manifest.checkpoint.name, set()
    with (data / "predictions" / "lawbench-zero-shot-results.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model_name"] == model]
    for row in rows:
        task = f"lawbench_{row['task'].replace('-', '_')}"
        if task in report.manifest.tasks and row["task"] not in (*UNPUBLISHED, PROOFREADING):
            numbers = values(report, task)
            assert numbers["score"] == pytest.approx(float(row["score"]), abs=PUBLISHED_SCORE), (model, task)
            assert numbers["abstention"] == pytest.approx(float(row["abstention_rate"]), abs=PUBLISHED_SCORE)
            compared.add(task)
    return compared


@pytest.mark.data
@pytest.mark.parametrize("at_hand", [True, False])
def test_lawbenchs_published_answers_give_its_published_scores(data: Path, tmp_path: Path, at_hand: bool) -> None:
    tasks = {"1-2", "2-2", "2-5", "3-3", "3-4"}
    with tarfile.open(data / "predictions" / "lawbench-zero-shot" / "qwen-7b-chat-hf.tar.xz") as archive:
        for member in archive:
            if PurePosixPath(member.name).stem in tasks:
                archive.extract(member, tmp_path, filter="data")
    report = only(score(Scoring(tmp_path / "qwen-7b-chat-hf", tmp_path / "out", data=data if at_hand else None)))
    assert compare_with_published(report, data) == set(report.manifest.tasks)
    assert len(report.manifest.tasks) == len(tasks)
    # Its 2-2 was answered on other documents than those of the data: the references in the file count.
    (note,) = [note for note in report.manifest.notes if "scored by the references in the file" in note]
    assert ("lawbench_2_2: scored" in note) is at_hand
    prompts = report.samples("lawbench_1_2")["prompt"]
    assert all(prompt.strip().startswith("<|im_start|>user") for prompt in prompts), "not the model's own prompts"


@pytest.mark.data
def test_models_prompted_with_their_own_chat_templates_can_be_compared(data: Path, tmp_path: Path) -> None:
    reports = []
    for model in ("qwen-7b-chat-hf", "llama-2-7b-chat"):
        with tarfile.open(data / "predictions" / "lawbench-zero-shot" / f"{model}.tar.xz") as archive:
            for member in archive:
                if PurePosixPath(member.name).stem == "1-2":
                    archive.extract(member, tmp_path / "in", filter="data")
        reports.append(only(score(Scoring(tmp_path / "in" / model, tmp_path / "out", data=data))))
    first, second = (report.manifest.tasks["lawbench_1_2"] for report in reports)
    assert first.prompt_hash == second.prompt_hash
    prompts = [report.samples("lawbench_1_2")["prompt"] for report in reports]
    assert not set(prompts[0]) & set(prompts[1])


@pytest.mark.data
def test_proofreading_is_scored_with_the_question_of_the_prompt(data: Path, tmp_path: Path) -> None:
    name = "lawgpt-7b-beta1.0-hf"
    with tarfile.open(data / "predictions" / "lawbench-zero-shot" / f"{name}.tar.xz") as archive:
        file = archive.extractfile(next(member for member in archive if member.name.endswith("/2-1.json")))
        entries = json.load(file or io.BytesIO())
    few = tmp_path / name / "2-1.json"
    few.parent.mkdir()
    few.write_text(json.dumps({key: entries[key] for key in map(str, range(30))}), encoding="utf-8")
    reports = [only(score(Scoring(few.parent, tmp_path / "out", data=folder, limit=30))) for folder in (data, None)]
    with_data, without = (values(report, "lawbench_2_1") for report in reports)
    assert with_data == without
    assert with_data["score"] > 2 * with_data["score_repaired"]


def test_references_of_another_task_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "m" / "1-2.json"
    file.parent.mkdir()
    file.write_text(
        json.dumps({"0": {"origin_prompt": "问", "prediction": "甲", "refr": "罪名:盗窃"}}), encoding="utf-8"
    )
    with pytest.raises(HarnessError, match=r"1-2\.json: lawbench_1_2 cannot be scored by the references in it"):
        list(score(Scoring(tmp_path, tmp_path / "out")))


def test_marks_before_every_question_make_no_cluster(tmp_path: Path) -> None:
    """In a file's own documents a question is the whole prompt; `### 问题:` is not a passage that questions share."""
    file = tmp_path / "m" / "2-2.json"
    file.parent.mkdir()
    entries = {
        str(place): {
            "origin_prompt": f"### 问题:\n第{place}题",
            "prediction": "诉讼主体",
            "refr": "争议焦点类别：诉讼主体。",
        }
        for place in range(3)
    }
    file.write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
    report = only(score(Scoring(tmp_path, tmp_path / "out")))
    assert report.samples("lawbench_2_2")["cluster"].isna().all()


# --- DISC-Law-Eval ----------------------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("models", [1, pytest.param(4, marks=pytest.mark.oracle)])
def test_disc_laws_published_answers_give_its_published_accuracies(data: Path, tmp_path: Path, models: int) -> None:
    """`make test` scores one of the models, `make oracle` all."""
    archive = tmp_path / "disc-law-eval.tar.xz"
    with (
        tarfile.open(data / "predictions" / "disc-law-eval.tar.xz") as opened,
        tarfile.open(archive, "w:xz", preset=0) as copied,
    ):
        members = opened.getmembers()
        names = {PurePosixPath(member.name).parts[-3] for member in members if member.name.endswith("accuracy.json")}
        chosen = sorted(names)[:models]
        for member in members:
            if member.isfile() and PurePosixPath(member.name).parts[-3:][0] in chosen:
                copied.addfile(member, opened.extractfile(member))
        accuracies = {
            PurePosixPath(member.name).parts[-3:-1]: json.load(file)
            for member in members
            if member.name.endswith("accuracy.json")
            and PurePosixPath(member.name).parts[-3] in chosen
            and (file := opened.extractfile(member))
        }
    reports = list(score(Scoring(archive, tmp_path / "out", data=data)))
    assert {report.manifest.checkpoint.name for report in reports} == {model for model, _ in accuracies}
    cells = 0
    for report in reports:
        for (model, kind), by_subject in accuracies.items():
            for subject, published in by_subject.items() if model == report.manifest.checkpoint.name else ():
                task = f"disc_law_{'multiple' if kind == 'multi' else kind}_{subject}"
                assert f"{100 * values(report, task)['exact_set']:.2f}" == published
                cells += 1
        assert {"disc_law", "disc_law/single", "disc_law/multiple"} <= {score.task for score in report.manifest.scores}
    assert cells == 10 * models
