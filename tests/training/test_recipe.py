"""Recipes: what they declare, in which order stages come, and what is told of a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.training import recipe

GOOD = """
seed: 3
corpora: {laws: texts/laws.jsonl, talk: texts/talk.jsonl}
stages:
  lora: {from: sft, method: lora, corpora: {talk: 1}, steps: 5, learning_rate: 1e-3}
  sft: {from: cpt, corpora: {talk: 3, laws: 1}, steps: 10, learning_rate: 1.0e-4}
  cpt: {from: base, corpora: {laws: 1}, steps: 20, learning_rate: 1.0e-4}
  other: {from: base, corpora: {laws: 1}, steps: 20, learning_rate: 1.0e-4}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "base").mkdir(exist_ok=True)
    file = folder / "recipe.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_what_is_declared(tmp_path):
    found = recipe.load(written(tmp_path, GOOD))
    assert found.seed == 3
    assert found.corpora["laws"] == tmp_path / "texts/laws.jsonl"
    assert found.stages["cpt"].start == str(tmp_path / "base")
    assert found.stages["lora"].start == "sft"
    assert found.stages["lora"].learning_rate == 1e-3
    assert found.stages["sft"].corpora == {"talk": 3, "laws": 1}


def test_a_stage_comes_after_what_it_starts_from(tmp_path):
    found = recipe.load(written(tmp_path, GOOD))
    assert found.order() == ["cpt", "other", "sft", "lora"]
    assert found.order(["lora"]) == ["cpt", "sft", "lora"]
    assert found.order(["other"]) == ["other"]
    assert found.ancestors("lora") == ["sft", "cpt"]
    with pytest.raises(HarnessError, match="no stage 'lorra'; did you mean 'lora'"):
        found.order(["lorra"])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("from: base", "from: bass", "is neither a stage nor a folder"),
        ("from: cpt", "from: lora", "merge that"),
        ("from: base", "from: sft", "in a circle"),
        ("corpora: {talk: 1}", "corpora: {talks: 1}", "'talks', which is none of its corpora; did you mean 'talk'"),
        ("corpora: {talk: 1}", "corpora: {talk: 0}", "stages.lora.corpora.talk: Input should be greater than 0"),
        ("corpora: {talk: 1}", "corpora: {}", "stages.lora.corpora"),
        ("steps: 5", "steps: five", "stages.lora.steps"),
        ("method: lora", "method: loha", "stages.lora.method"),
        ("steps: 5", "stepps: 5", "stages.lora"),
        ("seed: 3", "seed: -3", "seed: Input should be greater"),
        ("lora: {", "..: {", "stages"),
        ("seed: 3", "seed: [", "is not valid YAML"),
        (GOOD, "- a list", "the file"),
        (GOOD, "", "the file"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(tmp_path, old, new, says):
    with pytest.raises(HarnessError, match=says) as told:
        recipe.load(written(tmp_path, GOOD.replace(old, new)))
    assert str(tmp_path / "recipe.yaml") in str(told.value)
    assert "\n" not in str(told.value)


def test_a_folder_is_not_taken_for_a_stage_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = GOOD.replace("cpt: {from: base", "cpt: {from: ./cpt")
    (tmp_path / "cpt").mkdir()
    written(tmp_path, text)
    found = recipe.load(Path("recipe.yaml"))
    assert found.stages["cpt"].start == str(tmp_path / "cpt")
    assert found.order(["cpt"]) == ["cpt"]
    (tmp_path / "cpt" / "adapter_config.json").write_text("{}")
    with pytest.raises(HarnessError, match="starts from the adapter"):
        recipe.load(Path("recipe.yaml"))


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(HarnessError, match="cannot read the recipe"):
        recipe.load(tmp_path / "none.yaml")
