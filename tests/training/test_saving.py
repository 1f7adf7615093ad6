"""The folder of a stage is what transformers and PEFT load, whole or not at all."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import harness.cli
from harness.checkpoints import files, origin
from harness.checkpoints.loading import Loader, locate
from harness.checkpoints.probe import Answers
from harness.checkpoints.reference import parse
from harness.errors import HarnessError, StorageError
from harness.training import lineage, saving
from support import hub_cache, tiny
from support.tampering import set_json
from support.trained_stages import train, written

ADAPTERS = {
    "lora": "method: lora, r: 4",
    "dora": "method: lora, r: 4, use_dora: true, learning_rate: 1.0e-3",
    "rslora": "method: lora, r: 4, use_rslora: true, target_modules: [v_proj, down_proj, q_proj, k_proj]",
    "tables": "method: lora, r: 4, modules_to_save: [lm_head, embed_tokens]",
    "prefix": "method: prefix, num_virtual_tokens: 4",
    "p-tuned": "method: p-tuning, num_virtual_tokens: 4, encoder_hidden_size: 16",
    "prompted": "method: prompt, num_virtual_tokens: 4",
}
PROBE = "问：3？答："


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saving")
    tiny.llama(folder / "base", initializer_range=0.05)
    # As many published models state it; transformers itself refuses to save such settings.
    settings = {"do_sample": False, "temperature": 0.1, "top_p": 0.75, "eos_token_id": [2, 5]}
    (folder / "base/generation_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    adapters = [f"{name}: {{from: full, {settings}}}" for name, settings in ADAPTERS.items()]
    more = "more: {from: lora, method: lora}", "merged: {from: lora, method: merge}", "still: {from: lora, method: lora"
    train(place, "full: {from: base}", *adapters, *more[:2], f"{more[2]}, learning_rate: 0.0}}")
    return place / "out"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        answers: torch.Tensor = model.eval()(input_ids=ids).logits[:, -ids.shape[1] :]
    return answers


def answers(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the probe's ids, and the logits of the checkpoint in `folder` as this project loads it."""
    checkpoint = Loader().load(locate(parse(str(folder))))
    assert checkpoint.notes == []
    ids = checkpoint.tokenizer(PROBE, return_tensors="pt")["input_ids"]
    return ids, Answers(checkpoint.model, checkpoint.root).logits(ids)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ADAPTERS)
def test_peft_loads_an_adapter_and_answers_the_same(trained, name, elsewhere):
    ids, expected = answers(trained / name)
    automatic = peft.AutoPeftModelForCausalLM.from_pretrained(str(trained / name))
    torch.testing.assert_close(logits(automatic, ids), expected, atol=1e-5, rtol=0)
    base = AutoModelForCausalLM.from_pretrained(trained / "full")
    torch.testing.assert_close(
        logits(peft.PeftModel.from_pretrained(base, str(trained / name)), ids), expected, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("name", ["full", "merged"])
def test_transformers_loads_weights_and_tokenizer_and_answers_the_same(place, trained, name, elsewhere):
    ids, expected = answers(trained / name)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(trained / name), ids), expected)
    assert AutoTokenizer.from_pretrained(trained / name)(PROBE)["input_ids"] == ids[0].tolist()
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (trained / name / file).read_bytes() == (place / "base" / file).read_bytes()


def test_a_merge_answers_as_base_and_adapter(trained):
    _, expected = answers(trained / "lora")
    torch.testing.assert_close(answers(trained / "merged")[1], expected, atol=1e-4, rtol=0)
    assert not torch.allclose(answers(trained / "full")[1], expected, atol=1e-2)
    assert lineage.read(trained / "merged").parent == "lora"


def test_a_continued_adapter_begins_where_it_ended(trained):
    before, still, more = (load_file(trained / n / "adapter_model.safetensors") for n in ("lora", "still", "more"))
    assert all(torch.equal(before[key], still[key]) for key in before)
    assert not any(torch.equal(before[key], more[key]) for key in before)
    assert lineage.read(trained / "more").curve[0][1] < lineage.read(trained / "lora").curve[0][1]
    assert locate(parse(str(trained / "more"))).base.resolve() == (trained / "full").resolve()


