"""What is altered in a report, its data or its checkpoint is found and named, even if the sums are written again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.cli import main
from harness.reports import sums
from harness.reports.report import Report
from harness.verification.checks import FAILS, Verification, shown_apart
from harness.verification.settings import Settings
from harness.verification.verify import verify
from support import every_kind
from support.every_kind import World
from support.tampering import set_weights

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return every_kind.build(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def original(world: World, tmp_path_factory: pytest.TempPathFactory) -> Report:
    chat = {"apply_chat_template": True, "system_instruction": "Be brief."}
    return world.answered(tmp_path_factory.mktemp("runs"), "pick", "say", "adgen", world.own[2], **chat)


@pytest.fixture
def folder(original: Report, tmp_path: Path) -> Path:
    """A copy of the report."""
    return Path(shutil.copytree(original.folder, tmp_path / "report"))


def check(world: World, folder: Path, **settings: Any) -> Verification:
    include = (world.folder / "tasks",)
    return verify(folder, Settings(**{"data": world.data, "include": include, "files": world.own, **settings}))


def failures(verification: Verification) -> dict[tuple[str, str | None], str]:
    """Return the details of what does not hold, by check and task."""
    return {(item.name, item.task): item.detail for item in verification.checks if item.result == FAILS}


def edit(folder: Path, task: str, change: Callable[[Rows], Any]) -> None:
    """Apply `change`, which edits rows in place, to the samples of `task`."""
    file = folder / "samples" / f"{task}.parquet"
    table = pq.read_table(file)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)


def edit_json(file: Path, *path: Any, value: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value(place[path[-1]]) if callable(value) else value
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def score_of(folder: Path, task: str, metric: str) -> int:
    """Return the place of a score in the manifest."""
    scores = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["scores"]
    return next(place for place, item in enumerate(scores) if (item["task"], item["metric"]) == (task, metric))


def sum_again(folder: Path) -> None:
    """Write the sums of a report anew, as a forger would."""
    (folder / sums.SUMS).write_text(sums.rendered(sums.of_folder(folder)), encoding="utf-8")


def flip(rows: Rows) -> None:
    rows[1]["acc"] = 1 - rows[1]["acc"]


def other_choice(rows: Rows) -> None:
    """Make the least likely choice of a document the likeliest."""
    values = rows[0]["logprobs"]
    values[values.index(min(values))] = max(values) / 2


def right(rows: Rows) -> None:
    """Let a document's answers be its target."""
    row = next(row for row in rows if row["exact_match"] == 0)
    for other in rows:
        if other["doc_id"] == row["doc_id"]:
            other["responses"] = [row["target"]] * 2


def remove(rows: Rows) -> None:
    del rows[2]


