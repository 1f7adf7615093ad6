"""Recipes: their content, the order of stages, and error messages."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.training import recipe

GOOD = """
seed: 3
corpora: {laws: texts/laws.jsonl, talk: {file: texts/talk.jsonl, learn: last_answer}}
defaults: {lr_scheduler_type: cosine, r: 16}
stages:
  lora: {from: sft, method: lora, corpora: {talk: 1}, max_steps: 5, learning_rate: 1e-3, lora_alpha: 32}
  sft: {from: cpt, corpora: {talk: 3, laws: 1}, max_steps: 10, learning_rate: 1.0e-4}
  cpt: {from: base, corpora: [laws], num_train_epochs: 2, learning_rate: 1.0e-4}
  other: {from: base, corpora: {laws: 1}, max_steps: 20, learning_rate: 1.0e-4, validation: talk}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "base").mkdir(exist_ok=True)
    file = folder / "recipe.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_recipe_is_loaded_with_paths_resolved(tmp_path):
    loaded = recipe.load(written(tmp_path, GOOD))
    assert loaded.seed == 3
    assert loaded.corpora["laws"].file == tmp_path / "texts/laws.jsonl"
    assert loaded.stated["laws"] == "texts/laws.jsonl"
    assert (loaded.corpora["laws"].learn, loaded.corpora["talk"].learn) == ("answers", "last_answer")
    assert loaded.stages["cpt"].start == str(tmp_path / "base")
    assert loaded.stages["lora"].start == "sft"
    assert loaded.stages["sft"].corpora == {"talk": 3, "laws": 1}
    assert loaded.stages["cpt"].names == ["laws"]
    assert loaded.stages["other"].validation == ["talk"]
    assert loaded.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()


def test_the_settings_of_libraries_are_told_apart_and_typed(tmp_path):
    loaded = recipe.load(written(tmp_path, GOOD))
    lora, sft = loaded.stages["lora"], loaded.stages["sft"]
    assert lora.arguments == {"max_steps": 5, "learning_rate": 1e-3, "lr_scheduler_type": "cosine"}
    assert lora.adapter == {"r": 16, "lora_alpha": 32}
    assert sft.arguments == {"max_steps": 10, "learning_rate": 1e-4, "lr_scheduler_type": "cosine"}
    assert sft.adapter == {}


def test_what_a_stage_states_wins_over_the_defaults(tmp_path):
    loaded = recipe.load(written(tmp_path, GOOD.replace("lora_alpha: 32", "r: 4")))
    assert loaded.stages["lora"].adapter == {"r": 4}


def test_a_start_is_a_reference_as_run_takes_it(tmp_path):
    text = GOOD.replace("cpt: {from: base", "cpt: {from: 'base,dtype=bfloat16'").replace(
        "other: {from: base", "other: {from: Qwen/Qwen2.5-7B"
    )
    loaded = recipe.load(written(tmp_path, text))
    assert loaded.stages["cpt"].start == f"{tmp_path / 'base'},dtype=bfloat16"
    assert loaded.stages["other"].start == "Qwen/Qwen2.5-7B"


def test_a_stage_comes_after_the_stage_it_starts_from(tmp_path):
    loaded = recipe.load(written(tmp_path, GOOD))
    assert loaded.order() == ["cpt", "sft", "lora", "other"], "the recipe's own order"
    assert loaded.order(["lora"]) == ["cpt", "sft", "lora"]
    assert loaded.order(["other"]) == ["other"]
    assert loaded.ancestors("lora") == ["sft", "cpt"]
    assert loaded.order(until="sft") == ["cpt", "sft"]
    with pytest.raises(HarnessError, match="no stage 'lorra'; did you mean 'lora'"):
        loaded.order(["lorra"])
    with pytest.raises(HarnessError, match="'sft' is not among those"):
        loaded.order(["other"], until="sft")


