"""A training run's folder as its trainer leaves it: every checkpoint by one pattern, its origin, its base.

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

from harness.checkpoints import discovery, files, loading
from harness.checkpoints.discovery import expand
from harness.checkpoints.origin import Origin, known_as, origin
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support import tiny
from support.tampering import copied, load, refusal, set_json

STEPS = (9, 20, 100)
TEMPLATE = "{{ messages[0].content }}"
QWEN = "/home/a/.cache/modelscope/hub/models/Qwen/Qwen2___5-7B-Instruct"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def arguments(file: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write training_args.bin with arguments of a class that `package` would define."""
    if package == "transformers":
        torch.save(TrainingArguments(output_dir=str(file.parent), use_cpu=True), file)
        return
    module = types.ModuleType(f"{package}.arguments")
    made = type("Arguments", (), {"__module__": module.__name__})
    module.Arguments = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    kept = made()
    kept.__dict__.update(output_dir="trl.swift.out", dtype=torch.bfloat16)
    torch.save(kept, file)


def card(folder: Path, *tags: str) -> None:
    lines = "".join(f"- {tag}\n" for tag in tags)
    (folder / "README.md").write_text(f"---\nlibrary_name: peft\ntags:\n{lines}---\n\n# A model: with a colon\n")


def words(folder: Path, template: bool = True) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = TEMPLATE if template else None
    tokenizer.save_pretrained(folder)


def state(folder: Path, step: int) -> None:
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "epoch": step / 8, "log_history": []}))


def save(folder: Path, source: Path, step: int) -> Path:
    """Save the weights of `source`, a base or a LoRA, as Trainer does at `step`, without a tokenizer."""
    folder.mkdir(parents=True)
    names = ADAPTER if (source / ADAPTER[0]).exists() else ("config.json", "generation_config.json", files.WEIGHTS[0])
    for name in names:
        shutil.copy(source / name, folder)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, folder / name)
    state(folder, step)
    return folder