def swap(folder: Path) -> None:
    first, second = (folder / "samples" / f"pick_{name}.parquet" for name in ("red", "blue"))
    aside = first.with_suffix(".aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def set_value(task: str, column: str, value: Any, row: int = 0) -> Callable[[Path], None]:
    """Return a function that sets a value in the samples of a report."""
    return lambda folder: edit(folder, task, lambda rows: rows[row].__setitem__(column, value))


def set_score(task: str, metric: str, field: str, value: Any) -> Callable[[Path], None]:
    """Return a function that sets a field of a score in the manifest."""
    return lambda folder: edit_json(
        folder / "manifest.json", "scores", score_of(folder, task, metric), field, value=value
    )


def set_manifest(*path: Any, value: Any) -> Callable[[Path], None]:
    """Return a function that sets a value in the manifest."""
    return lambda folder: edit_json(folder / "manifest.json", *path, value=value)


def set_result(*path: Any, value: Any) -> Callable[[Path], None]:
    """Return a function that sets a value in results.json."""
    return lambda folder: edit_json(folder / "results.json", *path, value=value)


class Tampering(NamedTuple):
    """An alteration, and what is said of it by one check of one task."""

    alter: Callable[[Path], Any]
    check: str
    task: str | None
    detail: str
    """A part of what is said."""


# Alterations of one batch are made together, because each is found by another check.
BATCHES = {
    "answers": [
        Tampering(
            lambda folder: edit(folder, "pick_red", flip), "scores", "pick_red", "acc of 1 of 5 documents differs"
        ),
        Tampering(
            lambda folder: edit(folder, "say", right), "scores", "say", "exact_match of 1 of 6 documents differs"
        ),
        Tampering(lambda folder: edit(folder, "pick_blue", other_choice), "scores", "pick_blue", "is document 0"),
        Tampering(set_value("ppl_story", "responses", ["-12.5"]), "scores", "ppl_story", "bits_per_character"),
        Tampering(set_value("adgen", "responses", ["简约"]), "scores", "adgen", "of 1 of 2 documents differs"),
    ],
    "averages follow values": [
        Tampering(lambda folder: edit(folder, "pick_red", flip), "averages", "pick", "acc,none: value is"),
        Tampering(
            set_value("adgen", "prediction", "简约"), "scores", "adgen", "prediction of 1 of 2 documents differs"
        ),
        Tampering(
            lambda folder: edit(folder, "say", lambda rows: [row.update(prompt="Say tea.") for row in rows]),
            "prompts",
            "say",
            "6 of 6 prompts differ, the first is document 0 (prompt)",
        ),
    ],
    "impossible answers": [
        Tampering(
            lambda folder: edit(folder, "pick_blue", lambda rows: rows[0]["logprobs"].__setitem__(0, 0.5)),
            "samples",
            "pick_blue",
            "document 0 has 0.5 as a log-likelihood",
        ),
        Tampering(
            lambda folder: edit(folder, "pick_red", lambda rows: rows[1]["logprobs"].pop()),
            "samples",
            "pick_red",
            "document 1 has 2 and 3 choices, log-likelihoods and greedy flags",
        ),
        Tampering(
            lambda folder: edit(folder, "say", lambda rows: [row["responses"].pop() for row in rows[:2]]),
            "scores",
            "say",
            "document 0 has 1 answers, others 2",
        ),
        Tampering(set_value("adgen", "doc_id", 7), "samples", "adgen", "document 7 is none of the 2"),
    ],
    "hashes": [
        Tampering(set_value("adgen", "prompt_hash", "0" * 64), "samples", "adgen", "prompt hashes"),
        Tampering(set_value("pick_red", "doc_hash", "0" * 64, 3), "documents", "pick_red", "the first is 3"),
        Tampering(set_value("pick_blue", "target", "gold"), "documents", "pick_blue", "1 of 4 documents differ"),
        Tampering(set_manifest("protocol", "stride", value=7), "prompts", "ppl_story", "1 of 1 prompts differ"),
    ],
    "rows": [
        Tampering(lambda folder: edit(folder, "pick_red", remove), "samples", "pick_red", "samples of 4 documents"),
        Tampering(
            lambda folder: edit(folder, "pick_blue", lambda rows: rows.insert(0, dict(rows[0]))),
            "samples",
            "pick_blue",
            "document 0 has 2 rows of the filter 'none'",
        ),
        Tampering(lambda folder: (folder / "samples" / "say.parquet").unlink(), "samples", "say", "is missing"),
        Tampering(
            lambda folder: (folder / "samples" / "adgen.parquet").write_bytes(b"PAR1"),
            "samples",
            "adgen",
            "cannot be read",
        ),
        Tampering(
            lambda folder: shutil.copy(folder / "samples" / "pick_red.parquet", folder / "samples" / "x.parquet"),
            "samples",
            None,
            "samples/x.parquet is of no task",
        ),
        Tampering(lambda folder: (folder / "results.json").write_text("{"), "results.json", None, "not valid JSON"),
    ],
    "samples swapped": [
        Tampering(swap, "samples", "pick_red", "samples of 4 documents, the manifest says 5"),
        Tampering(lambda _: None, "samples", "pick_blue", "samples of 5 documents, the manifest says 4"),
        Tampering(lambda _: None, "documents", "pick_red", "4 of 4 documents differ"),
    ],
    "a number in results.json": [
        Tampering(
            set_result("results", "pick_red", "acc,none", value=0.987), "results.json", None, "0.987, the manifest"
        ),
    ],
    "numbers": [
        Tampering(set_score("pick", "acc", "value", lambda old: old + 0.01), "averages", "pick", "value is"),
        Tampering(
            set_score("pick_red", "acc_norm", "low", 0.5), "averages", "pick_red", "acc_norm,none: low is 0.5 in"
        ),
        Tampering(set_score("adgen", "bleu_zh", "value", 31.25), "averages", "adgen", "value is 31.25 in the report"),
        Tampering(set_score("pick_red", "acc", "chance", 0.1), "scores", "pick_red", "acc,none: chance is 0.1 in"),
        Tampering(
            set_score("say", "exact_match", "higher_is_better", False), "scores", "say", "higher_is_better is False"
        ),
        Tampering(set_manifest("tasks", "adgen", "empty_answers", value=3), "scores", "adgen", "empty_answers is 3 in"),
    ],
    "an average in results.json": [
        Tampering(set_result("groups", "pick", "acc,none", value=0.987), "results.json", None, "groups, pick, acc,none")
    ],
    "a score that the manifest hides": [
        Tampering(
            lambda folder: set_manifest("scores", value=lambda scores: scores[:-1])(folder),
            "results.json",
            None,
            "of which the manifest says nothing",
        )
    ],
    "tasks": [
        Tampering(
            set_manifest("tasks", "say", "documents_in_split", value=7), "documents", "say", "documents_in_split"
        ),
        Tampering(
            set_manifest("tasks", "adgen", "dataset", value="me/ads"), "documents", "adgen", "dataset is me/ads in"
        ),
        Tampering(
            set_manifest("tasks", "pick_red", "num_fewshot", value=5), "prompts", "pick_red", "num_fewshot is 5 in"
        ),
        Tampering(
            set_manifest("protocol", "system_instruction", value="Be long."),
            "prompts",
            "pick_blue",
            "4 of 4 prompts differ, the first is document 0 (prompt_hash)",
        ),
        Tampering(
            set_manifest("checkpoint", "fingerprint", value="0" * 64),
            "checkpoint",
            None,
            "the report says 000000000000",
        ),
    ],
    "the template's hash": [
        Tampering(
            set_manifest("protocol", "chat_template", value="0" * 64), "prompts", "say", "rendered by 000000000000…"
        ),
        Tampering(set_manifest("checkpoint", "kind", value="lora"), "checkpoint", None, "kind is lora in the report"),
    ],
    "a run as recorded answers": [
        Tampering(set_manifest("protocol", "recorded", value="jsonl"), "manifest", None, "recorded is jsonl"),
        Tampering(set_score("pick", "acc", "chance", 0.1), "averages", "pick", "chance is 0.1 in the report"),
        Tampering(
            set_result("higher_is_better", "say", "exact_match", value=False),
            "results.json",
            None,
            "higher_is_better of exact_match is not True",
        ),
    ],
    "facts that are stated once": [
        Tampering(
            set_manifest("checkpoint", "architecture", value="MistralForCausalLM"),
            "checkpoint",
            None,
            "architecture is MistralForCausalLM in the report, LlamaForCausalLM computed again",
        ),
        Tampering(set_manifest("created", value="yesterday"), "manifest", None, "created is yesterday"),
    ],
    "a date without its zone": [
        Tampering(set_manifest("created", value="2026-11-30T08:00:00"), "manifest", None, "created is 2026-11-30T08")
    ],
    "a failure of what was evaluated": [
        Tampering(set_manifest("failed", value={"pick": "it is broken"}), "manifest", None, "pick is among what failed")
    ],
    "a failure without a note": [
        Tampering(
            set_manifest("failed", value={"ceval": "it is broken"}),
            "manifest",
            None,
            "ceval is among what failed, and",
        )
    ],
    "no headline": [
        Tampering(
            set_manifest("scores", value=lambda scores: [{**score, "headline": False} for score in scores]),
            "manifest",
            None,
            "no score is a headline",
        )
    ],
    "the manifest cut short": [
        Tampering(lambda folder: (folder / "manifest.json").write_text("{"), "manifest", None, "is not valid JSON")
    ],
    "the manifest removed": [
        Tampering(lambda folder: (folder / "manifest.json").unlink(), "manifest", None, "it has no manifest.json")
    ],
}


@pytest.mark.parametrize("batch", BATCHES)
def test_what_is_altered_is_found_and_named_whatever_the_sums_say(world: World, folder: Path, batch: str) -> None:
    for tampering in BATCHES[batch]:
        tampering.alter(folder)
    assert sums.differences(folder)
    sum_again(folder)
    failed = failures(check(world, folder))
    assert ("files", None) not in failed
    for tampering in BATCHES[batch]:
        assert tampering.detail in failed.get((tampering.check, tampering.task), ""), failed


def test_only_the_sums_show_what_changes_no_number(world: World, folder: Path) -> None:
    """The answers themselves are shown by nothing but another evaluation."""
    assert failures(check(world, folder)) == {}
    edit(folder, "pick_red", lambda rows: rows[0]["logprobs"].__setitem__(0, rows[0]["logprobs"][0] * (1 + 1e-6)))
    assert failures(check(world, folder)) == {("files", None): "samples/pick_red.parquet changed"}


def test_other_data_are_named_and_their_documents_are_not_scored(world: World, folder: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(world.data, tmp_path / "data"))
    file = data / "me" / "caravans" / "red" / "test-00000-of-00001.parquet"
    table = pq.read_table(file)
    rows = table.to_pylist()
    rows[3]["question"] = "What is in the well?"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)
    verification = check(world, folder, data=data)
    assert failures(verification) == {
        ("documents", "pick_red"): "1 of 5 documents differ from the data at hand, the first is 3"
    }
    details = {(item.name, item.task): item.detail for item in verification.checks}
    assert details["scores", "pick_red"] == "4 answers scored again; 1 belong to other documents"


