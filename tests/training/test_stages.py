"""Stages: Trainer agrees with a training loop written by hand; finished stages are reused until something changes."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPTNeoXConfig, LlamaConfig

from harness.checkpoints.loading import Loader, locate
from harness.checkpoints.reference import parse
from harness.demo import model
from harness.errors import HarnessError
from harness.training import corpora, lineage, methods, recipe, stages
from harness.training.family import Family
from harness.training.sources import Source

SMALL = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}
TEXTS = ["问：谁？答：我。", "问：什么？答：没什么。", "问：哪里？答：这里。", "问：怎样？答：这样。", "一个人。"]
RECIPE = """
seed: 1
threads: 1
corpora: {talk: talk.jsonl, more: more.jsonl}
defaults: {per_device_train_batch_size: 2, learning_rate: 1.0e-2, lr_scheduler_type: cosine, max_steps: 3, r: 4}
stages:
  full:
    {from: start, corpora: {talk: 2, more: 1}, max_steps: 4, per_device_train_batch_size: 3, learning_rate: 1.0e-3,
     warmup_steps: 2, weight_decay: 0.1, adam_beta2: 0.95}
  lora: {from: full, method: lora, corpora: [talk]}
  prefix: {from: full, method: prefix, corpora: [talk], num_virtual_tokens: 5}
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


def prepared(file: Path, name: str, output: Path) -> corpora.Prepared:
    """Return the rows of a stage that starts from a checkpoint."""
    plan = recipe.load(file)
    stage = plan.stages[name].model_copy(update={"max_length": model.CONTEXT})
    plan = plan.model_copy(update={"stages": {name: stage}})
    source = Source(parse(stage.start), stage)
    batch = stage.arguments["per_device_train_batch_size"]
    return corpora.prepare(name, plan, source.encoding(), output, batch, 1)


def test_a_loop_written_by_hand_gives_the_same_weights(place, trained, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(place / "start")
    by_hand = AutoModelForCausalLM.from_pretrained(place / "start")
    rows = prepared(place / "recipe.yaml", "full", tmp_path).train
    sources = [rows.sources(number)[0] for number in range(12)]
    assert [Counter(corpus for corpus, _ in sources[start : start + 3]) for start in (0, 3, 6, 9)] == [{0: 2, 1: 1}] * 4
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
        for corpus, row in sources[3 * step : 3 * step + 3]:  # a row at a time: no padding
            text = TEXTS[4] if corpus else TEXTS[row - 1]
            prompt = 1 if corpus else len(tokenizer(text[: text.find("答：") + 2])["input_ids"])
            ids = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]])
            logits = by_hand(input_ids=ids).logits[0, prompt - 1 : -1]
            total = total + torch.nn.functional.cross_entropy(logits, ids[0, prompt:], reduction="sum")
            count += ids.shape[1] - prompt
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
    assert [loss for _, loss in trained["full"].lineage.curve] == pytest.approx(losses, abs=1e-4)


def test_a_finished_stage_states_its_parameters(trained):
    assert list(trained) == ["full", "lora", "prefix"]
    assert not any(stage.reused for stage in trained.values())
    size = 192
    layers = 3 * (4 * 4 * 2 * size + 3 * 4 * (size + 512))  # a LoRA of rank 4 on 4 attention and 3 feed-forward layers
    assert trained["lora"].lineage.parameters == layers
    assert trained["prefix"].lineage.parameters == 5 * 3 * 2 * size
    assert trained["full"].lineage.parameters > 1_300_000


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
        assert again[name].lineage.loss == stage.lineage.loss


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


@pytest.fixture
def own(place, tmp_path) -> Path:
    """A copy of the recipe's files."""
    for name in ("start", "talk.jsonl", "more.jsonl", "recipe.yaml"):
        (shutil.copytree if (place / name).is_dir() else shutil.copy)(place / name, tmp_path / name)
    return tmp_path


