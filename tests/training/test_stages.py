"""Stages: that Trainer is told the right thing (a loop written by hand agrees), what is kept, what is made anew."""

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
    return {one.name: one for one in stages.train(recipe.load(place / "recipe.yaml"), place / "out")}


def weights(folder: Path) -> bytes:
    (file,) = folder.glob("*.safetensors")
    return file.read_bytes()


def test_a_loop_written_by_hand_comes_to_the_same_weights(place, trained):
    plan = recipe.load(place / "recipe.yaml")
    stage = plan.stages["full"]
    pieces, hand = AutoTokenizer.from_pretrained(place / "start"), AutoModelForCausalLM.from_pretrained(place / "start")
    read = {name: corpora.read(plan.corpora[name]) for name in stage.corpora}
    examples = corpora.encode(list(corpora.mixture(read, stage.corpora, 12, "1 full")), pieces, 1024)
    norms = [p for n, p in hand.named_parameters() if "norm" in n]  # Trainer decays neither norms nor biases
    others = [p for n, p in hand.named_parameters() if "norm" not in n]
    groups = [{"params": others, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    losses = []
    for step in range(4):
        rate = step / 2 if step < 2 else 0.5 * (1 + math.cos(math.pi * (step - 2) / 2))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate
        total = torch.zeros(())
        counted = 0
        for example in examples[3 * step : 3 * step + 3]:  # a row at a time: no padding
            logits = hand(input_ids=torch.tensor([example.input_ids])).logits[0, :-1]
            wanted = torch.tensor(example.labels[1:])
            total = total + torch.nn.functional.cross_entropy(logits, wanted, ignore_index=-100, reduction="sum")
            counted += int((wanted != -100).sum())
        (total / counted).backward()
        torch.nn.utils.clip_grad_norm_(hand.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(total.detach()) / counted)
    ours = AutoModelForCausalLM.from_pretrained(trained["full"].folder).state_dict()
    for name, parameter in hand.state_dict().items():
        torch.testing.assert_close(
            ours[name], parameter, atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert trained["full"].loss == pytest.approx(losses[-1], abs=1e-3)


def test_what_is_told(trained):
    assert list(trained) == ["full", "lora", "prefix"]
    assert not any(one.reused for one in trained.values())
    size = 192
    layers = 3 * (4 * 4 * 2 * size + 3 * 4 * (size + 512))  # a LoRA of rank 4 on 4 attention and 3 feed-forward layers
    assert trained["lora"].learning == layers
    assert trained["prefix"].learning == 5 * 3 * 2 * size
    assert trained["full"].learning > 1_300_000


@pytest.mark.parametrize("name", ["full", "lora", "prefix"])
def test_a_stage_is_a_checkpoint(name, trained):
    found = locate(parse(str(trained[name].folder)))
    loaded = Loader().load(found)  # which proves that an adapter answers
    assert found.kind == {"full": "base", "lora": "lora", "prefix": "prefix_tuning"}[name]
    assert loaded.name == name


def test_an_adapter_leaves_its_base_alone(place, trained):
    before = load_file(trained["full"].folder / "model.safetensors")
    again = place / "again"
    list(stages.train(recipe.load(place / "recipe.yaml"), again, ["full"]))
    after = load_file(again / "full" / "model.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_same_recipe_makes_the_same_bytes(place, trained, tmp_path):
    again = {one.name: one for one in stages.train(recipe.load(place / "recipe.yaml"), tmp_path / "out")}
    for name, one in trained.items():
        assert weights(again[name].folder) == weights(one.folder), name
        assert again[name].loss == one.loss


def test_another_seed_makes_other_adapters(place, trained, tmp_path):
    plan = recipe.load(place / "recipe.yaml").model_copy(update={"seed": 2})
    again = {one.name: one for one in stages.train(plan, tmp_path / "out", ["lora"])}
    assert list(again) == ["full", "lora"]
    assert weights(again["lora"].folder) != weights(trained["lora"].folder)


def test_the_callers_random_state_is_left_alone(place, tmp_path):
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    list(stages.train(recipe.load(place / "recipe.yaml"), tmp_path / "out", ["full"]))
    assert torch.equal(torch.rand(3), wanted)
    assert torch.get_num_threads() == threads


def test_what_is_finished_is_kept_until_what_it_is_made_of_changes(place, tmp_path):
    for name in ("start", "talk.jsonl", "more.jsonl", "recipe.yaml"):
        (shutil.copytree if (place / name).is_dir() else shutil.copy)(place / name, tmp_path / name)
    out = tmp_path / "out"

    def kept(text: str = RECIPE) -> dict[str, bool]:
        (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
        return {one.name: one.reused for one in stages.train(recipe.load(tmp_path / "recipe.yaml"), out)}

    assert kept() == {"full": False, "lora": False, "prefix": False}
    assert kept() == {"full": True, "lora": True, "prefix": True}
    assert kept(RECIPE.replace("rank: 4", "rank: 2")) == {"full": True, "lora": False, "prefix": True}
    shutil.rmtree(out / "prefix")
    (out / ".prefix.new").mkdir()  # as an interruption leaves it
    assert kept(RECIPE.replace("rank: 4", "rank: 2")) == {"full": True, "lora": True, "prefix": False}
    assert sorted(path.name for path in out.iterdir()) == ["full", "lora", "prefix"]
    (out / "lora" / stages.DONE).write_text("{")
    assert kept(RECIPE.replace("rank: 4", "rank: 2")) == {"full": True, "lora": False, "prefix": True}
    with (tmp_path / "more.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"text": "又一个人。"}\n')
    assert kept() == {"full": False, "lora": False, "prefix": False}


def test_a_folder_that_is_no_checkpoint(place, tmp_path):
    shutil.copytree(place, tmp_path / "here", ignore=shutil.ignore_patterns("out", "again"))
    (tmp_path / "here/start/model.safetensors").unlink()
    with pytest.raises(HarnessError, match="training cannot start from"):
        list(stages.train(recipe.load(tmp_path / "here/recipe.yaml"), tmp_path / "out"))


def test_a_stage_that_diverges_is_told_and_leaves_nothing(place, tmp_path):
    plan = recipe.load(place / "recipe.yaml")
    # Prompts that leave no room for what is to be learned: a mean over nothing.
    talk = plan.stages["full"].model_copy(update={"corpora": {"talk": 1.0}})
    with pytest.raises(HarnessError, match="stage full diverged"):
        list(stages.train(plan.model_copy(update={"stages": {"full": talk}, "max_length": 3}), tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_what_was_not_trained_here_is_not_overwritten(place, tmp_path):
    plan = recipe.load(place / "recipe.yaml")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(HarnessError, match="holds something else"):
        list(stages.train(plan, tmp_path))
    own = plan.stages["full"].model_copy(update={"start": str(place / "start")})
    with pytest.raises(HarnessError, match="holds something else"):
        list(stages.train(plan.model_copy(update={"stages": {"start": own}}), place))
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    assert (place / "start" / "config.json").is_file()


def test_every_linear_layer_gets_its_lora_whatever_it_is_called():
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


def test_checkpoints_that_cannot_be_written(place, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot write checkpoints to"):
        next(stages.train(recipe.load(place / "recipe.yaml"), tmp_path / "file" / "out"))
