"""An adapter answers on the base that it was trained on: not on one that was trained anew under the same name."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from harness.checkpoints import ancestry, identity, remarks
from harness.checkpoints.loading import Loader, locate
from harness.checkpoints.origin import origin_of
from harness.checkpoints.reference import parse
from support import tiny
from support.tampering import copied, logits, refusal, set_json, set_weights

OTHER = "was trained on other weights than those in"
ACCEPTED = "the adapter was trained on other weights than those of"


@pytest.fixture
def family(base: Path, lora: Path, tmp_path: Path) -> Path:
    """A folder with a base and an adapter on it, as `harness train` leaves them."""
    folder = tmp_path / "family"
    copied(base, folder / "sft")
    copied(lora, folder / "lora")
    set_json(folder / "lora/adapter_config.json", base_model_name_or_path=str((folder / "sft").resolve()))
    fingerprint = identity.content_of_base(folder / "sft")
    write(folder, key="0", base="../sft", base_fingerprint=fingerprint, steps=3)
    return folder


def write(family: Path, **record: object) -> None:
    (family / "lora" / ancestry.RECORD).write_text(json.dumps(record), encoding="utf-8")


def notes(reference: str) -> list[str]:
    """Return the notes on a checkpoint that is accepted."""
    located = locate(parse(reference))
    ancestry.require_same_base(located)
    return remarks.on_files(located)


def retrain(base: Path) -> None:
    """Change one number of the weights in `base`."""
    set_weights(base / "model.safetensors", lambda tensors: tensors["model.norm.weight"][0].add_(1))


def test_the_base_of_the_training_is_accepted_without_a_note(family):
    assert notes(str(family / "lora")) == notes(str(family / "sft")) == []
    assert notes(f"{family / 'sft'},adapter={family / 'lora'}") == []


@pytest.mark.parametrize(
    "change",
    [
        retrain,
        lambda base: set_json(base / "config.json", rms_norm_eps=1e-3),
        lambda base: set_json(base / "config.json", rope_parameters={"rope_type": "default", "rope_theta": 77.0}),
        lambda base: (shutil.rmtree(base), tiny.llama(base, seed=5)),
    ],
)
@pytest.mark.parametrize(
    "reference", ["{0}/lora", "{0}/sft,adapter={0}/lora", "{0}/sft,adapter={0}/lora,dtype=bfloat16"]
)
def test_a_base_that_was_trained_anew_is_refused(family, change, reference):
    change(family / "sft")
    error = refusal(reference.format(family))
    assert OTHER in error
    assert str(family / "lora") in error
    assert "allow_other_base=true" in error


def test_what_computes_nothing_may_change(family):
    set_json(family / "sft/generation_config.json", repetition_penalty=None, temperature=0.5, do_sample=True)
    set_json(family / "sft/config.json", transformers_version="4.0.0", _name_or_path="elsewhere")
    (family / "sft/README.md").write_text("# A base")
    set_json(family / "sft/tokenizer_config.json", model_max_length=99)
    assert notes(str(family / "lora")) == []


def test_another_base_can_be_allowed_and_leaves_a_note(family):
    retrain(family / "sft")
    (note,) = Loader().load(locate(parse(f"{family / 'lora'},allow_other_base=true"))).notes
    assert note.startswith(ACCEPTED)
    assert notes(f"{family / 'sft'},adapter={family / 'lora'},allow_other_base=true") == [
        f"{ACCEPTED} {family / 'sft'}, which allow_other_base=true accepts"
    ]
    assert OTHER in refusal(f"{family / 'lora'},allow_other_base=false")


def test_allowing_another_base_changes_nothing_for_the_same_one(family):
    assert notes(f"{family / 'lora'},allow_other_base=true") == []


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_a_family_can_be_moved_or_copied(family, tmp_path, move):
    before = logits(Loader().load(locate(parse(str(family / "lora")))).model)
    target = tmp_path / "a/b/c"
    target.parent.mkdir(parents=True)
    move(family, target)
    if family.exists():
        retrain(family / "sft")  # its own base is the one beside it
    located = locate(parse(str(target / "lora")))
    assert located.base.resolve() == (target / "sft").resolve()
    checkpoint = Loader().load(located)
    assert checkpoint.notes == []
    assert (logits(checkpoint.model) == before).all()


def test_a_family_is_found_through_a_link(family, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/lora").symlink_to(family / "lora")
    assert notes(str(tmp_path / "elsewhere/lora")) == []


def test_an_equal_copy_of_the_base_elsewhere_is_the_base(family, tmp_path):
    copied(family / "sft", tmp_path / "another-name")
    shutil.rmtree(family / "sft")
    assert notes(f"{tmp_path / 'another-name'},adapter={family / 'lora'}") == []
    set_json(family / "lora/adapter_config.json", base_model_name_or_path=str(tmp_path / "another-name"))
    assert notes(str(family / "lora")) == []


def test_code_of_the_checkpoint_makes_no_other_base_of_it(family):
    assert notes(f"{family / 'lora'},trust_remote_code=true") == []


def test_adapters_without_a_record_load_as_before(family):
    (family / "lora" / ancestry.RECORD).unlink()
    retrain(family / "sft")
    assert notes(str(family / "lora")) == []


UNKNOWN = "training.json cannot be read or names no base"
DAMAGED = {
    "empty": b"",
    "cut": b'{"base_fingerprint": "ab',
    "not UTF-8": b'{"base": "\xff\xfe"}',
    "no object": b"[1, 2]",
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "a long number": b'{"steps": ' + b"9" * 5000 + b"}",
    "wrong types": b'{"base": {"a": 1}, "base_fingerprint": ["x"], "key": 3, "steps": "many"}',
    "nothing": b"{}",
    "huge": b" " * (ancestry.BYTES + 1) + b"{}",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_record_is_noted_and_never_fatal(family, content):
    (family / "lora" / ancestry.RECORD).write_bytes(content)
    (note,) = notes(str(family / "lora"))
    assert UNKNOWN in note


def test_a_record_that_is_no_file_is_noted(family):
    file = family / "lora" / ancestry.RECORD
    file.unlink()
    for make in (
        file.mkdir,
        lambda: os.mkfifo(file),
        lambda: file.symlink_to("/dev/zero"),
        lambda: file.symlink_to(file),
    ):
        make()
        (note,) = notes(str(family / "lora"))
        assert UNKNOWN in note
        file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()


@pytest.mark.parametrize(
    "path",
    [
        "{0}/sft",  # absolute
        "~/sft",
        "../sft/../sft",
        "./../a/../../family/sft",
        "../" * 40 + "sft",
        "../sft\0",
        "..\\sft",
        "../" + "x" * 5000,
        "",
        "../nowhere",
    ],
)
def test_a_recorded_base_is_looked_for_only_where_a_training_puts_one(family, path):
    fingerprint = ancestry.trained_on(family / "lora")
    write(family, base=path.format(family), base_fingerprint=fingerprint)
    assert ancestry.recorded_base(family / "lora") is None
    assert notes(str(family / "lora")) == []  # by the path in adapter_config.json


def test_a_recorded_base_that_is_no_checkpoint_is_an_error_of_one_sentence(family):
    write(family, base="..", base_fingerprint="0")
    error = refusal(str(family / "lora"))
    assert "\n" not in error
    assert "Traceback" not in error


def test_the_recorded_base_comes_before_the_stated_one(family, tmp_path):
    other = copied(family / "sft", tmp_path / "other")
    set_json(family / "lora/adapter_config.json", base_model_name_or_path=str(other))
    assert locate(parse(str(family / "lora"))).base.resolve() == (family / "sft").resolve()
    assert remarks.on_files(locate(parse(str(family / "lora")))) == []


def test_a_record_is_recognised_by_its_trainer(family):
    assert str(origin_of(family / "lora")) == "harness train, step 3"
    assert locate(parse(str(family / "lora"))).base_name == "../sft"