class Trained:
    """Writes output folders as trainers do."""

    def __init__(self, out: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out, self.source, self.patch = out, source, monkeypatch
        self.is_adapter = (source / ADAPTER[0]).exists()

    def checkpoints(self, out: Path, package: str, tokenizer: bool) -> list[Path]:
        found = [save(out / f"checkpoint-{step}", self.source, step) for step in STEPS]
        for folder in found:
            arguments(folder / "training_args.bin", package, self.patch)
            if tokenizer:
                words(folder)
        return found

    def final(self, package: str) -> None:
        """The output folder itself, as `save_model` and `save_state` leave it."""
        for file in (self.out / f"checkpoint-{STEPS[-1]}").iterdir():
            if file.name not in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
                shutil.copy(file, self.out)
        (self.out / "all_results.json").write_text("{}")

    def llama_factory(self) -> Path:
        self.checkpoints(self.out, "llamafactory", tokenizer=True)
        self.final("llamafactory")
        (self.out / "trainer_log.jsonl").write_text('{"current_steps": 10, "loss": 1.0}\n')
        card(self.out, "llama-factory", "lora")
        (self.out / "training_loss.png").touch()
        return self.out

    def swift(self) -> Path:
        out = self.out / "v0-20260102-030405"
        found = self.checkpoints(out, "swift", tokenizer=not self.is_adapter)
        told = {"model": "Qwen/Qwen2.5-7B-Instruct", "model_dir": QWEN, "template": "qwen2_5", "swift_version": "4.1.0"}
        for folder in (out, *found):
            (folder / "args.json").write_text(json.dumps({**told, "use_hf": False, "model_revision": None}))
        (out / "logging.jsonl").write_text("{}\n")
        (out / "runs").mkdir()
        (out / "images").mkdir()
        return out

    def trl(self) -> Path:
        for folder in self.checkpoints(self.out, "trl", tokenizer=True):
            card(folder, "base_model:adapter:x", "lora", "sft", "trl")
        self.final("trl")
        (self.out / "trainer_state.json").unlink()  # trl's own scripts do not call save_state
        card(self.out, "sft", "trl")
        return self.out

    def trainer(self) -> Path:
        self.checkpoints(self.out, "transformers", tokenizer=False)
        return self.out


TRAINERS = {"llama_factory": "LLaMA-Factory", "swift": "ms-swift", "trl": "TRL", "trainer": "transformers' Trainer"}


@pytest.fixture(params=["lora", "full"])
def source(request: pytest.FixtureRequest, base: Path, lora: Path) -> Path:
    return lora if request.param == "lora" else base


@pytest.fixture
def trained(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    return Trained(tmp_path / "out", source, monkeypatch)


def labels(*references: str) -> list[str]:
    return [one.label for one in expand(map(parse, references))]


def refused(*references: str) -> str:
    with pytest.raises(HarnessError) as caught:
        expand(map(parse, references))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
    return root


# --- what trainers leave loads, and says who left it


@pytest.mark.parametrize("kind", TRAINERS)
def test_every_checkpoint_of_a_trainer_loads_in_step_order(trained, base, kind):
    out = getattr(trained, kind)()
    tokenizer = f",tokenizer={base}" if kind == "trainer" and not trained.is_adapter else ""
    references = expand([parse(f"{out}/checkpoint-*{tokenizer}")])
    assert [one.label for one in references] == [f"{out.name}-checkpoint-{step}" for step in STEPS]
    located = [loading.locate(one) for one in references]
    assert [origin(one.adapter or one.base) for one in located] == [
        Origin(TRAINERS[kind], step, step / 8) for step in STEPS
    ]
    assert {one.kind for one in located} == {"lora" if trained.is_adapter else "base"}
    assert load(references[-1]).parameters


@pytest.mark.parametrize("kind", ["llama_factory", "trl"])
def test_the_end_of_a_training_loads_as_it_is_with_its_checkpoints_inside(trained, kind):
    out = getattr(trained, kind)()
    found = load(out)
    assert found.tokenizer.chat_template == TEMPLATE
    step = STEPS[-1] if kind == "llama_factory" else None
    assert origin(out) == Origin(TRAINERS[kind], step, step and step / 8)


@pytest.mark.parametrize("kind", ["swift", "trainer"])
def test_a_folder_of_checkpoints_only_says_how_to_name_one_or_all(trained, kind):
    out = getattr(trained, kind)()
    message = refusal(out)
    assert f"such as {out / 'checkpoint-100'}" in message
    assert f"'{out}/checkpoint-*'" in message


def test_a_lora_of_ms_swift_takes_its_tokenizer_from_the_base(base, lora, tmp_path, monkeypatch):
    out = Trained(tmp_path / "out", lora, monkeypatch).swift()
    assert loading.locate(parse(f"{out}/checkpoint-9")).tokenizer == base


def test_an_origin_is_told_in_words():
    assert str(Origin("TRL", 1200, 1.125)) == "TRL, step 1,200, epoch 1.125"
    assert str(Origin("PEFT")) == "PEFT"


def test_adapters_of_several_names_lie_side_by_side(base, tmp_path):
    import peft
    from transformers import AutoModelForCausalLM

    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config, adapter_name="policy")
    model.add_adapter("critic", config)
    model.save_pretrained(tmp_path / "two")
    assert "name a checkpoint inside it" in refusal(tmp_path / "two")
    assert labels(f"{tmp_path}/two/*") == ["critic", "policy"]
    assert origin(tmp_path / "two" / "policy") == Origin("PEFT")
    assert load(tmp_path / "two" / "policy").adapter_effect


def test_a_folder_of_nobody_has_no_origin(base):
    assert origin(base) is None


def test_older_llama_factories_are_known_by_their_log(lora, tmp_path, monkeypatch):
    out = Trained(tmp_path / "out", lora, monkeypatch).trainer()
    assert origin(out / "checkpoint-9") == Origin("transformers' Trainer", 9, 9 / 8)
    (out / "trainer_log.jsonl").touch()
    assert origin(out / "checkpoint-9") == Origin("LLaMA-Factory", 9, 9 / 8)


def test_damaged_notes_of_a_trainer_are_no_notes(lora, tmp_path):
    folder = copied(lora, tmp_path / "checkpoint-7")
    for name in ("args.json", "trainer_state.json", "training_args.bin"):
        (folder / name).write_bytes(b"PK\x03\x04 no longer what it was")
    (folder / "README.md").write_bytes(b"---\n\xff: [\n---\n")
    assert origin(folder) == Origin("transformers' Trainer", 7, None)
    assert load(folder).adapter_effect


def test_arguments_are_named_and_not_executed(tmp_path):
    from support.tampering import Malice

    torch.save(Malice(tmp_path / "canary"), tmp_path / "training_args.bin")
    assert origin(tmp_path) is None
    assert not (tmp_path / "canary").exists()


def test_the_value_head_of_a_ppo_is_no_second_model(adapter, copy):
    torch.save({"v_head.summary.weight": torch.ones(1, 64), "v_head.summary.bias": torch.ones(1)}, adapter / "v.bin")
    shutil.copy(adapter / "v.bin", adapter / "pytorch_model.bin")
    (adapter / "v.bin").rename(adapter / "value_head.bin")
    assert load(adapter).adapter_effect
    torch.save({"model.norm.weight": torch.ones(64)}, adapter / "pytorch_model.bin")
    assert "both a whole model and an adapter_config.json" in refusal(adapter)


# --- what cannot be read yet


@pytest.mark.parametrize(
    ("shard", "tool"),
    [
        ("global_step9/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "zero_to_fp32.py . . in that folder"),
        ("pytorch_model_fsdp_0/__0_0.distcp", "accelerate merge-weights {folder}/pytorch_model_fsdp_0 {folder}"),
    ],
)
def test_shards_of_a_distributed_training_say_how_to_merge_them(base, tmp_path, shard, tool):
    folder = save(tmp_path / "out" / "checkpoint-9", base, 9)
    (folder / files.WEIGHTS[0]).unlink()
    (folder / shard).parent.mkdir()
    (folder / shard).touch()
    message = refusal(folder)
    assert message.startswith(f"{folder} has no weights")
    assert tool.format(folder=folder) in message
    with pytest.raises(HarnessError, match="has no weights"):
        loading.locate(expand([parse(f"{tmp_path}/out/checkpoint-*")])[0])


# --- patterns


def test_steps_are_in_the_order_of_their_numbers(tmp_path):
    folders(tmp_path / "out", "checkpoint-100", "checkpoint-9", "checkpoint-20", "checkpoint-100-merged")
    folders(tmp_path / "out", "checkpoint-3")
    assert labels(f"{tmp_path}/out/checkpoint-*") == [
        "out-checkpoint-3",
        "out-checkpoint-9",
        "out-checkpoint-20",
        "out-checkpoint-100",
        "checkpoint-100-merged",
    ]


def test_numbers_count_in_every_part_of_a_path(tmp_path):
    folders(tmp_path, "v10/checkpoint-1", "v9/checkpoint-10", "v9/checkpoint-2")
    assert labels(f"{tmp_path}/v*/checkpoint-*") == ["v9-checkpoint-2", "v9-checkpoint-10", "v10-checkpoint-1"]
    assert len(labels(f"{tmp_path}/**/checkpoint-*")) == 3


def test_a_pattern_may_be_in_the_adapter_and_keys_stay(tmp_path):
    folders(tmp_path / "out", "checkpoint-9", "checkpoint-10")
    found = expand([parse(f"base,adapter={tmp_path}/out/checkpoint-*,dtype=bfloat16")])
    assert [one.label for one in found] == ["base+out-checkpoint-9", "base+out-checkpoint-10"]
    assert {(one.path, one.dtype) for one in found} == {("base", "bfloat16")}
    assert "in its path and in adapter=" in refused(f"{tmp_path}/*,adapter={tmp_path}/*")


@pytest.mark.parametrize(
    ("there", "pattern", "names"),
    [
        (["a/checkpoint-9", "a/checkpoint-10"], "a/checkpoint-*", ["X-9", "X-10"]),
        (["a/checkpoint-9"], "a/checkpoint-*", ["X"]),
        (["a/checkpoint-9", "b/checkpoint-9"], "*/checkpoint-*", ["X-a-9", "X-b-9"]),
        (["law", "medicine"], "*", ["X-law", "X-medicine"]),
    ],
)
def test_a_name_is_shared_out_by_step(tmp_path, there, pattern, names):
    folders(tmp_path, *there)
    assert labels(f"{tmp_path}/{pattern},name=X") == names


def test_paths_stay_as_they_are_typed(tmp_path, monkeypatch):
    folders(tmp_path / "out", "checkpoint-9")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [one.path for one in expand([parse("out/checkpoint-*/")])] == ["out/checkpoint-9"]
    assert [one.path for one in expand([parse("./out/check*")])] == ["./out/checkpoint-9"]
    assert [one.path for one in expand([parse("~/out/checkpoint-?")])] == [f"{tmp_path}/out/checkpoint-9"]


def test_a_folder_of_that_very_name_comes_before_the_pattern(tmp_path):
    folders(tmp_path, "run[1]", "run1")
    assert [one.path for one in expand([parse(f"{tmp_path}/run[1]")])] == [f"{tmp_path}/run[1]"]


def test_files_unfinished_saves_and_links_to_a_match_are_passed_over(tmp_path):
    folders(tmp_path / "out", "checkpoint-9", "tmp-checkpoint-20", ".hidden")
    (tmp_path / "out" / "trainer_log.jsonl").touch()
    (tmp_path / "out" / "latest").symlink_to("checkpoint-9")
    assert labels(f"{tmp_path}/out/*") == ["out-checkpoint-9"]
    (tmp_path / "out" / "checkpoint-9").rmdir()
    assert "only files and unfinished saves do (latest" in refused(f"{tmp_path}/out/*")


def test_a_match_without_weights_is_refused_in_the_words_for_any_folder(tmp_path):
    folders(tmp_path / "out", "runs")
    with pytest.raises(HarnessError, match="runs has no weights"):
        loading.locate(expand([parse(f"{tmp_path}/out/*")])[0])


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("nowhere/checkpoint-*", "there is no folder {root}/nowhere"),
        ("Qwen*/x", "holds out; check the pattern"),
        ("out/step-*", "{root}/out holds a, all_results.json and 1 more"),
        ("out/a/checkpoint-*", "{root}/out/a is empty"),
        ("checkpoint-*", "'{root}/*/checkpoint-*' does"),
    ],
)
def test_a_pattern_without_a_match_says_what_is_there(tmp_path, monkeypatch, pattern, says):
    folders(tmp_path / "out", "a", "checkpoint-9")
    (tmp_path / "out" / "all_results.json").touch()
    monkeypatch.setattr(discovery, "MOST_LISTED", 2)
    message = refused(f"{tmp_path}/{pattern}")
    assert message.startswith(f"no folder matches '{tmp_path}/{pattern}'")
    assert says.format(root=tmp_path) in message


