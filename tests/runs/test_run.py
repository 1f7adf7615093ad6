"""Runs on invented documents: the report agrees with its samples, also after an interruption."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.checkpoints import loading
from harness.checkpoints.reference import parse
from harness.engine import scoring
from harness.errors import HarnessError
from harness.reports import report as reports
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.sweep import JOURNAL, run
from support import invented, tiny


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    invented.mirror(folder / "data")
    base = tiny.llama(folder / "base", context=2048)
    tiny.lora(folder / "lora", base)
    return folder


def options(world: Path, output: Path, *tasks: str, **changes: Any) -> Options:
    return Options(tasks=tasks, output=output, data=world / "data", **changes)


@pytest.fixture(scope="module")
def two(world: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    """Return the reports of a base and a LoRA on all of C-Eval's subjects and on GSM8K."""
    output = tmp_path_factory.mktemp("two")
    references = [parse(str(world / "base")), parse(str(world / "lora"))]
    return list(run(references, options(world, output, "ceval", "gsm8k", max_gen_toks=16)))


def test_each_checkpoint_leaves_one_complete_report(two: list[Report]) -> None:
    assert [report.manifest.checkpoint.name for report in two] == ["base", "lora"]
    assert [report.manifest.checkpoint.kind for report in two] == ["base", "lora"]
    assert reports.find([two[0].folder.parent]) == sorted(two, key=lambda r: (r.manifest.created, r.folder))
    assert len(two[0].manifest.tasks) == 53


def test_scores_are_the_means_of_their_samples(two: list[Report]) -> None:
    for report in two:
        for score in report.manifest.scores:
            if score.average is None:
                rows = report.samples(score.task)
                values = rows[rows["filter"] == score.filter][score.metric]
                assert score.value == pytest.approx(values.mean())
                assert score.n == len(values)


def test_the_ceval_average_is_over_subjects(two: list[Report]) -> None:
    score = next(s for s in two[0].manifest.scores if s.task == "ceval")
    means = [two[0].samples(f"ceval_{subject}")["acc"].mean() for subject in invented.subjects()]
    assert score.value == pytest.approx(np.mean(means))
    assert (score.average, score.n, score.headline, score.primary) == ("task", 104, True, True)
    assert score.low is not None
    assert score.high is not None
    assert score.low < score.value < score.high


def test_named_averages_follow_their_group(two: list[Report]) -> None:
    names = [score.task for score in two[0].manifest.scores]
    assert names[:6] == ["ceval", "ceval/STEM", "ceval/Social Science", "ceval/Humanities", "ceval/Other", "ceval/Hard"]
    assert [s.task for s in two[0].manifest.scores if s.headline] == ["ceval", "gsm8k", "gsm8k"]


def test_the_prediction_is_the_most_likely_choice(two: list[Report]) -> None:
    rows = two[0].samples("ceval_law")
    for row in rows.to_dict("records"):
        assert row["prediction"] == row["choices"][int(np.argmax(row["logprobs"]))]
        assert row["acc"] == float(row["prediction"] == row["target"])


def test_results_json_has_lm_evals_schema(two: list[Report]) -> None:
    from lm_eval.utils import make_table

    table = make_table(two[0].results)
    assert "gsm8k" in table
    assert "strict-match" in table
    results = two[0].results
    assert results["results"]["ceval_law"]["acc_stderr,none"] == pytest.approx(
        two[0].samples("ceval_law")["acc"].std(ddof=1) / 2**0.5
    )
    assert results["groups"]["ceval"]["acc,none"] == results["results"]["ceval"]["acc,none"]
    assert results["n-samples"]["gsm8k"] == {"original": 6, "effective": 6}
    assert results["configs"]["gsm8k"]["dataset_path"] == "openai/gsm8k"


def test_results_contain_no_path_of_this_machine(two: list[Report], world: Path) -> None:
    assert str(world) not in json.dumps(two[0].results)
    assert "config_source" not in json.dumps(two[0].results)