LORA_LINE = 6
"""The line of the stage lora in `GOOD`."""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("from: cpt", "from: cptt", "'cptt' is neither a stage nor a folder; did you mean 'cpt'"),
        ("from: cpt", "from: lora", "'lora' is an adapter: continue it with method: lora, or merge it first"),
        ("from: base", "from: sft", "in a circle"),
        ("corpora: {talk: 1}", "corpora: {talks: 1}", "'talks' is none of the recipe's corpora; did you mean 'talk'"),
        ("corpora: {talk: 1}", "corpora: {talk: 0}", "input should be greater than 0"),
        ("corpora: {talk: 1}", "corpora: {}", "it learns from no corpus"),
        ("corpora: {talk: 1}", "corpora: [talk, talk]", "names a corpus twice"),
        ("corpora: {laws: 1}", "corpora: {talk: 1}", "the stage learns from 'talk'"),
        ("max_steps: 5", "max_steps: five", "'max_steps' is 'five': input should be a valid integer"),
        ("method: lora", "method: loha", "method: input should be 'full', 'lora'"),
        ("max_steps: 5", "max_stepps: 5", "there is no 'max_stepps'.*did you mean 'max_steps'"),
        ("max_steps: 5", "steps: 5", "there is no 'steps': write max_steps"),
        ("lora_alpha: 32", "lora_rank: 8", "there is no 'lora_rank': write r"),
        ("lora_alpha: 32", "cutoff_len: 8", "there is no 'cutoff_len': write max_length"),
        ("lora_alpha: 32", "num_virtual_tokens: 8", "is a setting of P-tuning v2, and this stage has method: lora"),
        ("lora_alpha: 32", "output_dir: x", "'output_dir' cannot be set: each stage has a folder"),
        ("lora_alpha: 32", "push_to_hub: true", "'push_to_hub' cannot be set: a training reaches no network"),
        ("cosine", "cosin", "did you mean 'cosine'"),
        ("learn: last_answer", "learn: last", "input should be 'answers', 'last_answer' or 'everything'"),
        ("learn: last_answer", "lern: last", r"corpora\.talk\.lern: there is no 'lern'; did you mean 'learn'"),
        ("file: texts/talk.jsonl", "path: texts/talk.jsonl", "there is no 'path': write file"),
        ("file: texts/talk.jsonl", "file_name: texts/talk.jsonl", "there is no 'file_name': write file"),
        ("file: texts/talk.jsonl", "dataset: talk", "there is no 'dataset': write file"),
        ("learn: last_answer", "mask_history: true", "there is no 'mask_history': write learn: last_answer"),
        ("learn: last_answer", "columns: {a: b}", "there is no 'columns': columns and roles are recognised"),
        ("file: texts/talk.jsonl, ", "", r"corpora\.talk: it states no 'file': add it"),
        ("texts/laws.jsonl", "[texts/laws.jsonl]", r"corpora\.laws: it is a list, not a path or a mapping with a file"),
        ("texts/laws.jsonl", "null", r"corpora\.laws: it is empty, not a path or a mapping"),
        ("file: texts/talk.jsonl", "file: 3", r"corpora\.talk\.file: it is 3, not a path"),
        (GOOD, "corpora: [a]\nstages: {a: {from: b}}", "corpora: it is a list, not a mapping of names to corpora"),
        ("  cpt: {from: base, ", "  cpt: {", r"stages\.cpt: it states no 'from': add it"),
        ("from: base, corpora: [laws]", "from: 3, corpora: [laws]", r"stages\.cpt\.from: it is 3, not a text"),
        ("stages:", "stages:\n  a: base", r"stages\.a: it is 'base', not a mapping of settings to values"),
        ("stages:", "stages:\n  a:", r"stages\.a: it is empty, not a mapping of settings"),
        ("corpora: [laws]", "corpora: laws", "it is 'laws', not a list of corpora, or a mapping of corpora to weights"),
        ("corpora: [laws]", "corpora: [3]", r"stages\.cpt\.corpora\.0: it is 3, not a text"),
        ("validation: talk", "validation: {talk: 1}", "validation: it is a mapping, not a list"),
        ("seed: 3", "seed: -3", "seed: input should be greater"),
        ("seed: 3", "sead: 3", "there is no 'sead'; did you mean 'seed'"),
        ("seed: 3", "seed: 3\nseed: 4", "states 'seed' again"),
        ("lora: {", "..: {", r"stages\.\.\.: a name consists of letters, digits"),
        ("lora: {", "a/b: {", "stages.a/b: a name consists of letters, digits, '_', '-' and '.', and does not"),
        ("lora: {", "my lora: {", "stages.my lora: a name consists of letters"),
        ("lora: {", "'': {", "a name consists of letters"),
        ("lora: {", "true: {", "stages.true: YAML reads the name true as something other than a text: put it"),
        ("lora: {", "null: {", "stages.null: YAML reads the name null as"),
        ("lora: {", "2024-01-01: {", "stages.2024-01-01: YAML reads the name 2024-01-01 as"),
        ("lora: {", "1: {", "stages.1: YAML reads the name 1 as"),
        ("lora: {", f"{'长' * 70}: {{", "a name of 70 characters is too long for the stage's folder: shorten it"),
        ("lora: {", f"{'l' * 300}: {{", "stages.l{60}…: a name of 300 characters is too long"),
        ("{laws: texts", "{a/b: texts", "corpora.a/b: a name consists of letters"),
        ("seed: 3", "seed: [", "is not valid YAML"),
        (GOOD, "- a list", "line 1: it is a list, not a mapping with corpora and stages"),
        (GOOD, "", "line 1: it is empty, not a mapping with corpora and stages"),
        (GOOD, "corpora: {a: b.jsonl}\nstages: {}", "stages: it is empty: name at least one"),
        (GOOD, "corpora: {a: b.jsonl}", "it states no 'stages': add it"),
        (GOOD, "stages: {a: {from: b}}", "it states no 'corpora': add it"),
        (GOOD, "corpora: {a: b.jsonl}\nstages: [a]", "stages: it is a list, not a mapping of names to stages"),
    ],
)
def test_an_error_names_the_file_in_one_sentence(tmp_path, old, new, message):
    with pytest.raises(HarnessError, match=message) as error:
        recipe.load(written(tmp_path, GOOD.replace(old, new)))
    assert str(tmp_path / "recipe.yaml") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("max_steps: 5", "max_stepps: 5", LORA_LINE),
        ("learning_rate: 1e-3", "learning_rate: fast", LORA_LINE),
        ("from: cpt, corpora: {talk: 3", "from: cpt, corpora: {talk: -3", LORA_LINE + 1),
        ("lr_scheduler_type", "lr_schedule_type", 4),
        ("learn: last_answer", "learn: last", 3),
        ("learn: last_answer", "lern: last", 3),
        ("lora: {", "true: {", LORA_LINE),
        ("seed: 3", "seed: -3", 2),
    ],
)
def test_an_error_names_the_line(tmp_path, old, new, line):
    with pytest.raises(HarnessError, match=rf"recipe\.yaml, line {line}, "):
        recipe.load(written(tmp_path, GOOD.replace(old, new)))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("{from: sft, method: merge}", "'sft' has method: full, which cannot be merged"),
        ("{from: lora, method: merge, corpora: [talk]}", "a merge learns from no corpus"),
        ("{from: lora, method: merge, learning_rate: 1.0}", "a merge trains nothing: remove learning_rate"),
        ("{from: lora, method: merge, max_length: 9, validation: talk}", "nothing: remove validation, max_length"),
        ("{from: base, method: prefix, corpora: [talk], packing: true}", "only the first of packed examples would see"),
    ],
)
def test_stages_that_cannot_be(tmp_path, stage, message):
    with pytest.raises(HarnessError, match=message):
        recipe.load(written(tmp_path, f"{GOOD}  last: {stage}\n"))


