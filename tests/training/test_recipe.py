"""Recipes: their content, the order of stages, and error messages."""

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


def test_a_recipe_is_loaded_with_paths_resolved(tmp_path):
    loaded = recipe.load(written(tmp_path, GOOD))
    assert loaded.seed == 3
    assert loaded.corpora["laws"] == tmp_path / "texts/laws.jsonl"
    assert loaded.stages["cpt"].start == str(tmp_path / "base")
    assert loaded.stages["lora"].start == "sft"
    assert loaded.stages["lora"].learning_rate == 1e-3
    assert loaded.stages["sft"].corpora == {"talk": 3, "laws": 1}


def test_a_stage_comes_after_the_stage_it_starts_from(tmp_path):
    loaded = recipe.load(written(tmp_path, GOOD))
    assert loaded.order() == ["cpt", "other", "sft", "lora"]
    assert loaded.order(["lora"]) == ["cpt", "sft", "lora"]
    assert loaded.order(["other"]) == ["other"]
    assert loaded.ancestors("lora") == ["sft", "cpt"]
    with pytest.raises(HarnessError, match="no stage 'lorra'; did you mean 'lora'"):
        loaded.order(["lorra"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
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
def test_an_error_names_the_file_in_one_sentence(tmp_path, old, new, message):
    with pytest.raises(HarnessError, match=message) as error:
        recipe.load(written(tmp_path, GOOD.replace(old, new)))
    assert str(tmp_path / "recipe.yaml") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_is_not_confused_with_a_stage_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = GOOD.replace("cpt: {from: base", "cpt: {from: ./cpt")
    (tmp_path / "cpt").mkdir()
    written(tmp_path, text)
    loaded = recipe.load(Path("recipe.yaml"))
    assert loaded.stages["cpt"].start == str(tmp_path / "cpt")
    assert loaded.order(["cpt"]) == ["cpt"]
    (tmp_path / "cpt" / "adapter_config.json").write_text("{}")
    with pytest.raises(HarnessError, match="starts from the adapter"):
        recipe.load(Path("recipe.yaml"))


def test_a_missing_recipe_is_an_error(tmp_path):
    with pytest.raises(HarnessError, match="cannot read the recipe"):
        recipe.load(tmp_path / "none.yaml")
