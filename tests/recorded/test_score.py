"""Recorded predictions: scored as a run with the same answers would be, and every omission is reported."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.checkpoints.reference import parse
from harness.cli import main
from harness.errors import HarnessError
from harness.recorded.score import Scoring, score
from harness.reports import report as reports
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.catalogue import Catalogue
from support import invented, tiny

CORRECT = {"gsm8k": 2}
"""The number of documents that `answers` answers correctly."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return invented.mirror(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def documents(data: Path) -> list[dict[str, Any]]:
    return list(Catalogue().load(["gsm8k"], data).tasks["gsm8k"].documents)


def answers(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return correct answers to the first two of GSM8K's documents, and wrong ones to the others."""
    return [
        {"id": place, "prediction": document["answer"] if place < CORRECT["gsm8k"] else "I think\n#### -1"}
        for place, document in enumerate(documents)
    ]


def write(file: Path, rows: list[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def only(reports: Iterator[Report]) -> Report:
    (report,) = reports
    return report


def value(report: Report, task: str, metric: str) -> float:
    scores = report.manifest.scores
    return next(score.value for score in scores if (score.task, score.metric) == (task, metric))


# --- our own lines ----------------------------------------------------------------------------------------------------


def test_lines_of_ids_and_predictions_are_scored_as_a_run_would(
    data: Path, documents: list[dict[str, Any]], tmp_path: Path
) -> None:
    file = write(tmp_path / "gsm8k.jsonl", list(reversed(answers(documents))))
    report = only(score(Scoring(file, tmp_path / "out", data=data)))
    assert value(report, "gsm8k", "exact_match") == CORRECT["gsm8k"] / len(documents)
    rows = report.samples("gsm8k").drop_duplicates("doc_id")
    assert [list(responses) for responses in rows["responses"]] == [[row["prediction"]] for row in answers(documents)]
    assert report.manifest.engine is None
    assert report.manifest.checkpoint.name == tmp_path.name
    assert report.manifest.checkpoint.kind == "recorded"
    assert reports.read(report.folder).manifest == report.manifest


def test_likelihoods_of_choices_are_scored(data: Path, tmp_path: Path) -> None:
    documents = list(Catalogue().load(["ceval_law"], data).tasks["ceval_law"].documents)
    targets = ["ABCD".index(document["answer"]) for document in documents]
    rows = [
        {"id": place, "logprobs": [-1.0 + (choice == target) for choice in range(4)]}
        for place, target in enumerate(targets)
    ]
    report = only(score(Scoring(write(tmp_path / "ceval_law.jsonl", rows), tmp_path / "out", data=data)))
    assert value(report, "ceval_law", "acc") == 1


def test_ids_may_be_those_of_the_id_column(data: Path, tmp_path: Path) -> None:
    rows = [{"id": "1", "logprobs": [0, -1, -2, -3]}, {"id": "0", "logprobs": [-3, -2, -1, 0]}]
    report = only(score(Scoring(write(tmp_path / "ceval_law.jsonl", rows), tmp_path / "out", data=data)))
    assert list(report.samples("ceval_law")["prediction"]) == ["D", "A"]


def test_repeats_are_all_kept(data: Path, documents: list[dict[str, Any]], tmp_path: Path) -> None:
    rows = [{**row, "prediction": [row["prediction"], "#### 0"]} for row in answers(documents)]
    report = only(score(Scoring(write(tmp_path / "gsm8k.jsonl", rows), tmp_path / "out", data=data)))
    assert {len(responses) for responses in report.samples("gsm8k")["responses"]} == {2}


def test_answers_to_an_own_file_are_compared_by_the_metrics_of_the_user(tmp_path: Path, capsys) -> None:
    questions = write(
        tmp_path / "words.jsonl", [{"question": "谁？", "answer": "老王"}, {"question": "?", "answer": "我"}]
    )
    rows = [{"id": 0, "prediction": "\n老王\n问题：他是谁？"}, {"id": 1, "prediction": "是我。"}]
    file = write(tmp_path / "pred.jsonl", rows)
    scoring = Scoring(file, tmp_path / "out", task=str(questions), comparisons=("exact_match", "contains"))
    report = only(score(scoring))
    assert value(report, "words.jsonl", "exact_match") == 0.5
    assert value(report, "words.jsonl", "contains") == 1
    arguments = ["score", "--predictions", str(file), "--task", str(questions), "-o", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "say how they are compared, with --metric" in capsys.readouterr().err
    for metrics in (["--metric", "contains,bleu"], ["--metric", "contains", "--metric", "bleu"]):
        assert main([*arguments, *metrics]) == 0
        output = capsys.readouterr().out
        assert "bleu_char" in output
        assert "contains" in output


def test_a_metric_without_an_own_file_is_refused(data: Path, documents: list[dict[str, Any]], tmp_path: Path) -> None:
    file = write(tmp_path / "gsm8k.jsonl", answers(documents))
    with pytest.raises(HarnessError, match="--metric is for a test set of your own"):
        only(score(Scoring(file, tmp_path / "out", data=data, comparisons=("bleu",))))


# --- malformed predictions --------------------------------------------------------------------------------------------


def malformed(documents: list[dict[str, Any]]) -> dict[str, tuple[list[Any], str]]:
    rows = answers(documents)
    return {
        "malformed": ([*rows[:3], '{"id": 3, "predic', *rows[4:]], "line 4, is not JSON"),
        "list": ([*rows[:3], "[3]", *rows[4:]], "line 4, is not a JSON object"),
        "no id": ([{"id": None, "prediction": ""}, *rows], "line 1, has no 'id'"),
        "no text": ([{"id": 0, "prediction": 3}, *rows[1:]], "line 1, has neither a text"),
        "twice": ([*rows, rows[2]], r"line 7, id 2, answers a document that has been answered"),
        "surplus": ([*rows, {"id": 17, "prediction": ""}], "line 7, id 17, answers no document of gsm8k, which has 6"),
        "negative": ([*rows, {"id": -1, "prediction": ""}], "line 7, id -1, answers no document"),
        "missing": (rows[:-1], "1 of 6 documents of gsm8k have no prediction, the first is 5"),
    }


PROBLEMS = ("malformed", "list", "no id", "no text", "twice", "surplus", "negative", "missing")


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_is_named_and_nothing_is_written(
    data: Path, documents: list[dict[str, Any]], tmp_path: Path, problem: str
) -> None:
    rows, message = malformed(documents)[problem]
    with pytest.raises(HarnessError, match=message):
        list(score(Scoring(write(tmp_path / "gsm8k.jsonl", rows), tmp_path / "out", data=data)))
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_with_keep_going_a_problem_is_noted_in_the_report(
    data: Path, documents: list[dict[str, Any]], tmp_path: Path, problem: str
) -> None:
    rows, _ = malformed(documents)[problem]
    file = write(tmp_path / "gsm8k.jsonl", rows)
    report = only(score(Scoring(file, tmp_path / "out", data=data, keep_going=True)))
    assert report.manifest.notes, "the report does not mention it"
    assert report.manifest.tasks["gsm8k"].documents == len(documents)
    correct = CORRECT["gsm8k"] - (problem == "no text")
    assert value(report, "gsm8k", "exact_match") == correct / len(documents)


def test_predictions_up_to_the_limit_are_enough(data: Path, documents: list[dict[str, Any]], tmp_path: Path) -> None:
    file = write(tmp_path / "gsm8k.jsonl", answers(documents)[:3])
    report = only(score(Scoring(file, tmp_path / "out", data=data, limit=3)))
    assert value(report, "gsm8k", "exact_match") == CORRECT["gsm8k"] / 3
    assert report.manifest.protocol.limit == 3


@pytest.mark.parametrize(
    ("name", "rows", "changes", "message"),
    [
        ("nothing.jsonl", [{"text": "x"}], {}, "holds no predictions in a known format"),
        ("ceval_law.jsonl", [{"id": 0, "prediction": "A"}], {"keep_going": True}, "answered by likelihoods"),
        ("gsm8k.jsonl", [{"id": 0, "logprobs": [-0.5]}], {"keep_going": True}, "holds likelihoods, but gsm8k"),
        ("ceval_law.jsonl", [{"id": 0, "logprobs": [0, -1]}, {"id": 1, "logprobs": [0, -1]}], {}, "needs more"),
        ("gsm8k.jsonl", [{"id": "a", "prediction": ""}], {}, "no column 'id'"),
        ("mine.jsonl", [{"id": 0, "prediction": ""}], {"task": "ceval"}, "is 52 tasks"),
        ("gsm8k.jsonl", [{"id": 0, "prediction": ""}], {"format": "chatgml"}, "--format chatgml is not known"),
        ("gsm8k.jsonl", [{"id": 0, "prediction": ""}], {"format": "chatglm"}, "lacks the texts 'labels' and 'predict'"),
    ],
)
def test_wrong_use_is_an_error(
    data: Path, tmp_path: Path, name: str, rows: list[Any], changes: dict[str, Any], message: str
) -> None:
    file = write(tmp_path / name, rows)
    with pytest.raises(HarnessError, match=message):
        list(score(Scoring(file, tmp_path / "out", data=data, **changes)))


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="there are no predictions at"):
        list(score(Scoring(tmp_path / "nowhere", tmp_path / "out")))


# --- other systems' files ---------------------------------------------------------------------------------------------


def lm_eval_samples(folder: Path, data: Path, base: Path, task: str) -> dict[str, Any]:
    """Let lm-eval alone evaluate a checkpoint and write its samples; return its results."""
    from lm_eval.evaluator import evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=str(base), batch_size=1, device="cpu", dtype="float32")
    built = Catalogue().load([task], data).tasks[task].lm_eval
    outcome = evaluate(lm, {"tasks": {task: built}, "groups": {}}, bootstrap_iters=0)
    tracker = EvaluationTracker(output_path=str(folder))
    tracker.general_config_tracker.model_name_sanitized = "tiny"
    tracker.date_id = "2026-11-26T05-53-39.123456"
    tracker.save_results_samples(task, outcome["samples"][task])
    return dict(outcome["results"][task])


class Sampled(NamedTuple):
    """What lm-eval and a run of ours give for one checkpoint and task."""

    folder: Path
    """The folder of lm-eval's samples."""
    results: dict[str, Any]
    of_run: Report


@pytest.fixture(scope="module", params=["ceval_law", "gsm8k"])
def sampled(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Sampled:
    task, folder = request.param, tmp_path_factory.mktemp("sampled")
    base = tiny.llama(folder / "base", context=2048)
    results = lm_eval_samples(folder / "samples", data, base, task)
    of_run = only(run([parse(str(base))], Options(tasks=(task,), output=folder / "runs", data=data)))
    return Sampled(folder / "samples", results, of_run)


@pytest.mark.parametrize("at_hand", [True, False])
def test_lm_evals_samples_give_lm_evals_scores(data: Path, tmp_path: Path, sampled: Sampled, at_hand: bool) -> None:
    report = only(score(Scoring(sampled.folder, tmp_path / "out", data=data if at_hand else None)))
    assert report.manifest.checkpoint.name == "tiny"
    for number in report.manifest.scores:
        assert number.value == sampled.results[f"{number.metric},{number.filter}"]
    # lm-eval's prompts are those of our run, so the questions are known to be the same.
    (task,) = report.manifest.tasks
    of_run = sampled.of_run.samples(task)
    assert list(report.samples(task)["prompt_hash"]) == list(of_run["prompt_hash"])
    assert list(report.samples(task)["doc_hash"]) == list(of_run["doc_hash"])


def test_an_archive_of_several_models_gives_each_a_report(
    data: Path, documents: list[dict[str, Any]], tmp_path: Path
) -> None:
    for model, rows in (("good", answers(documents)), ("bad", [{"id": i, "prediction": ""} for i in range(6)])):
        write(tmp_path / "in" / model / "gsm8k.jsonl", rows)
    with tarfile.open(tmp_path / "both.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "in", "in")
    reports = list(score(Scoring(tmp_path / "both.tar.xz", tmp_path / "out", data=data)))
    assert [(report.manifest.checkpoint.name, value(report, "gsm8k", "exact_match")) for report in reports] == [
        ("bad", 0),
        ("good", CORRECT["gsm8k"] / len(documents)),
    ]
    with pytest.raises(HarnessError, match="holds answers of several models: leave --name out"):
        list(score(Scoring(tmp_path / "both.tar.xz", tmp_path / "again", data=data, name="x")))


def test_a_damaged_archive_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.tar.xz").write_bytes(b"\xfd7zXZ\x00nothing")
    with pytest.raises(HarnessError, match="cannot be read as an archive"):
        list(score(Scoring(tmp_path / "bad.tar.xz", tmp_path / "out")))


# --- reports ----------------------------------------------------------------------------------------------------------


def test_a_report_scored_again_has_the_same_scores(data: Path, tmp_path: Path) -> None:
    base = tiny.llama(tmp_path / "base", context=2048)
    options = Options(tasks=("gsm8k", "ceval"), output=tmp_path / "runs", data=data, limit=1)
    first = only(run([parse(str(base))], options))
    again = only(score(Scoring(first.folder, tmp_path / "out", data=data)))
    assert again.manifest.scores == first.manifest.scores
    assert again.manifest.checkpoint == first.manifest.checkpoint
    assert again.manifest.protocol == first.manifest.protocol
    assert again.manifest.tasks["gsm8k"].model_dump() == first.manifest.tasks["gsm8k"].model_dump()
    for task in ("gsm8k", "ceval_law"):
        assert json.loads(again.samples(task).to_json()) == json.loads(first.samples(task).to_json())


def test_a_report_on_other_data_is_refused(data: Path, tmp_path: Path) -> None:
    base = tiny.llama(tmp_path / "base", context=2048)
    first = only(run([parse(str(base))], Options(tasks=("gsm8k",), output=tmp_path / "runs", data=data)))
    import pyarrow as pa
    import pyarrow.parquet as pq

    other = invented.mirror(tmp_path / "other")
    file = other / "openai" / "gsm8k" / "main" / "test-00000-of-00001.parquet"
    rows = pq.read_table(file).to_pylist()
    pq.write_table(pa.Table.from_pylist([{**row, "answer": row["answer"] + "0"} for row in rows]), file)
    with pytest.raises(HarnessError, match="differs from the document in the data at hand"):
        list(score(Scoring(first.folder, tmp_path / "out", data=other)))


def test_files_beside_predictions_are_noted_and_do_no_harm(
    data: Path, documents: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    write(folder / "gsm8k.jsonl", answers(documents))
    (folder / "LICENSE.txt").write_bytes("许可".encode("gbk"))
    (folder / "manifest.json").write_text('{"name": "a browser extension"}', encoding="utf-8")
    report = only(score(Scoring(folder, tmp_path / "out", data=data)))
    (note,) = [note for note in report.manifest.notes if note.startswith("not read")]
    assert "LICENSE.txt and 1 more file" in note
    with pytest.raises(HarnessError, match=r"LICENSE\.txt is not UTF-8"):
        list(score(Scoring(folder / "LICENSE.txt", tmp_path / "again", data=data)))