def test_a_merge_and_a_continued_adapter_are_stages(tmp_path):
    more = "  merged: {from: lora, method: merge}\n  more: {from: lora, method: lora, corpora: [talk]}\n"
    text = GOOD.replace("defaults: {lr_scheduler_type: cosine, r: 16}", "defaults: {lr_scheduler_type: cosine}")
    loaded = recipe.load(written(tmp_path, text + more))
    assert loaded.order(["merged"]) == ["cpt", "sft", "lora", "merged"]
    assert loaded.stages["more"].adapter == {}


ALL = """
corpora: {laws: laws.jsonl, talk: talk.jsonl}
defaults:
  {corpora: [laws], mix: tokens, validation: talk, evaluate: ceval, evaluate_limit: 9, packing: true, max_length: 64,
   max_steps: 5, r: 16, lora_alpha: 32, num_virtual_tokens: 8}
stages:
  lora: {from: base, method: lora}
"""


def test_defaults_that_do_not_apply_to_a_stage_are_left_out(tmp_path):
    more = "  merged: {from: lora, method: merge}\n  more: {from: lora, method: lora}\n"
    stages = recipe.load(written(tmp_path, f"{ALL}{more}  prefix: {{from: base, method: prefix}}\n")).stages
    assert stages["lora"].adapter == {"r": 16, "lora_alpha": 32}
    assert (stages["lora"].names, stages["lora"].packing) == (["laws"], True)
    merged = recipe.Stage.model_validate({"from": "lora", "method": "merge", "parent": "lora"})
    assert stages["merged"] == merged
    assert (stages["more"].adapter, stages["more"].arguments) == ({}, {"max_steps": 5})
    assert stages["prefix"].adapter == {"num_virtual_tokens": 8}
    assert not stages["prefix"].packing


def test_defaults_of_an_adapter_are_left_out_of_a_stage_that_continues_a_checkpoint(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/adapter_config.json").write_text("{}")
    for start in ("old", "./old", "'base,adapter=old'", "'org/base,adapter=org/lora'"):
        more = f"  more: {{from: {start}, method: lora}}\n  own: {{from: {start}, method: lora, r: 4}}\n"
        stages = recipe.load(written(tmp_path, ALL + more)).stages
        assert (stages["more"].adapter, stages["own"].adapter) == ({}, {"r": 4})


def test_a_folder_is_not_confused_with_a_stage_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = GOOD.replace("cpt: {from: base", "cpt: {from: ./cpt")
    (tmp_path / "cpt").mkdir()
    written(tmp_path, text)
    loaded = recipe.load(Path("recipe.yaml"))
    assert loaded.stages["cpt"].start == str(tmp_path / "cpt")
    assert loaded.order(["cpt"]) == ["cpt"]


def test_a_missing_recipe_is_an_error(tmp_path):
    with pytest.raises(HarnessError, match="cannot read the recipe"):
        recipe.load(tmp_path / "none.yaml")