def test_the_adapter_changes_the_answers(two: list[Report]) -> None:
    base, lora = (np.stack(report.samples("ceval_law")["logprobs"].tolist()) for report in two)
    assert np.abs(base - lora).max() > 0.01
    assert two[0].manifest.checkpoint.fingerprint != two[1].manifest.checkpoint.fingerprint
    assert (two[1].manifest.checkpoint.adapter_effect or 0) > 0


def test_the_manifest_counts_the_work(two: list[Report]) -> None:
    manifest = two[0].manifest
    assert manifest.engine.requests == 104 * 4 + 6
    assert manifest.engine.tokens_fed == sum(info.tokens_fed for info in manifest.tasks.values()) > 0
    assert manifest.engine.tokens_generated == manifest.tasks["gsm8k"].tokens_generated > 0
    assert manifest.engine.scoring_seconds > 0
    assert manifest.engine.generation_seconds > 0
    assert manifest.engine.peak_memory_bytes > 10**7


def test_a_second_run_is_answered_from_the_journal(world: Path, tmp_path: Path) -> None:
    limited = options(world, tmp_path, "ceval_law", "gsm8k", limit=2, max_gen_toks=16)
    first, second = (next(run([parse(str(world / "base"))], limited)) for _ in range(2))
    engine = second.manifest.engine
    assert (engine.answered_from_journal, engine.tokens_fed) == (engine.requests, 0)
    assert second.manifest.scores == first.manifest.scores
    assert second.folder != first.folder


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted = options(world, tmp_path / "whole", "ceval_law", "ceval_logic", "ceval_physician")
    whole = next(run([parse(str(world / "base"))], uninterrupted))

    real, calls = scoring._read, 0

    def interrupt(*args: Any) -> Iterator[Any]:
        nonlocal calls
        calls += 1
        if calls == 8:  # in the second of three tasks
            raise KeyboardInterrupt
        return real(*args)

    interrupted = replace(uninterrupted, output=tmp_path / "halves")
    monkeypatch.setattr(scoring, "_read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(run([parse(str(world / "base"))], interrupted))
    assert [path.name for path in interrupted.output.iterdir() if path.is_dir()] == []
    monkeypatch.setattr(scoring, "_read", real)
    resumed = next(run([parse(str(world / "base"))], interrupted))
    assert resumed.manifest.engine.answered_from_journal > 0
    for task in whole.manifest.tasks:
        assert resumed.samples(task).equals(whole.samples(task))


def test_a_damaged_journal_changes_no_sample_and_is_noted(world: Path, tmp_path: Path) -> None:
    limited = options(world, tmp_path, "ceval_law", "gsm8k", limit=2, max_gen_toks=16)
    before = next(run([parse(str(world / "base"))], limited))
    file = tmp_path / JOURNAL
    content = file.read_bytes()
    file.write_bytes(bytes(100) + content.replace(b"false", b"true ", 1)[100:])
    after = next(run([parse(str(world / "base"))], limited))
    for task in before.manifest.tasks:
        assert after.samples(task).equals(before.samples(task))
    engine, notes = after.manifest.engine, set(after.manifest.notes) - set(before.manifest.notes)
    assert engine.requests - engine.answered_from_journal == 1
    (note,) = notes
    assert note.startswith("journal.sqlite was damaged (file is not a database): ")
    assert not any(str(tmp_path) in note for note in notes)


def test_a_limit_selects_the_first_documents_and_changes_no_prompt(world: Path, tmp_path: Path) -> None:
    reference = [parse(str(world / "base"))]
    everything = options(world, tmp_path, "gsm8k", max_gen_toks=4)
    whole = next(run(reference, everything)).samples("gsm8k")
    few = next(run(reference, replace(everything, limit=3))).samples("gsm8k")
    assert few["prompt_hash"].tolist() == whole["prompt_hash"].tolist()[: len(few)]
    assert few["doc_id"].max() == 2


def test_prompts_cut_to_the_context_are_noted(world: Path, tmp_path: Path) -> None:
    reference = parse(f"{world / 'base'},max_length=64")
    report = next(run([reference], options(world, tmp_path, "ceval_law")))
    assert any("cut on the left" in note for note in report.manifest.notes)


def test_a_chat_template_is_applied_and_recorded(world: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(world / "base")
    words.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    words.save_pretrained(tmp_path / "words")
    reference = parse(f"{world / 'base'},tokenizer={tmp_path / 'words'}")
    with_template = options(world, tmp_path, "ceval_law", apply_chat_template=True, system_instruction="答题。")
    report = next(run([reference], with_template))
    prompt = report.samples("ceval_law")["prompt"][0]
    assert prompt.startswith("<system>答题。")
    assert prompt.count("<user>") == 6  # five shots are turns of their own
    assert prompt.endswith("<assistant>")
    assert report.manifest.protocol.chat_template
    assert report.manifest.protocol.fewshot_as_multiturn


def test_an_inactive_adapter_stops_the_run_unless_it_is_allowed(world: Path, tmp_path: Path) -> None:
    zero = tiny.lora(tmp_path / "zero", world / "base", zero=True)
    strict = options(world, tmp_path, "ceval_law")
    with pytest.raises(HarnessError, match="changes no logit"):
        list(run([parse(str(zero))], strict))
    report = next(run([parse(str(zero))], replace(strict, allow_inactive_adapter=True)))
    assert report.manifest.checkpoint.adapter_effect == 0
    assert any("changes nothing" in note for note in report.manifest.notes)


def test_a_mistake_in_the_second_checkpoint_is_found_before_the_first_is_read(world: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no folder"):
        list(run([parse(str(world / "base")), parse("./nowhere")], options(world, tmp_path, "ceval_law")))
    assert not (tmp_path / JOURNAL).exists()


def test_an_adapter_of_another_base_is_found_before_the_first_checkpoint_is_read(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny.llama(tmp_path / "other", hidden_size=32)
    stray = tiny.lora(tmp_path / "stray", other)
    monkeypatch.setattr(loading, "load", None)
    with pytest.raises(HarnessError, match="does not fit this base"):
        list(
            run(
                [parse(str(world / "base")), parse(f"{world / 'base'},adapter={stray}")],
                options(world, tmp_path, "gsm8k"),
            )
        )


def test_unusable_data_are_found_before_any_checkpoint_is_read(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world / "data", tmp_path / "data")
    file = tmp_path / "data" / "ceval" / "ceval-exam" / "law" / "val-00000-of-00001.parquet"
    table = pq.read_table(file)
    pq.write_table(table.rename_columns([f"old_{name}" for name in table.column_names]), file)
    monkeypatch.setattr(loading.Loader, "load", None)
    with pytest.raises(HarnessError, match="task ceval_law: data set"):
        list(run([parse(str(world / "base"))], replace(options(world, tmp_path, "ceval"), data=tmp_path / "data")))


def test_a_tag_gets_the_average_that_its_group_declares_for_it(world: Path, tmp_path: Path) -> None:
    report = next(run([parse(str(world / "base"))], options(world, tmp_path, "ceval_hard", "gsm8k")))
    score = report.manifest.scores[0]  # in the order of the names, before its members and what follows
    assert [score.task for score in report.manifest.scores if score.headline and score.primary] == [
        "ceval/Hard",
        "gsm8k",
    ]
    assert (score.task, len(score.members), score.average) == ("ceval/Hard", 8, "task")
    means = [report.samples(task)["acc"].mean() for task in score.members]
    assert score.value == pytest.approx(np.mean(means))


def test_a_repetition_penalty_that_is_not_applied_is_noted(world: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(world / "base", tmp_path / "chatty")
    (tmp_path / "chatty" / "generation_config.json").write_text(json.dumps({"repetition_penalty": 1.1}))
    report = next(run([parse(str(tmp_path / "chatty"))], options(world, tmp_path, "ceval_law")))
    assert any("repetition penalty of 1.1 is not applied" in note for note in report.manifest.notes)
