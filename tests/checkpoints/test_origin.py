"""The folder of a training as its trainer leaves it: its checkpoints load, and its trainer and base are recognised.

The files are invented after the trainers' own source; weights are tiny and random.
"""

from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from harness.checkpoints import files, loading
from harness.checkpoints.discovery import expand
from harness.checkpoints.origin import Origin, known_as, origin_of
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support import tiny
from support.tampering import Malice, copied, load, refusal, set_json

STEPS = (9, 20, 100)
TEMPLATE = "{{ messages[0].content }}"
QWEN = "/home/a/.cache/modelscope/hub/models/Qwen/Qwen2___5-7B-Instruct"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def write_arguments(file: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write training_args.bin with arguments of a class that `package` would define."""
    if package == "transformers":
        torch.save(TrainingArguments(output_dir=str(file.parent), use_cpu=True), file)
        return
    module = types.ModuleType(f"{package}.arguments")
    arguments_class = type("Arguments", (), {"__module__": module.__name__})
    module.Arguments = arguments_class  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    arguments = arguments_class()
    arguments.__dict__.update(output_dir="trl.swift.out", dtype=torch.bfloat16)
    torch.save(arguments, file)


def write_card(folder: Path, *tags: str) -> None:
    """Write a model card with `tags`."""
    lines = "".join(f"- {tag}\n" for tag in tags)
    (folder / "README.md").write_text(f"---\nlibrary_name: peft\ntags:\n{lines}---\n\n# A model: with a colon\n")


def write_tokenizer(folder: Path) -> None:
    """Save a tokenizer with a chat template."""
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)


def write_state(folder: Path, step: int) -> None:
    """Write trainer_state.json as at `step` of a training with 8 steps an epoch."""
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "epoch": step / 8, "log_history": []}))


def save_step(folder: Path, source: Path, step: int) -> Path:
    """Save the weights of `source`, a base or a LoRA, as Trainer does at `step`, without a tokenizer."""
    folder.mkdir(parents=True)
    names = ADAPTER if (source / ADAPTER[0]).exists() else ("config.json", "generation_config.json", files.WEIGHTS[0])
    for name in names:
        shutil.copy(source / name, folder)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, folder / name)
    write_state(folder, step)
    return folder


class Training:
    """Writes the output folder of a training as each trainer does."""

    def __init__(self, out: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out, self.source, self.monkeypatch = out, source, monkeypatch
        self.is_adapter = (source / ADAPTER[0]).exists()

    def save_steps(self, out: Path, package: str, tokenizer: bool) -> list[Path]:
        """Save the checkpoints of all steps in folder `out`."""
        steps = [save_step(out / f"checkpoint-{step}", self.source, step) for step in STEPS]
        for folder in steps:
            write_arguments(folder / "training_args.bin", package, self.monkeypatch)
            if tokenizer:
                write_tokenizer(folder)
        return steps

    def save_final(self) -> None:
        """Save the last step in the output folder itself, as `save_model` and `save_state` do."""
        for file in (self.out / f"checkpoint-{STEPS[-1]}").iterdir():
            if file.name not in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
                shutil.copy(file, self.out)
        (self.out / "all_results.json").write_text("{}")

    def llama_factory(self) -> Path:
        self.save_steps(self.out, "llamafactory", tokenizer=True)
        self.save_final()
        (self.out / "trainer_log.jsonl").write_text('{"current_steps": 10, "loss": 1.0}\n')
        write_card(self.out, "llama-factory", "lora")
        (self.out / "training_loss.png").touch()
        return self.out

    def swift(self) -> Path:
        out = self.out / "v0-20260102-030405"
        steps = self.save_steps(out, "swift", tokenizer=not self.is_adapter)
        arguments = {
            "model": "Qwen/Qwen2.5-7B-Instruct",
            "model_dir": QWEN,
            "template": "qwen2_5",
            "swift_version": "4.1.0",
        }
        for folder in (out, *steps):
            (folder / "args.json").write_text(json.dumps({**arguments, "use_hf": False, "model_revision": None}))
        (out / "logging.jsonl").write_text("{}\n")
        (out / "runs").mkdir()
        (out / "images").mkdir()
        return out

    def trl(self) -> Path:
        for folder in self.save_steps(self.out, "trl", tokenizer=True):
            write_card(folder, "base_model:adapter:x", "lora", "sft", "trl")
        self.save_final()
        (self.out / "trainer_state.json").unlink()  # trl's own scripts do not call save_state
        write_card(self.out, "sft", "trl")
        return self.out

    def trainer(self) -> Path:
        self.save_steps(self.out, "transformers", tokenizer=False)
        return self.out


TRAINERS = {"llama_factory": "LLaMA-Factory", "swift": "ms-swift", "trl": "TRL", "trainer": "transformers' Trainer"}


@pytest.fixture(params=["lora", "full"])
def source(request: pytest.FixtureRequest, base: Path, lora: Path) -> Path:
    return lora if request.param == "lora" else base


@pytest.fixture
def training(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    return Training(tmp_path / "out", source, monkeypatch)


# --- checkpoints of every trainer load, and their origin is recognised


@pytest.mark.parametrize("kind", TRAINERS)
def test_every_checkpoint_of_a_trainer_loads_in_step_order(training, base, kind):
    out = getattr(training, kind)()
    tokenizer = f",tokenizer={base}" if kind == "trainer" and not training.is_adapter else ""
    references = expand([parse(f"{out}/checkpoint-*{tokenizer}")])
    assert [reference.label for reference in references] == [f"{out.name}-checkpoint-{step}" for step in STEPS]
    located = [loading.locate(reference) for reference in references]
    assert [origin_of(item.adapter or item.base) for item in located] == [
        Origin(TRAINERS[kind], step, step / 8) for step in STEPS
    ]
    assert {item.kind for item in located} == {"lora" if training.is_adapter else "base"}
    assert load(references[-1]).parameters


@pytest.mark.parametrize("kind", ["llama_factory", "trl"])
def test_an_output_folder_loads_with_its_checkpoints_inside(training, kind):
    out = getattr(training, kind)()
    assert load(out).tokenizer.chat_template == TEMPLATE
    step = STEPS[-1] if kind == "llama_factory" else None
    assert origin_of(out) == Origin(TRAINERS[kind], step, step and step / 8)


@pytest.mark.parametrize("kind", ["swift", "trainer"])
def test_for_a_folder_with_only_checkpoints_the_message_says_how_to_name_one_or_all(training, kind):
    out = getattr(training, kind)()
    message = refusal(out)
    assert f"such as {out / 'checkpoint-100'}" in message
    assert f"'{out}/checkpoint-*'" in message


def test_a_lora_of_ms_swift_uses_the_tokenizer_of_its_base(base, lora, tmp_path, monkeypatch):
    out = Training(tmp_path / "out", lora, monkeypatch).swift()
    assert loading.locate(parse(f"{out}/checkpoint-9")).tokenizer == base


def test_an_origin_is_written_in_words():
    assert str(Origin("TRL", 1200, 1.125)) == "TRL, step 1,200, epoch 1.125"
    assert str(Origin("PEFT")) == "PEFT"


def test_adapters_with_several_names_are_found_side_by_side(base, tmp_path):
    import peft
    from transformers import AutoModelForCausalLM

    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config, adapter_name="policy")
    model.add_adapter("critic", config)
    model.save_pretrained(tmp_path / "two")
    assert "name a checkpoint inside it" in refusal(tmp_path / "two")
    assert [reference.label for reference in expand([parse(f"{tmp_path}/two/*")])] == ["critic", "policy"]
    assert origin_of(tmp_path / "two" / "policy") == Origin("PEFT")
    assert load(tmp_path / "two" / "policy").adapter_effect


def test_a_folder_of_no_trainer_has_no_origin(base):
    assert origin_of(base) is None


def test_older_llama_factories_are_recognised_by_their_log(lora, tmp_path, monkeypatch):
    out = Training(tmp_path / "out", lora, monkeypatch).trainer()
    assert origin_of(out / "checkpoint-9") == Origin("transformers' Trainer", 9, 9 / 8)
    (out / "trainer_log.jsonl").touch()
    assert origin_of(out / "checkpoint-9") == Origin("LLaMA-Factory", 9, 9 / 8)


def test_damaged_files_of_a_trainer_are_ignored(lora, tmp_path):
    folder = copied(lora, tmp_path / "checkpoint-7")
    for name in ("args.json", "trainer_state.json", "training_args.bin"):
        (folder / name).write_bytes(b"PK\x03\x04 no longer what it was")
    (folder / "README.md").write_bytes(b"---\n\xff: [\n---\n")
    assert origin_of(folder) == Origin("transformers' Trainer", 7, None)
    assert load(folder).adapter_effect


def test_pickled_arguments_are_not_executed(tmp_path):
    torch.save(Malice(tmp_path / "canary"), tmp_path / "training_args.bin")
    assert origin_of(tmp_path) is None
    assert not (tmp_path / "canary").exists()


def test_the_value_head_of_a_ppo_training_is_not_a_second_model(adapter, copy):
    head = {"v_head.summary.weight": torch.ones(1, 64), "v_head.summary.bias": torch.ones(1)}
    for name in ("pytorch_model.bin", "value_head.bin"):
        torch.save(head, adapter / name)
    assert load(adapter).adapter_effect
    torch.save({"model.norm.weight": torch.ones(64)}, adapter / "pytorch_model.bin")
    assert "both a whole model and an adapter_config.json" in refusal(adapter)


# --- shards of a distributed training


@pytest.mark.parametrize(
    ("shard", "tool"),
    [
        ("global_step9/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "zero_to_fp32.py . . in that folder"),
        ("pytorch_model_fsdp_0/__0_0.distcp", "accelerate merge-weights {folder}/pytorch_model_fsdp_0 {folder}"),
    ],
)
def test_for_shards_the_message_says_how_to_merge_them(base, tmp_path, shard, tool):
    folder = save_step(tmp_path / "out" / "checkpoint-9", base, 9)
    (folder / files.WEIGHTS[0]).unlink()
    (folder / shard).parent.mkdir()
    (folder / shard).touch()
    message = refusal(folder)
    assert message.startswith(f"{folder} has no weights")
    assert tool.format(folder=folder) in message
    with pytest.raises(HarnessError, match="has no weights"):
        loading.locate(expand([parse(f"{tmp_path}/out/checkpoint-*")])[0])


# --- a base on another machine


@pytest.mark.parametrize(
    ("path", "name", "hub"),
    [
        (QWEN, "Qwen/Qwen2.5-7B-Instruct", "ModelScope"),
        ("/home/a/.cache/modelscope/hub/Qwen/Qwen2-7B", "Qwen/Qwen2-7B", "ModelScope"),
        ("/mnt/ms/models/Qwen/Qwen2___5-0___5B", "Qwen/Qwen2.5-0.5B", "ModelScope"),
        ("/x/hub/models--Qwen--Qwen2.5-7B/snapshots/a1b2", "Qwen/Qwen2.5-7B", "Hugging Face"),
        ("/x/hub/models--gpt2/snapshots/a1b2/", "gpt2", "Hugging Face"),
        ("/home/a/.cache/modelscope/models/Qwen--Qwen2.5-7B/snapshots/master", "Qwen/Qwen2.5-7B", "ModelScope"),
    ],
)
def test_the_path_of_a_cache_names_its_model(path, name, hub):
    known = known_as(path)
    assert known is not None
    assert (known.name, known.hub) == (name, hub)


@pytest.mark.parametrize("path", ["/mnt/models/Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B", "../base", "out/checkpoint-9"])
def test_other_paths_name_no_model(path):
    assert known_as(path) is None


def trained_on(adapter: Path, base: str, **arguments: Any) -> Path:
    """Make `adapter` state `base` as its base, and `arguments`, if any, as those of ms-swift."""
    set_json(adapter / "adapter_config.json", base_model_name_or_path=base)
    if arguments:
        (adapter / "args.json").write_text(json.dumps({"swift_version": "4.1.0", "model_dir": base, **arguments}))
    return adapter


def test_a_missing_base_is_named_if_its_path_or_trainer_states_its_name(adapter, tmp_path, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "none"))
    assert f"name its base, as BASE,adapter={adapter}" in refusal(trained_on(adapter, "/elsewhere/base"))
    message = refusal(trained_on(adapter, QWEN))
    assert "it is Qwen/Qwen2.5-7B-Instruct on ModelScope: if you have that, name it" in message
    message = refusal(trained_on(adapter, "/data/llm", model="LLM-Research/Llama-3", model_revision="master"))
    assert "it is LLM-Research/Llama-3 on ModelScope" in message


@pytest.mark.parametrize(
    "place", ["models/Qwen/Qwen2___5-7B-Instruct", "models/Qwen--Qwen2.5-7B-Instruct/snapshots/master"]
)
def test_a_base_in_this_machine_s_modelscope_cache_is_used(base, adapter, tmp_path, monkeypatch, place):
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    cached = copied(base, tmp_path / "cache" / place)
    checkpoint = load(trained_on(adapter, QWEN))
    assert checkpoint.located.base == cached
    assert any("the same model, replaces it" in note for note in checkpoint.notes)


@pytest.mark.parametrize("arguments", [{}, {"model": "org/name", "use_hf": True}])
def test_a_base_from_the_hub_is_fetched_from_the_hub(base, adapter, monkeypatch, arguments):
    stated = "/data/llm" if arguments else "/x/hub/models--org--name/snapshots/a1b2"
    revisions = []
    real_find = files.find

    def find(path: str, revision: str | None = None, **options: Any) -> Path:
        if path == "org/name":
            revisions.append(revision)
            return base
        return real_find(path, revision, **options)

    monkeypatch.setattr(files, "find", find)
    checkpoint = load(trained_on(adapter, stated, **arguments))
    assert revisions == [None if arguments else "a1b2"]
    assert checkpoint.located.base_name == "org/name"
    assert [note for note in checkpoint.notes if "replaces it" in note]


def test_the_same_model_in_a_cache_s_spelling_is_not_noted(base, adapter, tmp_path):
    trained_on(adapter, QWEN)
    other = copied(base, tmp_path / "Qwen2.5-7B-Instruct")
    assert not load(f"{other},adapter={adapter}").notes
    assert "trained on" in load(f"{base},adapter={adapter}").notes[0]
