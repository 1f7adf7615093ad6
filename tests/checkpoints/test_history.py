"""How a checkpoint was trained, in words; a record that cannot be believed is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints import ancestry, history

RECORD: dict[str, Any] = {
    "key": "0" * 64,
    "name": "sft",
    "settings": {"method": "lora", "arguments": {"max_steps": 30}},
    "recipe": "abcdef" * 10,
    "seed": 7,
    "parent": "cpt",
    "parent_fingerprint": "fedcba" * 10,
    "corpora": [
        {"name": "laws", "sha256": "1" * 64, "examples": 90, "tokens": 12345, "epochs": 1.5, "counts": {"rows": 60}},
        {"name": "talk", "sha256": "2" * 64, "examples": 30, "tokens": 678, "epochs": 0.25},
    ],
    "steps": 1200,
    "tokens": 13023,
    "loss": 0.32891,
    "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
}


def read(folder: Path, **changes: object) -> history.History | None:
    (folder / ancestry.RECORD).write_text(json.dumps({**RECORD, **changes}), encoding="utf-8")
    return history.read(folder)


def test_a_history_in_words(tmp_path):
    assert history.facts(read(tmp_path)) == {
        "stage": "sft of the recipe abcdefabcdef, seed 7",
        "started from": "cpt, fingerprint fedcbafedcba",
        "training": "lora, 1,200 steps, 13,023 tokens, loss 0.3289",
        "learned from": "laws: 12,345 tokens, 1.5 epochs; talk: 678 tokens, 0.25 epochs",
        "trained with": "torch 2.13.0, transformers 5.23.0",
    }


def test_the_best_step_is_shown(tmp_path):
    best = {"step": 800, "metric": "ceval_acc", "value": 0.61253}
    assert history.facts(read(tmp_path, best=best))["training"].endswith("best ceval_acc 0.6125 at step 800")


def test_a_merge_learned_nothing(tmp_path):
    facts = history.facts(read(tmp_path, settings={"method": "merge"}, corpora=[], steps=0, tokens=0, loss=None))
    assert facts["training"] == "merged"
    assert "learned from" not in facts


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 3},
        {"name": "x" * 2000},
        {"settings": None},
        {"settings": {"method": ["lora"]}},
        {"seed": -1},
        {"seed": 10**40},
        {"steps": 1.5},
        {"steps": True},
        {"tokens": "many"},
        {"loss": float("nan")},
        {"corpora": {}},
        {"corpora": [{}]},
        {"corpora": [RECORD["corpora"][0]] * 1001},
        {"best": {"step": "last"}},
        {"versions": {"torch": 2}},
        {"versions": None},
        {"parent_fingerprint": None},
    ],
)
def test_a_damaged_or_hostile_record_is_none(tmp_path, changes):
    assert read(tmp_path, **changes) is None


def test_no_record_is_no_history(tmp_path):
    assert history.read(tmp_path) is None
    (tmp_path / ancestry.RECORD).write_text("[]")
    assert history.read(tmp_path) is None
