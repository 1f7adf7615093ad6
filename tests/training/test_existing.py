"""The life of a family: what each stage starts from, what is already there, and what interrupted it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints import identity, loading
from harness.checkpoints.reference import parse
from harness.common import signals
from harness.errors import HarnessError
from harness.training import corpora, loop, recipe, saving, stages
from harness.training.family import Family
from support import tiny, trained_stages

SFT, LORA = "sft: {from: base}", "lora: {from: sft, method: lora, r: 4}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.llama(tmp_path / "base")
    return tmp_path


def fingerprint(reference: str) -> str:
    return identity.fingerprint(loading.locate(parse(reference)))


def test_a_stage_may_start_from_another_one_quantised(folder: Path) -> None:
    texts = ("q: {from: 'sft,quantize=int4', method: lora, r: 4}", SFT, "more: {from: q, method: lora}")
    loaded = recipe.load(trained_stages.written(folder, *texts))
    assert loaded.order() == ["sft", "q", "more"]
    trained = {stage.name: stage.lineage for stage in stages.train(loaded, folder / "out")}
    assert (trained["q"].parent, trained["q"].quantize) == ("sft", "int4")
    assert trained["q"].parent_fingerprint == fingerprint(f"{folder}/out/sft,quantize=int4")
    assert trained["more"].quantize == "int4", "it continues the adapter on the weights on which that was trained"
    assert trained["more"].parent_fingerprint == fingerprint(f"{folder}/out/q,quantize=int4")
    again = recipe.load(trained_stages.written(folder, texts[0].replace("int4", "int8"), *texts[1:]))
    with pytest.raises(HarnessError, match="q was trained from something else"):
        list(stages.train(again, folder / "out"))


def test_the_folder_of_a_stage_is_no_way_around_its_name(folder: Path) -> None:
    loaded = recipe.load(trained_stages.written(folder, "q: {from: out/sft, method: lora, r: 4}", SFT))
    (folder / "out" / "sft").mkdir(parents=True)
    loaded = recipe.load(folder / "recipe.yaml")
    with pytest.raises(HarnessError, match=r"stage q: .*the folder of the stage 'sft': write from: sft"):
        list(stages.train(loaded, folder / "out"))


def test_the_record_names_the_parent_that_was_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another command may train the parent anew while its child is trained."""
    before = trained_stages.train(folder, SFT)["sft"]
    fit, expected = loop.fit, fingerprint(str(before.folder))

    def fit_and_replace(*arguments: Any, **options: Any) -> Any:
        result = fit(*arguments, **options)
        other = trained_stages.HEAD.replace("seed: 1", "seed: 2")
        monkeypatch.setattr(loop, "fit", fit)
        trained_stages.train(folder, SFT, head=other, replace=True)
        return result

    monkeypatch.setattr(loop, "fit", fit_and_replace)
    lora = trained_stages.train(folder, SFT, LORA, names=["lora"])["lora"]
    assert fingerprint(str(before.folder)) != expected
    assert lora.lineage.parent_fingerprint == expected


def test_a_file_that_is_not_read_changes_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    before = corpora.content_hash(tmp_path)
    (tmp_path / "README.md~").write_text("a copy of an editor", encoding="utf-8")
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    assert corpora.content_hash(tmp_path) == before
    (tmp_path / "a.txt").write_text("two", encoding="utf-8")
    assert corpora.content_hash(tmp_path) != before


def test_encoded_corpora_that_were_damaged_are_encoded_again(folder: Path) -> None:
    expected = trained_stages.train(folder, SFT)["sft"].lineage
    for file in (folder / "out" / ".encoded").glob("*.arrow"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    shutil.rmtree(folder / "out" / "sft")
    again = trained_stages.train(folder, SFT)["sft"].lineage
    assert (again.curve, again.content) == (expected.curve, expected.content)


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Train `sft` until its first step is saved."""

    def stop(*_: Any, **__: Any) -> None:
        raise signals.Stopped("SIGINT")

    with monkeypatch.context() as patch:
        patch.setattr(saving, "save", stop)
        with pytest.raises(signals.Stopped):
            trained_stages.train(folder, SFT, **changes)


def test_a_plan_says_what_would_be_continued(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(folder, monkeypatch)
    (planned,) = stages.plan(recipe.load(folder / "recipe.yaml"), folder / "out")
    assert (planned.is_finished, planned.resumes_at, planned.conflict) == (False, 2, "")


def test_an_unfinished_replacement_is_not_lost_by_a_look_at_what_it_replaces(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_stages.train(folder, SFT)
    other = trained_stages.HEAD.replace("seed: 1", "seed: 2")
    interrupted(folder, monkeypatch, head=other, replace=True)
    assert trained_stages.train(folder, SFT)["sft"].reused
    assert trained_stages.train(folder, SFT, head=other, replace=True)["sft"].lineage.resumed_at == 2


def test_a_stage_that_was_being_replaced_comes_back(folder: Path) -> None:
    """A process was killed between moving the old folder aside and moving the new one to its place."""
    stage = trained_stages.train(folder, SFT)["sft"]
    stage.folder.rename(folder / "out" / f".sft.{saving.NEW}.old")
    (folder / "out" / f".sft.{saving.NEW}").mkdir()
    assert trained_stages.train(folder, SFT)["sft"].reused
    assert sorted(path.name for path in (folder / "out").iterdir() if not path.name.startswith(".enc")) == ["sft"]


def test_a_changed_name_is_named(folder: Path) -> None:
    trained_stages.train(folder, SFT)
    (folder / "out" / "sft").rename(folder / "out" / "tuned")
    with pytest.raises(HarnessError, match="its name: sft → tuned"):
        trained_stages.train(folder, SFT.replace("sft:", "tuned:"))


def test_another_chat_template_of_a_stage_makes_its_children_stale(folder: Path) -> None:
    trained_stages.train(folder, SFT, LORA)
    file = folder / "out" / "sft" / "tokenizer_config.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, "chat_template": "{{ messages }}"}), encoding="utf-8")
    family = Family(recipe.load(folder / "recipe.yaml"), folder / "out")
    assert (family.finished("sft") is None, family.finished("lora") is None) == (False, True)