def test_what_peft_holds_as_sets_is_written_in_order(trained):
    for name, key in (("rslora", "target_modules"), ("tables", "modules_to_save")):
        written_names = json.loads((trained / name / files.ADAPTER_CONFIG).read_text())[key]
        assert written_names == sorted(written_names)
        assert len(written_names) > 1


def test_a_folder_holds_nothing_but_the_checkpoint_and_its_records(trained):
    names = {"adapter_config.json", "adapter_model.safetensors", "trainer_state.json", "training.json"}
    assert {path.name for path in (trained / "lora").iterdir()} == names
    assert {path.name for path in trained.iterdir() if path.name.startswith(".")} == {".encoded"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_weights_keep_the_dtype_that_the_base_has_on_disk(place, tmp_path, dtype):
    base = tmp_path / "base"
    shutil.copytree(place / "base", base)
    model = AutoModelForCausalLM.from_pretrained(base).to(dtype)
    model.generation_config.temperature = model.generation_config.top_p = None
    model.save_pretrained(base)
    folder = train(tmp_path, "full: {from: base, max_steps: 1}")["full"].folder
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {dtype}
    assert json.loads((folder / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    assert not torch.equal(
        load_file(folder / "model.safetensors")["model.norm.weight"],
        load_file(base / "model.safetensors")["lm_head.weight"],
    )


def test_added_tokens_survive_training_and_merging(tmp_path):
    words = tiny.tokenizer()
    words.add_tokens(["<law>", "第一条"])
    words.add_special_tokens({"additional_special_tokens": ["<think>"]})
    tiny.llama(tmp_path / "base", words, initializer_range=0.05)
    text = "<think>第一条<law>"
    expected = words(text)["input_ids"]
    assert len(expected) == 3
    for stage in train(
        tmp_path,
        "full: {from: base}",
        "lora: {from: full, method: lora, modules_to_save: [embed_tokens]}",
        "merged: {from: lora, method: merge}",
    ).values():
        assert Loader().load(locate(parse(str(stage.folder)))).tokenizer(text)["input_ids"] == expected
    assert AutoTokenizer.from_pretrained(tmp_path / "out/merged")(text)["input_ids"] == expected


def test_another_tokenizer_goes_with_the_adapter(tmp_path):
    tiny.llama(tmp_path / "base", initializer_range=0.05)
    words = tiny.tokenizer()
    words.chat_template = "{{ messages[0].content }}"
    words.save_pretrained(tmp_path / "words")
    folder = train(tmp_path, "lora: {from: 'base,tokenizer=words', method: lora}")["lora"].folder
    assert locate(parse(str(folder))).tokenizer == folder
    assert Loader().load(locate(parse(str(folder)))).tokenizer.chat_template == words.chat_template


def test_a_model_of_the_hub_goes_by_its_name(place, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    contents = {file.name: file.read_bytes() for file in (place / "base").iterdir()}
    hub_cache.fetched(tmp_path / "hub", "law/base", contents)
    folder = train(tmp_path, "lora: {from: law/base, method: lora}")["lora"].folder
    config = json.loads((folder / files.ADAPTER_CONFIG).read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("law/base", hub_cache.COMMIT)
    assert json.loads((folder / lineage.RECORD).read_text())["base"] is None
    assert str(tmp_path) not in (folder / lineage.RECORD).read_text()
    assert Loader().load(locate(parse(str(folder)))).located.base_name == "law/base"
    assert origin.origin_of(folder).step == 2


# --- a full disk


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def full_disk_in_rust(*_: Any, **__: Any) -> None:
    """Raise what tokenizers raises; safetensors has a type of its own."""
    raise Exception("No space left on device (os error 28)")


def full_disk_in_torch(*_: Any, **__: Any) -> None:
    raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 484224 vs 484112")


WRITERS: dict[str, tuple[str, Callable[..., None], str]] = {
    "weights": ("transformers.modeling_utils.PreTrainedModel.save_pretrained", full_disk_in_rust, "full"),
    "adapter": ("peft.PeftModel.save_pretrained", full_disk_in_rust, "lora"),
    "tokenizer": ("harness.checkpoints.contents.shutil.copyfile", full_disk, "full"),
    "record": ("harness.training.lineage.write", full_disk, "lora"),
    "learned weights of a state": ("harness.training.trainer.save_file", full_disk_in_rust, "lora"),
    "optimizer of a state": ("torch.save", full_disk_in_torch, "lora"),
    "corpus": ("pyarrow.ipc.new_file", full_disk, "lora"),
}
STAGES = ("full: {from: base, max_steps: 1}", "lora: {from: base, method: lora, max_steps: 1}")


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    """A folder with two finished stages, which tests do not change."""
    folder = place / "finished"
    (folder / "out").mkdir(parents=True)
    (folder / "base").symlink_to(place / "base")
    train(folder, *STAGES)
    return folder


def contents_of(folder: Path) -> dict[Path, bytes]:
    files_of_stages = (
        path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0][0] != "."
    )
    return {path: path.read_bytes() for path in files_of_stages}


def failing(target: str, failure: Callable[..., None], folder: Path, *texts: str, names: list[str]) -> str:
    """Return the sentence with which a training anew ends while the function `target` fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, failure)
        with pytest.raises(StorageError) as error:
            train(folder, *texts, names=names, replace=True)
    return str(error.value)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_sentence_and_loses_nothing(finished, writer):
    target, failure, name = WRITERS[writer]
    before = contents_of(finished / "out")
    number = 100 + list(WRITERS).index(writer)
    changed = [stage.replace("max_steps: 1", f"max_steps: 1, max_length: {number}") for stage in STAGES]
    error = failing(target, failure, finished, *changed, names=[name])
    assert "cannot write" in error
    assert "make room there, or choose another --output" in error
    assert "\n" not in error
    assert contents_of(finished / "out") == before
    assert {path.name for path in (finished / "out").iterdir()} - {".full.training", ".lora.training"} == {
        *(".encoded", "full", "lora"),
    }


def test_a_training_whose_folder_cannot_be_written_is_not_repeated(place, tmp_path):
    (tmp_path / "base").symlink_to(place / "base")
    error = failing("harness.training.lineage.write", full_disk, tmp_path, STAGES[1], names=["lora"])
    assert error.endswith("the state of step 1 is kept")
    stage = train(tmp_path, STAGES[1])["lora"]
    assert (stage.lineage.resumed_at, stage.lineage.steps) == (1, 1)
    assert list((tmp_path / "out").glob(".lora*")) == []


def test_other_failures_stay_bugs(place, tmp_path, monkeypatch):
    (tmp_path / "base").symlink_to(place / "base")

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("harness.training.saving._save_adapter", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        train(tmp_path, STAGES[1])
    assert not (tmp_path / "out/lora").exists()


def test_a_failed_merge_keeps_the_one_before(trained, place):
    before = contents_of(trained / "merged")
    recorded = lineage.read(trained / "merged").settings
    assert recorded["method"] == "merge"
    texts = [f"{name}: {{from: full, {settings}}}" for name, settings in ADAPTERS.items() if name == "lora"]
    changed = "full: {from: base}", *texts, "merged: {from: more, method: merge}", "more: {from: lora, method: lora}"
    target = "transformers.modeling_utils.PreTrainedModel.save_pretrained"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, full_disk_in_rust)
        with pytest.raises(HarnessError, match="cannot be written"):
            train(place, *changed, names=["merged"], replace=True)
    assert contents_of(trained / "merged") == before


@pytest.mark.parametrize("bytes_", [64, 40_000, 140_000])
def test_the_command_ends_with_2_where_files_cannot_be_as_large(place, tmp_path, capsys, bytes_):
    """A limit of the size of files fails every library's real writer, as a full disk does."""
    (tmp_path / "base").symlink_to(place / "base")
    file = written(tmp_path, "full: {from: base, max_steps: 2}")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, hard))
    try:
        code = harness.cli.main(["train", str(file), "-o", str(tmp_path / "out")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert len(error) == 1
    assert "cannot write" in error[0]
    assert not (tmp_path / "out/full").exists()
    assert not list((tmp_path / "out").glob(f".*.{saving.NEW}"))


def test_the_stated_base_of_a_moved_file_is_of_no_use(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "moved")
    set_json(tmp_path / "moved/lora" / files.ADAPTER_CONFIG, base_model_name_or_path="/nowhere/full")
    assert torch.equal(answers(tmp_path / "moved/lora")[1], answers(trained / "lora")[1])