def test_a_finished_stage_is_reused_until_its_inputs_change(own):
    out = own / "out"

    def reused(text: str = RECIPE, **options: bool) -> dict[str, bool]:
        (own / "recipe.yaml").write_text(text, encoding="utf-8")
        return {stage.name: stage.reused for stage in stages.train(recipe.load(own / "recipe.yaml"), out, **options)}

    other = RECIPE.replace("r: 4", "r: 2")
    assert reused() == {"full": False, "lora": False, "prefix": False}
    assert reused() == {"full": True, "lora": True, "prefix": True}
    assert reused(RECIPE.replace("max_steps: 3", "max_steps: 3, logging_steps: 1")) == dict.fromkeys(
        ("full", "lora", "prefix"), True
    )
    with pytest.raises(HarnessError, match=r"lora was trained from something else .*r: 4 → 2.*--replace"):
        reused(other)
    assert reused(other, replace=True) == {"full": True, "lora": False, "prefix": True}
    shutil.rmtree(out / "prefix")
    (out / ".prefix.new").mkdir()  # the remains of an interrupted stage
    assert reused(other) == {"full": True, "lora": True, "prefix": False}
    assert sorted(path.name for path in out.iterdir()) == [".encoded", "full", "lora", "prefix"]
    (out / "lora" / stages.DONE).write_text("{")
    with pytest.raises(HarnessError, match="its record is of another version, or damaged"):
        reused(other)
    assert reused(other, replace=True) == {"full": True, "lora": False, "prefix": True}
    with (own / "more.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"text": "又一个人。"}\n')
    with pytest.raises(HarnessError, match="the content of corpus more"):
        reused(other)
    assert reused(other, replace=True) == {"full": False, "lora": False, "prefix": False}


def test_stages_that_started_from_an_older_training_are_named(own):
    plan = recipe.load(own / "recipe.yaml")
    list(stages.train(plan, own / "out"))
    (own / "recipe.yaml").write_text(RECIPE.replace("weight_decay: 0.1", "weight_decay: 0.2"), encoding="utf-8")
    plan = recipe.load(own / "recipe.yaml")
    (full,) = stages.train(plan, own / "out", ["full"], replace=True)
    assert full.stale == ("lora", "prefix")
    for name in full.stale:
        with pytest.raises(HarnessError, match="was trained on other weights than those in"):
            Loader().load(locate(parse(str(own / "out" / name))))
    with pytest.raises(HarnessError, match="the checkpoint it starts from, full"):
        list(stages.train(plan, own / "out"))
    list(stages.train(plan, own / "out", replace=True))
    Loader().load(locate(parse(str(own / "out" / "lora"))))


def test_a_folder_that_is_not_a_checkpoint_is_an_error(place, tmp_path):
    shutil.copytree(place, tmp_path / "here", ignore=shutil.ignore_patterns("out", "again"))
    (tmp_path / "here/start/model.safetensors").unlink()
    with pytest.raises(HarnessError, match=r"stage full: .*start has no weights"):
        list(stages.train(recipe.load(tmp_path / "here/recipe.yaml"), tmp_path / "out"))


def test_nothing_to_learn_is_an_error_and_trains_nothing(place, tmp_path):
    plan = recipe.load(place / "recipe.yaml")
    stage = plan.stages["full"].model_copy(update={"max_length": 3})  # prompts fill all tokens
    with pytest.raises(
        HarnessError, match=r"nothing of the corpus 'talk' can be learned: of 4 rows, 4 have no learned"
    ):
        list(stages.train(plan.model_copy(update={"stages": {"full": stage}}), tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name[0] != "."] == []


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
    stage = recipe.Stage.model_validate({"from": "x", "method": "lora", "corpora": {"a": 1}})
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


def test_a_parent_with_other_weights_makes_its_children_stale(own):
    """The same stage, trained on another machine, may have other weights under the same recipe."""
    plan = recipe.load(own / "recipe.yaml")
    list(stages.train(plan, own / "out"))
    file = own / "out" / "full" / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"] += 0.5
    save_file(tensors, file, metadata={"format": "pt"})
    lineage.write(lineage.read(file.parent), file.parent)  # as its own training there would
    with pytest.raises(HarnessError, match=r"lora was trained from something else .*it starts from, full"):
        list(stages.train(plan, own / "out"))
    again = list(stages.train(plan, own / "out", replace=True))
    assert [stage.reused for stage in again] == [True, False, False]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("damage", ["deleted", "cut", "changed"])
def test_damaged_weights_are_named_and_trained_anew_if_the_user_says_so(own, damage):
    plan = recipe.load(own / "recipe.yaml")
    list(stages.train(plan, own / "out"))
    file = own / "out" / "full" / "model.safetensors"
    content = bytearray(file.read_bytes())
    file.unlink()
    if damage != "deleted":
        content[-1] ^= 1
        file.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    expected = (
        r"the weights or configurations in .*full are missing, or not those that its training saved: restore them"
    )
    with pytest.raises(HarnessError, match=expected):
        list(stages.train(plan, own / "out"))
    planned = {stage.name: stage for stage in stages.plan(plan, own / "out", ["full"])}
    assert not planned["full"].is_finished
    assert re.search(expected, planned["full"].conflict)
    again = list(stages.train(plan, own / "out", replace=True))
    assert not again[0].reused


def test_what_reads_a_corpus_otherwise_trains_anew(own):
    plan = recipe.load(own / "recipe.yaml")
    list(stages.train(plan, own / "out", ["full"]))
    (own / "more.jsonl").rename(own / "more.txt")
    (own / "recipe.yaml").write_text(RECIPE.replace("more: more.jsonl", "more: more.txt"), encoding="utf-8")
    with pytest.raises(HarnessError, match=r"full was trained from something else.*\(more\.kind: \.jsonl → \.txt\)"):
        list(stages.train(recipe.load(own / "recipe.yaml"), own / "out", ["full"]))


def test_a_stage_that_no_longer_fits_names_what_differs(own):
    text = RECIPE.replace("talk: talk.jsonl", "talk: {file: talk.jsonl}")
    text = text.replace("{from: start,", "{from: start, evaluate: quiz.jsonl, eval_steps: 4,")
    (own / "quiz.jsonl").write_text('{"question": "1+1?", "A": "2", "B": "3", "answer": "A"}\n', encoding="utf-8")

    def train(text: str) -> None:
        (own / "recipe.yaml").write_text(text, encoding="utf-8")
        list(stages.train(recipe.load(own / "recipe.yaml"), own / "out", ["full"]))

    train(text)
    for changed, difference in (
        (text.replace("talk.jsonl}", "talk.jsonl, learn: everything}"), "talk.learn: answers → everything"),
        (text.replace("talk.jsonl}", "talk.jsonl, system: s}"), "talk.system:  → s"),
        (text.replace("talk.jsonl}", "talk.jsonl, template: alpaca}"), "talk.template: None → alpaca"),
        (text.replace("threads: 1", "threads: 2"), "threads: 1 → 2"),
        (text.replace("seed: 1", "seed: 2"), "seed: 1 → 2"),
        (text.replace("threads: 1", ""), "threads: 1 → None"),
    ):
        with pytest.raises(HarnessError) as error:
            train(changed)
        assert f"full is now ({difference}): pass --replace" in str(error.value)
    (own / "quiz.jsonl").write_text('{"question": "1+1?", "A": "2", "B": "4", "answer": "A"}\n', encoding="utf-8")
    with pytest.raises(HarnessError, match=r"\(the content of quiz\.jsonl\): pass --replace"):
        train(text)


def test_stages_further_down_are_stale_too(own):
    more = "  deep: {from: merged, corpora: [talk]}\n"
    text = RECIPE.replace("\n  prefix: {", "\n  merged: {from: lora, method: merge}\n  prefix: {")
    (own / "recipe.yaml").write_text(text + more, encoding="utf-8")
    list(stages.train(recipe.load(own / "recipe.yaml"), own / "out", ["deep"]))
    (own / "recipe.yaml").write_text((text + more).replace("weight_decay: 0.1", "weight_decay: 0.2"), encoding="utf-8")
    (full,) = stages.train(recipe.load(own / "recipe.yaml"), own / "out", ["full"], replace=True)
    assert full.stale == ("deep", "lora", "merged")


@pytest.mark.parametrize("last", ["method: full", "method: lora, r: 2"])
def test_a_plan_behind_a_merge_that_does_not_exist_yet(own, last):
    more = f"  merged: {{from: lora, method: merge}}\n  last: {{from: merged, {last}, corpora: [talk]}}\n"
    (own / "recipe.yaml").write_text(RECIPE + more, encoding="utf-8")
    plan = recipe.load(own / "recipe.yaml")
    list(stages.train(plan, own / "out", ["lora"]))
    planned = list(stages.plan(plan, own / "out", ["last"]))
    assert [(stage.name, stage.is_finished) for stage in planned][-2:] == [("merged", False), ("last", False)]
    assert planned[-1].report is not None
    assert planned[-1].report.steps == 3


def test_a_plan_counts_what_is_learned_of_each_corpus(own):
    (planned,) = stages.plan(recipe.load(own / "recipe.yaml"), own / "out", ["full"])
    assert planned.report is not None
    talk, more = planned.report.corpora
    assert (talk.examples, more.examples) == (8, 4)  # each of four rows twice, and one row four times
    assert (talk.learned, more.learned) == (2 * talk.counts.learned, 4 * more.counts.learned)


def test_settings_of_a_stage_that_is_trained_anew_are_checked_before_its_parent_is_trained(own):
    list(stages.train(recipe.load(own / "recipe.yaml"), own / "out"))
    text = RECIPE.replace("weight_decay: 0.1", "weight_decay: 0.2").replace("r: 4}", "r: 4, report_to: wandb}")
    (own / "recipe.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(HarnessError, match="wandb"):
        next(stages.train(recipe.load(own / "recipe.yaml"), own / "out", replace=True))


def test_files_that_a_pattern_of_tasks_names_belong_to_a_stage(own, monkeypatch):
    monkeypatch.chdir("/")
    exams = own / "exams"
    exams.mkdir()
    for name in ("a", "b"):
        (exams / f"{name}.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n', encoding="utf-8")
    text = RECIPE.replace("{from: start,", "{from: start, evaluate: 'exams/*.jsonl',")
    (own / "recipe.yaml").write_text(text, encoding="utf-8")
    plan = recipe.load(own / "recipe.yaml")
    assert plan.resolved(plan.stages["full"]).evaluate == [str(exams / "a.jsonl"), str(exams / "b.jsonl")]
    before = Family(plan, own / "out").key("full")
    (exams / "b.jsonl").write_text('{"question": "1+1?", "answer": "3"}\n', encoding="utf-8")
    assert Family(plan, own / "out").key("full") != before
    text = text.replace("exams/*", "exam/*")
    (own / "recipe.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(HarnessError, match="no file matches"):
        list(stages.train(recipe.load(own / "recipe.yaml"), own / "out"))