def test_names_on_the_hub_have_no_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "models on the hub have no patterns" in refused("Qwen/Qwen2.5-*")


@pytest.mark.parametrize("pattern", ["~no-such-user/*", "x" * 5000 + "/*", "[", "*" * 300])
def test_any_pattern_gets_its_sentence(tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    assert refused(pattern).startswith("no folder matches")


# --- names of their own


def test_another_spelling_of_its_path_is_the_same_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("base", "lora"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("lora")
    listed = [
        "base",
        "./base",
        str(tmp_path / "base/"),
        "base,adapter=lora",
        "./base,adapter=link",
        "base,dtype=float16",
    ]
    found = expand([parse(one) for one in listed])
    assert [(one.path, one.adapter, one.dtype) for one in found] == [
        ("base", None, None),
        ("base", "lora", None),
        ("base", None, "float16"),
    ]


def test_what_is_named_twice_comes_once(tmp_path):
    folders(tmp_path / "out", "checkpoint-9", "checkpoint-10")
    assert len(expand(map(parse, [f"{tmp_path}/out/checkpoint-*", f"{tmp_path}/out/checkpoint-9"]))) == 2


@pytest.mark.parametrize(
    ("references", "names"),
    [
        (["{r}/a/out/checkpoint-9", "{r}/b/out/checkpoint-9"], ["a-out-checkpoint-9", "b-out-checkpoint-9"]),
        (["{r}/a/out", "{r}/b/out", "{r}/b"], ["a-out", "b-out", "b"]),
        (["{r}/b,adapter={r}/a/out", "{r}/b,adapter={r}/b/out"], ["{n}-b+a-out", "{n}-b+b-out"]),
        (["{r}/b", "{r}/b,dtype=bfloat16"], ["b", "b+bfloat16"]),
        (["{r}/b", "{r}/b,trust_remote_code=true"], ["b", "b+trust_remote_code"]),
        (["{r}/b,max_length=9,dtype=float32", "{r}/b,max_length=8,dtype=float32"], ["b+9", "b+8"]),
        (["org/m,revision=v1", "org/m,revision=v2", "org/m,quantize=int8"], ["m+v1", "m+v2", "m+int8"]),
        (["{r}/a/out,name=out", "{r}/b/out"], ["out", "b-out"]),
        (["{r}/a,name=x", "{r}/b,name=y"], ["x", "y"]),
    ],
)
def test_checkpoints_of_one_label_are_told_apart(tmp_path, references, names):
    folders(tmp_path, "a/out/checkpoint-9", "b/out/checkpoint-9")
    expected = [name.format(n=tmp_path.name) for name in names]
    assert labels(*(one.format(r=tmp_path) for one in references)) == expected


def test_what_cannot_be_told_apart_is_refused(tmp_path, monkeypatch):
    folders(tmp_path, "a", "b")
    monkeypatch.chdir(tmp_path)
    assert (
        refused("a,name=x", "b,name=x") == "'a,name=x' and 'b,name=x' are both called 'x': give each a name= of its own"
    )


# --- a base of another machine


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
def test_paths_of_caches_name_their_model(path, name, hub):
    known = known_as(path)
    assert known is not None
    assert (known.name, known.hub) == (name, hub)


@pytest.mark.parametrize("path", ["/mnt/models/Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B", "../base", "out/checkpoint-9"])
def test_other_paths_name_nothing(path):
    assert known_as(path) is None


def trained_on(adapter: Path, stated: str, **told: Any) -> Path:
    set_json(adapter / "adapter_config.json", base_model_name_or_path=stated)
    if told:
        (adapter / "args.json").write_text(json.dumps({"swift_version": "4.1.0", "model_dir": stated, **told}))
    return adapter


def test_a_base_that_is_not_here_is_named_where_its_path_or_trainer_tells(adapter, tmp_path, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "none"))
    assert f"name its base, as BASE,adapter={adapter}" in refusal(trained_on(adapter, "/elsewhere/base"))
    message = refusal(trained_on(adapter, QWEN))
    assert "it is Qwen/Qwen2.5-7B-Instruct on ModelScope: if you have that, name it" in message
    message = refusal(trained_on(adapter, "/data/llm", model="LLM-Research/Llama-3", model_revision="master"))
    assert "it is LLM-Research/Llama-3 on ModelScope" in message


@pytest.mark.parametrize(
    "place", ["models/Qwen/Qwen2___5-7B-Instruct", "models/Qwen--Qwen2.5-7B-Instruct/snapshots/master"]
)
def test_a_base_in_this_machine_s_modelscope_cache_is_taken(base, adapter, tmp_path, monkeypatch, place):
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    here = copied(base, tmp_path / "cache" / place)
    found = load(trained_on(adapter, QWEN))
    assert found.located.base == here
    assert any("the same model, replaces it" in note for note in found.notes)


@pytest.mark.parametrize("told", [{}, {"model": "org/name", "use_hf": True}])
def test_a_base_of_the_hub_is_taken_from_the_hub(base, adapter, monkeypatch, told):
    stated = "/data/llm" if told else "/x/hub/models--org--name/snapshots/a1b2"
    asked = []
    real = files.find

    def find(path: str, revision: str | None = None, **options: Any) -> Path:
        if path == "org/name":
            asked.append(revision)
            return base
        return real(path, revision, **options)

    monkeypatch.setattr(files, "find", find)
    found = load(trained_on(adapter, stated, **told))
    assert asked == [None if told else "a1b2"]
    assert found.located.base_name == "org/name"
    assert [note for note in found.notes if "replaces it" in note]


def test_the_same_model_under_a_cache_s_spelling_raises_no_doubt(base, adapter, tmp_path):
    trained_on(adapter, QWEN)
    other = copied(base, tmp_path / "Qwen2.5-7B-Instruct")
    assert not load(f"{other},adapter={adapter}").notes
    assert "trained on" in load(f"{base},adapter={adapter}").notes[0]
