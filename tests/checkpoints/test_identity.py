"""The fingerprint changes with whatever decides an answer, and with nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.checkpoints import identity, loading
from harness.checkpoints.reference import parse
from support.tampering import copied, set_json, set_weights


def fingerprint(reference: object) -> str:
    return identity.fingerprint(loading.locate(parse(str(reference))))


@pytest.fixture(scope="module")
def before(base) -> str:
    return fingerprint(base)


def one_weight(folder: Path) -> None:
    set_weights(folder / "model.safetensors", lambda w: w["model.norm.weight"][:1].add_(1e-6))


def one_piece(folder: Path) -> None:
    file = folder / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace("<pad>", "<PAD>"), encoding="utf-8")


CHANGES = {
    "one weight": one_weight,
    "one piece of the tokenizer": one_piece,
    "a setting of the tokenizer": lambda f: set_json(f / "tokenizer_config.json", add_bos_token=True),
    "a chat template": lambda f: (f / "chat_template.jinja").write_text("{{ messages }}"),
    "a value of the configuration": lambda f: set_json(f / "config.json", rms_norm_eps=1e-3),
    "what ends a text": lambda f: set_json(f / "generation_config.json", eos_token_id=[2, 5]),
}
NOTES = {
    "where it was saved": lambda f: set_json(f / "config.json", _name_or_path="/elsewhere"),
    "the library's version": lambda f: set_json(f / "config.json", transformers_version="4.0.0"),
    "the dtype it was saved for": lambda f: set_json(f / "config.json", dtype=None, torch_dtype="float16"),
    "a README": lambda f: (f / "README.md").write_text("# A model"),
    "code that does not run": lambda f: (f / "modeling.py").write_text("1 / 0"),
}


def changed(folder: Path, change) -> str:
    # Located before the change, for not every change leaves a checkpoint that transformers would read.
    located = loading.locate(parse(str(folder)))
    change(folder)
    return identity.fingerprint(located)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_decides_an_answer_changes_it(copy, before, change):
    assert changed(copy, change) != before


@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
def test_what_decides_no_answer_leaves_it(copy, before, note):
    assert changed(copy, note) == before


def test_notes_inside_the_parts_of_a_configuration_leave_it_and_values_do_not(copy):
    def nested(**text) -> str:
        return changed(copy, lambda f: set_json(f / "config.json", text_config={"hidden_size": 64, **text}))

    assert nested(transformers_version="4.0") == nested(transformers_version="5.0") == nested()
    assert nested(hidden_size=65) != nested()


def test_what_quantised_weights_are_made_of_changes_it(copy):
    kinds = [
        changed(copy, lambda f, kind=kind: set_json(f / "config.json", quantization_config=kind))
        for kind in (
            {"load_in_8bit": True},
            {"load_in_4bit": True},
            {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        )
    ]
    assert len(set(kinds)) == 3


def test_a_copy_has_the_same(copy, before):
    assert fingerprint(copy) == before


def test_a_renamed_and_moved_folder_has_the_same(copy, before, tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert fingerprint(shutil.move(copy, tmp_path / "deep" / "er" / "新名")) == before


def test_another_name_in_reports_is_no_other_checkpoint(base, before):
    assert fingerprint(f"{base},name=other") == before


def test_each_dtype_has_its_own(base):
    assert len({fingerprint(f"{base},dtype={dtype}") for dtype in ("float32", "bfloat16", "float16")}) == 3


def test_the_default_dtype_is_the_same_as_the_one_it_stands_for(base, before):
    assert fingerprint(f"{base},dtype=float32,device=cpu") == fingerprint(f"{base},device=cpu")


def test_another_tokenizer_by_name_changes_it(base, before, tmp_path):
    one_piece(copied(base, tmp_path / "other"))
    assert fingerprint(f"{base},tokenizer={tmp_path / 'other'}") != before


def test_code_counts_where_it_may_run(copy):
    (copy / "modeling.py").write_text("a = 1")
    first = fingerprint(f"{copy},trust_remote_code=true")
    (copy / "modeling.py").write_text("a = 2")
    assert len({first, fingerprint(f"{copy},trust_remote_code=true"), fingerprint(copy)}) == 3


def test_base_and_base_with_adapter_differ(base, before, lora):
    assert fingerprint(f"{base},adapter={lora}") != before


def test_an_adapter_is_the_same_whether_it_or_its_base_is_named_first(base, lora):
    assert fingerprint(f"{base},adapter={lora}") == fingerprint(lora)


def test_one_weight_of_the_adapter_changes_it(lora, adapter):
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
    set_weights(adapter / "adapter_model.safetensors", lambda w: w[name][:1].add_(1e-6))
    assert fingerprint(adapter) != fingerprint(lora)


def test_the_adapter_s_scale_changes_it(lora, adapter):
    set_json(adapter / "adapter_config.json", lora_alpha=9)
    assert fingerprint(adapter) != fingerprint(lora)


def test_notes_in_the_adapter_s_settings_leave_it(lora, adapter, base):
    copied(base, adapter / "base")
    set_json(adapter / "adapter_config.json", base_model_name_or_path="base", peft_version="0", inference_mode=False)
    assert fingerprint(adapter) == fingerprint(lora)


def test_one_adapter_on_two_bases_is_two_checkpoints(copy, lora, base):
    one_weight(copy)
    assert fingerprint(f"{copy},adapter={lora}") != fingerprint(f"{base},adapter={lora}")


def test_the_order_in_which_peft_writes_its_modules_leaves_it(lora, adapter, base):
    modules = ["q_proj", "v_proj", "up_proj"]
    set_json(adapter / "adapter_config.json", target_modules=modules)
    forwards = fingerprint(f"{base},adapter={adapter}")
    set_json(adapter / "adapter_config.json", target_modules=modules[::-1])
    assert fingerprint(f"{base},adapter={adapter}") == forwards == fingerprint(lora)
