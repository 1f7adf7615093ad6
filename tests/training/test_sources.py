"""A stage starts from everything that a run evaluates, or is refused before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from harness.checkpoints.loading import Loader, locate
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from harness.training import recipe
from harness.training.sources import Source
from harness.training.stages import Trained
from support import gguf_files, tiny
from support.tampering import copied, set_weights
from support.trained_stages import HEAD, train

QUANTISED = {
    "lora on int8": ("quantize=int8", "method: lora, r: 4, target_modules: [v_proj, q_proj]"),
    "lora on int4": ("quantize=int4", "method: lora, r: 4"),
    "DoRA on int4": ("quantize=int4", "method: lora, r: 4, use_dora: true, learning_rate: 1.0e-3"),
    "prefix on int8": ("quantize=int8", "method: prefix, num_virtual_tokens: 4, learning_rate: 0.1"),
    "prefix on int4": ("quantize=int4", "method: prefix, num_virtual_tokens: 4, learning_rate: 0.1"),
    "P-tuning on int4": ("quantize=int4", "method: p-tuning, num_virtual_tokens: 4, encoder_hidden_size: 16"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("sources") / "base", initializer_range=0.05)


def beside(base: Path, folder: Path, stage: str) -> Trained:
    """Train one stage on a base named `base`."""
    if not (folder / "base").exists():
        (folder / "base").symlink_to(base)
    return train(folder, f"s: {{{stage}}}")["s"]


def refused(base: Path, folder: Path, stage: str) -> str:
    with pytest.raises(HarnessError) as error:
        beside(base, folder, stage)
    assert not (folder / "out/s").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", QUANTISED)
def test_adapters_learn_on_quantised_weights_and_load_on_them(base, tmp_path, name):
    key, settings = QUANTISED[name]
    stage = beside(base, tmp_path, f"from: 'base,{key}', {settings}, max_steps: 8, logging_steps: 1")
    losses = [loss for _, loss in stage.lineage.curve]
    assert sum(losses[-3:]) < sum(losses[:3]) - 0.01
    checkpoint = Loader().load(locate(parse(f"{stage.folder},{key}")))
    assert checkpoint.adapter_effect > 0
    assert checkpoint.notes == []
    (note,) = Loader().load(locate(parse(str(stage.folder)))).notes  # on the weights before their rounding
    assert note.startswith(f"the adapter was trained on {key.removeprefix('quantize=')} weights, and is put on others")


@pytest.mark.parametrize("key", ["quantize=int8", "quantize=int4", "quantize=fp4"])
def test_quantised_weights_themselves_are_not_trained(base, tmp_path, key):
    assert "cannot learn: train an adapter on it (method: lora)" in refused(base, tmp_path, f"from: 'base,{key}'")


def test_dora_on_int8_is_refused(base, tmp_path):
    error = refused(base, tmp_path, "from: 'base,quantize=int8', method: lora, use_dora: true")
    assert "DoRA needs the base's own weights, which int8 does not give: use int4" in error


def test_adapters_learn_on_a_gguf_file(base, tmp_path):
    gguf_files.written(tmp_path / "base.gguf", base, "Q8_0")
    stage = train(tmp_path, "s: {from: base.gguf, method: lora, r: 4}")["s"]
    located = locate(parse(str(stage.folder)))
    assert located.base.resolve() == tmp_path / "base.gguf"
    assert Loader().load(located).adapter_effect > 0
    with pytest.raises(HarnessError, match=r"base.gguf has q8_0 weights, which cannot learn"):
        train(tmp_path, "full: {from: base.gguf}")


def test_a_tokenizer_larger_than_the_embeddings_is_refused(base, tmp_path):
    words = tiny.tokenizer()
    words.add_tokens([f"<{number}>" for number in range(3)])
    copied(base, tmp_path / "base")
    words.save_pretrained(tmp_path / "base")
    error = refused(base, tmp_path, "from: base")
    assert f"has {len(words):,} tokens but" in error
    assert f"embeds only {len(words) - 3:,}" in error


def test_lengths_stay_within_the_context(base, tmp_path):
    assert "max_length 513 is more than the 512 tokens that base reads" in refused(
        base, tmp_path, "from: base, max_length: 513"
    )
    error = refused(base, tmp_path, "from: base, method: prefix, num_virtual_tokens: 16, max_length: 500")
    assert "max_length 500 is more than the 496 tokens" in error
    for tokens in (511, 2000):
        error = refused(base, tmp_path, f"from: base, method: prompt, num_virtual_tokens: {tokens}")
        assert error.startswith("stage s: ")
        assert f"num_virtual_tokens {tokens:,} leaves no room in the 512 tokens that base reads: set it lower" in error
    assert beside(base, tmp_path, "from: 'base,max_length=64', max_length: 64").lineage.settings["max_length"] == 64


LONG = """
corpora: {talk: long.txt}
defaults: {max_steps: 1, per_device_train_batch_size: 1, learning_rate: 1.0e-3}
stages:
"""


def test_a_length_that_nobody_stated_is_at_most_the_context(tmp_path):
    tiny.llama(tmp_path / "base", context=48)
    (tmp_path / "long.txt").write_text("春天的花开了，" * 40, encoding="utf-8")
    stages = train(tmp_path, "full: {from: base}", "p: {from: base, method: prompt, num_virtual_tokens: 8}", head=LONG)
    longest = {name: stage.lineage.corpora[0]["counts"]["longest"] for name, stage in stages.items()}
    assert longest == {"full": 48, "p": 40}


def test_a_continued_adapter_keeps_its_method_and_settings(base, tmp_path):
    train(tmp_path / "first", f"lora: {{from: {base}, method: lora, r: 4}}")
    adapter = tmp_path / "first/out/lora"
    error = refused(base, tmp_path, f"from: {adapter}, method: prefix")
    assert "has a lora adapter: continue it with that method, or merge it first" in error
    assert "merge it first" in refused(base, tmp_path, f"from: {adapter}")
    assert "keeps its own settings: remove r from the stage" in refused(
        base, tmp_path, f"from: {adapter}, method: lora, r: 8"
    )
    stage = beside(base, tmp_path, f"from: '{base},adapter={adapter}', method: lora")
    assert stage.lineage.base_fingerprint == json.loads((adapter / "training.json").read_text())["base_fingerprint"]


def test_an_adapter_of_a_checkpoint_is_merged(base, tmp_path):
    train(tmp_path / "first", f"lora: {{from: {base}, method: lora, r: 4}}")
    adapter = tmp_path / "first/out/lora"
    starts = {"alone": str(adapter), "both": f"'{base},adapter={adapter}'"}
    stages = train(
        tmp_path,
        *(f"{name}: {{from: {start}, method: merge}}" for name, start in starts.items()),
        "more: {from: alone}",
    )
    for name in starts:
        assert Loader().load(locate(parse(str(stages[name].folder)))).adapter_effect is None
    alone, both = (load_file(stages[name].folder / "model.safetensors") for name in starts)
    assert all(torch.equal(alone[key], both[key]) for key in alone)
    plain = load_file(base / "model.safetensors")
    assert not all(torch.equal(alone[key], plain[key]) for key in alone if key in plain)
    assert train(tmp_path, f"alone: {{from: {adapter}, method: merge}}")["alone"].reused
    (tmp_path / "base").symlink_to(base)
    assert "has no adapter to merge: name one" in refused(base, tmp_path, "from: base, method: merge")
    train(tmp_path / "other", f"prompt: {{from: {base}, method: prompt, num_virtual_tokens: 2}}")
    error = refused(base, tmp_path, "from: other/out/prompt, method: merge")
    assert "is not a change of weights" in error or "nothing to merge" in error


def test_a_continued_checkpoint_takes_no_settings_of_adapters_from_the_defaults(base, tmp_path):
    train(tmp_path / "first", f"lora: {{from: {base}, method: lora, r: 4}}")
    head = HEAD.replace("max_length: 128", "max_length: 128, r: 8, lora_alpha: 3")
    stage = train(tmp_path, "more: {from: first/out/lora, method: lora}", head=head)["more"]
    assert json.loads((stage.folder / "adapter_config.json").read_text())["r"] == 4
    assert stage.lineage.settings["adapter"] == {}


def test_a_revision_of_a_folder_on_this_machine_is_refused(base, tmp_path):
    error = refused(base, tmp_path, "from: 'base,revision=abc'")
    assert "is on this machine, and revision=abc names a version of a model on the hub: leave it out" in error
    with pytest.raises(HarnessError, match="leave it out"):
        locate(parse(f"{base},revision=main"))


def test_a_prompt_may_begin_as_a_text(base, tmp_path):
    text = "春天"
    settings = f"method: prompt, num_virtual_tokens: 3, prompt_tuning_init: TEXT, prompt_tuning_init_text: {text}"
    stage = beside(base, tmp_path, f"from: base, {settings}, learning_rate: 1.0e-9, max_steps: 1")
    ids = AutoTokenizer.from_pretrained(base)(text)["input_ids"]
    expected = load_file(base / "model.safetensors")["model.embed_tokens.weight"][(ids * 3)[:3]]
    [learned] = load_file(stage.folder / "adapter_model.safetensors").values()
    torch.testing.assert_close(learned, expected, atol=1e-5, rtol=0)
    config = json.loads((stage.folder / "adapter_config.json").read_text())
    assert config["tokenizer_name_or_path"] == config["base_model_name_or_path"]
    Loader().load(locate(parse(str(stage.folder))))
    peft.AutoPeftModelForCausalLM.from_pretrained(stage.folder)
    more = train(tmp_path, f"more: {{from: {stage.folder}, method: prompt}}")["more"]
    assert more.lineage.steps == 2
    with pytest.raises(HarnessError, match="prompt_tuning_init_text can't be None"):
        train(tmp_path, f"none: {{from: {base}, method: prompt, num_virtual_tokens: 3, prompt_tuning_init: TEXT}}")


def test_an_adapter_on_a_base_that_was_trained_anew_is_not_continued(base, tmp_path):
    copied(base, tmp_path / "base")
    train(tmp_path / "first", "lora: {from: ../base, method: lora, r: 4}")
    adapter = "first/out/lora"
    set_weights(tmp_path / "base/model.safetensors", lambda tensors: tensors["model.norm.weight"][0].add_(1))
    assert "was trained on other weights" in refused(base, tmp_path, f"from: {adapter}, method: lora")
    assert beside(base, tmp_path, f"from: '{adapter},allow_other_base=true', method: lora").lineage.steps == 2


def test_weights_that_are_trained_are_float32_unless_the_recipe_says_otherwise(base, tmp_path):
    stages = {
        method: recipe.Stage.model_validate({"from": "x", "method": method, "corpora": ["a"]})
        for method in ("full", "lora")
    }
    assert Source(parse(f"{base},dtype=bfloat16"), stages["full"]).located.dtype == torch.bfloat16
    assert Source(parse(str(base)), stages["full"]).located.dtype == torch.float32
