"""Stages: Trainer agrees with a training loop written by hand; finished stages are reused until something changes."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPTNeoXConfig, LlamaConfig

from harness.checkpoints.loading import Loader, locate
from harness.checkpoints.reference import parse
from harness.demo import model
from harness.errors import HarnessError
from harness.training import corpora, methods, recipe, stages

SMALL = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}
TEXTS = ["问：谁？答：我。", "问：什么？答：没什么。", "问：哪里？答：这里。", "问：怎样？答：这样。", "一个人。"]
RECIPE = """
seed: 1
threads: 1
corpora: {talk: talk.jsonl, more: more.jsonl}
stages:
  full:
    {from: start, corpora: {talk: 2, more: 1}, steps: 4, batch: 3, learning_rate: 1.0e-3, warmup: 2, weight_decay: 0.1}
  lora: {from: full, method: lora, corpora: {talk: 1}, steps: 3, batch: 2, learning_rate: 1.0e-2, rank: 4}
  prefix: {from: full, method: prefix, corpora: {talk: 1}, steps: 3, batch: 2, learning_rate: 1.0e-2, virtual_tokens: 5}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    model.save(folder / "start", TEXTS, [], seed=0)
    rows = [
        {"prompt": text[: text.find("答：") + 2], "completion": text[text.find("答：") + 2 :]} for text in TEXTS[:4]
    ]
    (folder / "talk.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "more.jsonl").write_text(json.dumps({"text": TEXTS[4]}) + "\n", encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(place) -> dict[str, stages.Trained]:
    return {stage.name: stage for stage in stages.train(recipe.load(place / "recipe.yaml"), place / "out")}


def weights(folder: Path) -> bytes:
    (file,) = folder.glob("*.safetensors")
    return file.read_bytes()


def test_a_loop_written_by_hand_gives_the_same_weights(place, trained):
    plan = recipe.load(place / "recipe.yaml")
    stage = plan.stages["full"]
    tokenizer = AutoTokenizer.from_pretrained(place / "start")
    by_hand = AutoModelForCausalLM.from_pretrained(place / "start")
    texts = {name: corpora.read(plan.corpora[name]) for name in stage.corpora}
    examples = corpora.encode(list(corpora.mixture(texts, stage.corpora, 12, "1 full")), tokenizer, 1024)
    norms = [p for n, p in by_hand.named_parameters() if "norm" in n]  # Trainer decays neither norms nor biases
    others = [p for n, p in by_hand.named_parameters() if "norm" not in n]
    groups = [{"params": others, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    losses = []
    for step in range(4):
        rate = step / 2 if step < 2 else 0.5 * (1 + math.cos(math.pi * (step - 2) / 2))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate
        total = torch.zeros(())
        count = 0
        for example in examples[3 * step : 3 * step + 3]:  # a row at a time: no padding
            logits = by_hand(input_ids=torch.tensor([example.input_ids])).logits[0, :-1]
            labels = torch.tensor(example.labels[1:])
            total = total + torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
            count += int((labels != -100).sum())
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(total.detach()) / count)
    by_trainer = AutoModelForCausalLM.from_pretrained(trained["full"].folder).state_dict()
    for name, parameter in by_hand.state_dict().items():
        torch.testing.assert_close(
            by_trainer[name], parameter, atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert trained["full"].loss == pytest.approx(losses[-1], abs=1e-3)


def test_a_finished_stage_states_its_parameters(trained):
    assert list(trained) == ["full", "lora", "prefix"]
    assert not any(stage.reused for stage in trained.values())
    size = 192
    layers = 3 * (4 * 4 * 2 * size + 3 * 4 * (size + 512))  # a LoRA of rank 4 on 4 attention and 3 feed-forward layers
    assert trained["lora"].learning == layers
    assert trained["prefix"].learning == 5 * 3 * 2 * size
    assert trained["full"].learning > 1_300_000


@pytest.mark.parametrize("name", ["full", "lora", "prefix"])
def test_a_stage_is_a_checkpoint(name, trained):
    located = locate(parse(str(trained[name].folder)))
    loaded = Loader().load(located)  # loading proves that an adapter has an effect
    assert located.kind == {"full": "base", "lora": "lora", "prefix": "prefix_tuning"}[name]
    assert loaded.name == name


def test_training_an_adapter_does_not_change_its_base(place, trained):
    before = load_file(trained["full"].folder / "model.safetensors")
    again = place / "again"
    list(stages.train(recipe.load(place / "recipe.yaml"), again, ["full"]))
    after = load_file(again / "full" / "model.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_same_recipe_makes_the_same_bytes(place, trained, tmp_path):
    again = {stage.name: stage for stage in stages.train(recipe.load(place / "recipe.yaml"), tmp_path / "out")}
    for name, stage in trained.items():
        assert weights(again[name].folder) == weights(stage.folder), name
        assert again[name].loss == stage.loss


def test_another_seed_makes_other_adapters(place, trained, tmp_path):
    plan = recipe.load(place / "recipe.yaml").model_copy(update={"seed": 2})
    again = {stage.name: stage for stage in stages.train(plan, tmp_path / "out", ["lora"])}
    assert list(again) == ["full", "lora"]
    assert weights(again["lora"].folder) != weights(trained["lora"].folder)


def test_the_callers_random_state_is_restored(place, tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    list(stages.train(recipe.load(place / "recipe.yaml"), tmp_path / "out", ["full"]))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_a_finished_stage_is_reused_until_its_inputs_change(place, tmp_path):
    for name in ("start", "talk.jsonl", "more.jsonl", "recipe.yaml"):
        (shutil.copytree if (place / name).is_dir() else shutil.copy)(place / name, tmp_path / name)
    out = tmp_path / "out"

    def reused(text: str = RECIPE) -> dict[str, bool]:
        (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
        return {stage.name: stage.reused for stage in stages.train(recipe.load(tmp_path / "recipe.yaml"), out)}

    assert reused() == {"full": False, "lora": False, "prefix": False}
    assert reused() == {"full": True, "lora": True, "prefix": True}
    assert reused(RECIPE.replace("rank: 4", "rank: 2")) == {"full": True, "lora": False, "prefix": True}
    shutil.rmtree(out / "prefix")
    (out / ".prefix.new").mkdir()  # the remains of an interrupted stage
    assert reused(RECIPE.replace("rank: 4", "rank: 2")) == {"full": True, "lora": True, "prefix": False}
    assert sorted(path.name for path in out.iterdir()) == ["full", "lora", "prefix"]
    (out / "lora" / stages.DONE).write_text("{")
    assert reused(RECIPE.replace("rank: 4", "rank: 2")) == {"full": True, "lora": False, "prefix": True}
    with (tmp_path / "more.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"text": "又一个人。"}\n')
    assert reused() == {"full": False, "lora": False, "prefix": False}


def test_a_folder_that_is_not_a_checkpoint_is_an_error(place, tmp_path):
    shutil.copytree(place, tmp_path / "here", ignore=shutil.ignore_patterns("out", "again"))
    (tmp_path / "here/start/model.safetensors").unlink()
    with pytest.raises(HarnessError, match="training cannot start from"):
        list(stages.train(recipe.load(tmp_path / "here/recipe.yaml"), tmp_path / "out"))


def test_a_stage_that_diverges_is_an_error_and_writes_nothing(place, tmp_path):
    plan = recipe.load(place / "recipe.yaml")
    # Prompts fill all tokens, so nothing is learned and the mean loss is NaN.
    talk = plan.stages["full"].model_copy(update={"corpora": {"talk": 1.0}})
    with pytest.raises(HarnessError, match="stage full diverged"):
        list(stages.train(plan.model_copy(update={"stages": {"full": talk}, "max_length": 3}), tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_other_files_are_not_overwritten(place, tmp_path):
    plan = recipe.load(place / "recipe.yaml")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(HarnessError, match="holds something other"):
        list(stages.train(plan, tmp_path))
    onto_itself = plan.stages["full"].model_copy(update={"start": str(place / "start")})
    with pytest.raises(HarnessError, match="holds something other"):
        list(stages.train(plan.model_copy(update={"stages": {"start": onto_itself}}), place))
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    assert (place / "start" / "config.json").is_file()


def test_every_linear_layer_gets_a_lora_in_every_architecture():
    stage = recipe.Stage.model_validate(
        {"from": "x", "method": "lora", "corpora": {"a": 1}, "steps": 1, "learning_rate": 1}
    )
    for config in (
        GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9),
        LlamaConfig(**SMALL),
        GPTNeoXConfig(**SMALL),
    ):
        plain = AutoModelForCausalLM.from_config(config)
        layers = [
            n for n, m in plain.named_modules() if type(m).__name__ in ("Linear", "Conv1D") and "lm_head" not in n
        ]
        layers = [name for name in layers if "embed_out" not in name]
        tuned = methods.prepare(plain, stage)
        assert len([n for n, _ in tuned.named_modules() if n.endswith("lora_A")]) == len(layers) > 3


def test_an_unwritable_output_is_an_error(place, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot write checkpoints to"):
        next(stages.train(recipe.load(place / "recipe.yaml"), tmp_path / "file" / "out"))
