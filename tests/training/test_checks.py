"""Mistakes in later stages are found before the first stage is trained; a plan finds them, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.training import recipe, stages
from support import tiny, trained_stages

HEAD = trained_stages.HEAD.replace("{talk: talk.jsonl}", "{talk: talk.jsonl, other: other.jsonl, copy: copy.jsonl}")
FIRST = "first: {from: base}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.llama(tmp_path / "base")
    return tmp_path


def loaded(folder: Path, *texts: str) -> recipe.Recipe:
    file = trained_stages.written(folder, *texts, head=HEAD)
    (folder / "copy.jsonl").write_bytes((folder / "talk.jsonl").read_bytes())
    return recipe.load(file)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("{from: nodir}", "nodir"),
        ("{from: first, corpora: [other]}", "there is no corpus"),
        ("{from: first, max_length: 5000}", "max_length 5,000 is more than the"),
        ("{from: first, method: prefix}", "num_virtual_tokens"),
        ("{from: first, method: lora, target_modules: [nope]}", "no such module"),
        ("{from: first, method: lora, r: 0}", "PEFT cannot put this lora adapter on the base"),
        ("{from: first, method: lora, modules_to_save: [nope]}", "no such module"),
        ("{from: first, adam_beta1: 3}", "transformers refuses the stage's settings"),
        ("{from: base, method: merge}", "has no adapter to merge"),
        ("{from: first, corpora: [talk], validation: copy}", "has the same content as 'talk'"),
        (
            "{from: first, corpora: [talk], evaluate: [talk.jsonl], evaluate_metric: contains}",
            "has the same content as the corpus 'talk'",
        ),
    ],
)
def test_a_mistake_of_a_later_stage_is_found_before_the_first_is_trained(folder, stage, message):
    plan = loaded(folder, FIRST, f"second: {stage}")
    with pytest.raises(HarnessError, match=message) as refusal:
        list(stages.train(plan, folder / "out"))
    assert str(refusal.value).startswith("stage second: ")
    assert not (folder / "out" / "first").exists()
    with pytest.raises(HarnessError, match=message):
        list(stages.plan(plan, folder / "out"))


def test_a_bad_row_of_a_later_stage_is_found_before_the_first_is_trained(folder):
    (folder / "other.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n', encoding="utf-8")
    with pytest.raises(HarnessError, match=r"stage second: .*other.jsonl, line 2"):
        list(stages.train(loaded(folder, FIRST, "second: {from: first, corpora: [other]}"), folder / "out"))
    assert not (folder / "out" / "first").exists()


def test_examples_of_the_validation_that_are_also_learned_are_counted(folder):
    rows = [*trained_stages.ROWS[:3], {"prompt": "问：新？答：", "completion": "新"}]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "other.jsonl").write_text(text, encoding="utf-8")
    (planned,) = stages.plan(loaded(folder, "one: {from: base, corpora: [talk], validation: other}"), folder / "out")
    (measured,) = planned.report.validation
    assert measured.counts.notes == ["3 of its 4 examples are also learned, so its loss flatters the stage"]
