"""The fingerprint changes with everything that decides an answer, and with nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.checkpoints import identity, loading
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support.hub_cache import fetched
from support.tampering import copied, set_json, set_weights


def fingerprint(reference: object) -> str:
    return identity.fingerprint(loading.locate(parse(str(reference))))


@pytest.fixture(scope="module")
def original(base) -> str:
    """The fingerprint of the unchanged base."""
    return fingerprint(base)


def change_one_weight(folder: Path) -> None:
    set_weights(folder / "model.safetensors", lambda w: w["model.norm.weight"][:1].add_(1e-6))


def change_one_token(folder: Path) -> None:
    file = folder / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace("<pad>", "<PAD>"), encoding="utf-8")


def additional_template(folder: Path, template: str) -> None:
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text(template)


def indexed(folder: Path) -> None:
    """Let an index list the weights, as for a model in shards."""
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


CHANGES = {
    "one weight": change_one_weight,
    "one token of the tokenizer": change_one_token,
    "a setting of the tokenizer": lambda f: set_json(f / "tokenizer_config.json", add_bos_token=True),
    "a chat template": lambda f: (f / "chat_template.jinja").write_text("{{ messages }}"),
    "a value of the configuration": lambda f: set_json(f / "config.json", rms_norm_eps=1e-3),
    "the end-of-text ids": lambda f: set_json(f / "generation_config.json", eos_token_id=[2, 5]),
}
CHANGES |= {
    "a template for another use": lambda f: additional_template(f, "{{ messages[0].content }}"),
    "the tensors that an index lists": lambda f: indexed(f),
    "the class of the tokenizer": lambda f: set_json(f / "tokenizer_config.json", tokenizer_class="LlamaTokenizer"),
    "a token added later": lambda f: (f / "added_tokens.json").write_text('{"<new>": 299}'),
    "a special token": lambda f: (f / "special_tokens_map.json").write_text('{"pad_token": "<eos>"}'),
    "the length of the context": lambda f: set_json(f / "config.json", max_position_embeddings=64),
    "the scaling of positions": lambda f: set_json(f / "config.json", rope_theta=9e3),
}
NO_CHANGES = {
    "the path it was saved to": lambda f: set_json(f / "config.json", _name_or_path="/elsewhere"),
    "the library's version": lambda f: set_json(f / "config.json", transformers_version="4.0.0"),
    "the dtype it was saved for": lambda f: set_json(f / "config.json", dtype=None, torch_dtype="float16"),
    "a README": lambda f: (f / "README.md").write_text("# A model"),
    "notes of a training": lambda f: (f / "trainer_state.json").write_text("{}"),
    "a hidden folder": lambda f: copied(f, f / ".cache"),
    "code that may not run": lambda f: (f / "modeling.py").write_text("1 / 0"),
}


def after(change, folder: Path) -> str:
    """Return the fingerprint after `change` to the checkpoint in `folder`.

    It is located before the change, because transformers cannot read every changed checkpoint.
    """
    located = loading.locate(parse(str(folder)))
    change(folder)
    return identity.fingerprint(located)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_that_decides_answers_changes_the_fingerprint(copy, original, change):
    assert after(change, copy) != original


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_a_change_that_decides_no_answer_keeps_the_fingerprint(copy, original, change):
    assert after(change, copy) == original


def test_in_the_parts_of_a_configuration_versions_are_ignored_and_values_are_not(copy):
    def nested(**text) -> str:
        return after(lambda f: set_json(f / "config.json", text_config={"hidden_size": 64, **text}), copy)

    assert nested(transformers_version="4.0") == nested(transformers_version="5.0") == nested()
    assert nested(hidden_size=65) != nested()


def test_the_kind_of_quantised_weights_changes_the_fingerprint(copy):
    fingerprints = [
        after(lambda f, kind=kind: set_json(f / "config.json", quantization_config=kind), copy)
        for kind in (
            {"load_in_8bit": True},
            {"load_in_4bit": True},
            {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        )
    ]
    assert len(set(fingerprints)) == 3


def test_a_copy_has_the_same_fingerprint(copy, original):
    assert fingerprint(copy) == original


def test_a_renamed_and_moved_folder_has_the_same_fingerprint(copy, original, tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert fingerprint(shutil.move(copy, tmp_path / "deep" / "er" / "新名")) == original


def test_another_name_in_reports_keeps_the_fingerprint(base, original):
    assert fingerprint(f"{base},name=other") == original


def test_each_dtype_has_a_fingerprint_of_its_own(base):
    assert len({fingerprint(f"{base},dtype={dtype}") for dtype in ("float32", "bfloat16", "float16")}) == 3


def test_the_default_dtype_has_the_fingerprint_of_the_explicit_one(base):
    assert fingerprint(f"{base},dtype=float32,device=cpu") == fingerprint(f"{base},device=cpu")


def test_another_tokenizer_changes_the_fingerprint(base, original, tmp_path):
    change_one_token(copied(base, tmp_path / "other"))
    assert fingerprint(f"{base},tokenizer={tmp_path / 'other'}") != original


def test_code_counts_if_it_may_run(copy):
    (copy / "modeling.py").write_text("a = 1")
    first = fingerprint(f"{copy},trust_remote_code=true")
    (copy / "modeling.py").write_text("a = 2")
    assert len({first, fingerprint(f"{copy},trust_remote_code=true"), fingerprint(copy)}) == 3


def test_a_base_and_the_base_with_an_adapter_differ(base, original, lora):
    assert fingerprint(f"{base},adapter={lora}") != original


def test_an_adapter_has_the_same_fingerprint_with_and_without_its_base_in_the_reference(base, lora):
    assert fingerprint(f"{base},adapter={lora}") == fingerprint(lora)


def test_one_weight_of_the_adapter_changes_the_fingerprint(lora, adapter):
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
    set_weights(adapter / "adapter_model.safetensors", lambda w: w[name][:1].add_(1e-6))
    assert fingerprint(adapter) != fingerprint(lora)


def test_the_adapter_s_scale_changes_the_fingerprint(lora, adapter):
    set_json(adapter / "adapter_config.json", lora_alpha=9)
    assert fingerprint(adapter) != fingerprint(lora)


def test_settings_of_the_adapter_that_decide_no_answer_keep_the_fingerprint(lora, adapter, base):
    copied(base, adapter / "base")
    set_json(adapter / "adapter_config.json", base_model_name_or_path="base", peft_version="0", inference_mode=False)
    assert fingerprint(adapter) == fingerprint(lora)


def test_one_adapter_on_two_bases_has_two_fingerprints(copy, lora, base):
    change_one_weight(copy)
    assert fingerprint(f"{copy},adapter={lora}") != fingerprint(f"{base},adapter={lora}")


def test_the_order_in_which_peft_writes_its_modules_keeps_the_fingerprint(lora, adapter, base):
    modules = ["q_proj", "v_proj", "up_proj"]
    set_json(adapter / "adapter_config.json", target_modules=modules)
    forwards = fingerprint(f"{base},adapter={adapter}")
    set_json(adapter / "adapter_config.json", target_modules=modules[::-1])
    assert fingerprint(f"{base},adapter={adapter}") == forwards == fingerprint(lora)


@pytest.fixture
def mistral(copy: Path) -> Path:
    """A tokenizer whose splits transformers corrects, unless version 5 or later saved it."""
    set_json(copy / "tokenizer_config.json", fix_mistral_regex=True)
    set_json(copy / "config.json", transformers_version="4.57.1")
    return copy


def test_the_version_that_saved_a_tokenizer_counts_where_it_decides_the_splits(mistral, original):
    before = fingerprint(mistral)
    assert after(lambda f: set_json(f / "config.json", transformers_version="5.1.0"), mistral) != before


def test_the_configuration_beside_a_tokenizer_of_another_folder_counts(base, tmp_path):
    other = copied(base, tmp_path / "other")
    reference = f"{base},tokenizer={other}"
    before = fingerprint(reference)
    set_json(other / "config.json", model_type="qwen2")
    assert fingerprint(reference) != before


def test_a_configuration_that_changes_while_the_checkpoint_waits_is_refused(copy, original):
    located = loading.locate(parse(str(copy)))
    set_json(copy / "config.json", rms_norm_eps=0.5)
    with pytest.raises(HarnessError, match="was changed while it was waiting"):
        loading.load(located)


def test_the_order_of_patterns_counts_because_peft_takes_the_first_match(lora, adapter):
    patterns = {"layers.0.self_attn.q_proj": 4, "q_proj": 2}
    set_json(adapter / "adapter_config.json", alpha_pattern=patterns)
    forwards = fingerprint(adapter)
    set_json(adapter / "adapter_config.json", alpha_pattern=dict(reversed(patterns.items())))
    assert fingerprint(adapter) != forwards


def test_code_of_another_model_on_the_hub_counts(copy, hub):
    """transformers writes such names when it saves a fine-tune of a model whose code came from the hub."""
    set_json(copy / "config.json", auto_map={"AutoModelForCausalLM": "org/code--modeling.Model"})
    snapshot = fetched(hub, "org/code", {"modeling.py": b"a = 1"})
    located = loading.locate(parse(str(copy)))._replace(reference=parse(f"{copy},trust_remote_code=true"))
    before = identity.fingerprint(located)
    newer = snapshot.with_name("f" * 40)
    newer.mkdir()
    (newer / "modeling.py").write_bytes(b"a = 2")
    (snapshot.parents[1] / "refs" / "main").write_text(newer.name)
    assert identity.fingerprint(located) != before


def test_code_of_another_model_that_is_not_here_is_an_error(copy, hub):
    set_json(copy / "tokenizer_config.json", auto_map={"AutoTokenizer": ["org/code--tokenization.T", None]})
    with pytest.raises(HarnessError, match=r"org/code.*hub"):
        fingerprint(f"{copy},trust_remote_code=true")


def test_with_code_a_folder_counts_without_other_weights_and_a_training_s_state(copy, tmp_path):
    before = fingerprint(f"{copy},trust_remote_code=true")
    for name in ("pytorch_model.bin.old", "optimizer.pt", "events.out.tfevents.1", "trainer_state.json", ".hidden"):
        (copy / name).write_text("1")
    (copy / "checkpoint-5").mkdir()
    (copy / "checkpoint-5" / "config.json").write_text("{}")
    assert fingerprint(f"{copy},trust_remote_code=true") == before
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "bias.pt").write_text("1")
    (copy / "linked").symlink_to(tmp_path / "tables")
    (copy / "loop").symlink_to(copy)
    assert fingerprint(f"{copy},trust_remote_code=true") != before