def test_another_checkpoint_is_named(world: World, folder: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(world.base, tmp_path / "base"))
    assert failures(check(world, folder, model=str(base))) == {}
    set_weights(base / "model.safetensors", lambda tensors: tensors["model.norm.weight"][:1].add_(1))
    (detail,) = failures(check(world, folder, model=str(base))).values()
    assert detail.startswith(f"{base} has the fingerprint ")


def test_another_template_is_named(world: World, folder: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(world.base, tmp_path / "base"))
    (base / "chat_template.jinja").write_text(every_kind.CHAT.replace("assistant", "helper"), encoding="utf-8")
    failed = failures(check(world, folder, model=str(base)))
    assert failed.keys() == {("checkpoint", None)} | {
        ("prompts", task) for task in ("pick_red", "pick_blue", "say", "adgen", "ppl_story")
    }
    assert "prompts were rendered by" in failed["prompts", "say"]


def test_a_report_cannot_make_code_run(world: World, folder: Path) -> None:
    set_manifest("checkpoint", "reference", value=f"{world.base},trust_remote_code=true")(folder)
    sum_again(folder)
    verification = check(world, folder)
    (detail,) = (item.detail for item in verification.checks if item.name == "checkpoint")
    assert verification.holds
    assert "to allow that, name it with trust_remote_code=true" in detail


def test_numbers_and_texts_that_differ_look_different() -> None:
    for first, second in ((0.1 + 0.2 + 1e-8, 0.3), (1.0, 1.0 + 1e-8), ("x" * 90 + "a", "x" * 90 + "b"), ("0.3", 0.3)):
        texts = shown_apart(first, second)
        assert texts[0] != texts[1] or str(first) == str(second)
        assert max(map(len, texts)) <= 61


def test_the_command_prints_each_check_and_exits_with_1(
    world: World, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["verify", str(folder), "--data", str(world.data), "--include-path", str(world.folder / "tasks")]
    words += ["--task", world.own[2], "--json", str(tmp_path / "checks.json")]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "holds: files: as SHA256SUMS says"
    assert lines[-1].startswith("what could be checked holds: ")
    (report,) = json.loads((tmp_path / "checks.json").read_text(encoding="utf-8"))["reports"]
    assert (report["holds"], report["checkpoint"]) == (True, "base")
    edit(folder, "pick_red", flip)
    assert main(words) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "does not hold: files: samples/pick_red.parquet changed"
    assert any(line.startswith("does not hold: scores of pick_red: acc of 1 of 5 documents differs") for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["REPORT", "--model", "nowhere/at all"], "there is no folder nowhere/at all"),
        (["REPORT", "--data", "nowhere"], "the data folder nowhere does not exist"),
        (["REPORT", "--data", "FILE"], "exam.jsonl is a file, not a folder"),
        (["FILE"], "exam.jsonl is a file, not a folder"),
        (["REPORT", "--task", "FILE"], "exam.jsonl is not a task of this report (it has ppl_story): check --task"),
        (["REPORT", "--task", "REPORT.jsonl"], "report.jsonl is a folder, not a file"),
        (["REPORT", "--articles", "FILE"], "no prompt of this report contained retrieved articles: leave --articles"),
    ],
)
def test_what_is_not_there_exits_with_2(
    folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / "exam.jsonl").touch()
    (folder.parent / "report.jsonl").mkdir()
    places = {"REPORT": str(folder), "REPORT.jsonl": f"{folder}.jsonl", "FILE": str(folder.parent / "exam.jsonl")}
    assert main(["verify", *(places.get(word, word) for word in words)]) == 2
    assert message in capsys.readouterr().err
