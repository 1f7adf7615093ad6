"""Patterns in references stand for the checkpoints of a training; every checkpoint has a name of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.checkpoints import discovery, loading
from harness.checkpoints.discovery import expand
from harness.checkpoints.reference import parse
from harness.errors import HarnessError


def labels(*references: str) -> list[str]:
    """Return the labels of the checkpoints that `references` stand for."""
    return [reference.label for reference in expand(map(parse, references))]


def paths(reference: str) -> list[str]:
    """Return the paths that `reference` stands for."""
    return [match.path for match in expand([parse(reference)])]


def refusal(*references: str) -> str:
    """Return the one-line message with which `references` are refused."""
    with pytest.raises(HarnessError) as error:
        expand(map(parse, references))
    message = str(error.value)
    assert "\n" not in message
    return message


def make_folders(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True)


# --- patterns


def test_steps_are_in_numeric_order(tmp_path):
    make_folders(tmp_path / "out", "checkpoint-100", "checkpoint-9", "checkpoint-20", "checkpoint-100-merged")
    make_folders(tmp_path / "out", "checkpoint-3")
    assert labels(f"{tmp_path}/out/checkpoint-*") == [
        "out-checkpoint-3",
        "out-checkpoint-9",
        "out-checkpoint-20",
        "out-checkpoint-100",
        "checkpoint-100-merged",
    ]


def test_a_pattern_of_several_is_refused_where_one_checkpoint_is_needed(tmp_path):
    make_folders(tmp_path / "out", "checkpoint-9")
    discovery.require_one(parse(f"{tmp_path}/out/checkpoint-*"))
    make_folders(tmp_path / "out", "checkpoint-20")
    with pytest.raises(HarnessError, match="is 2 checkpoints, but only one can be evaluated here"):
        discovery.require_one(parse(f"{tmp_path}/out/checkpoint-*"))


def test_numbers_are_ordered_in_every_part_of_a_path(tmp_path):
    make_folders(tmp_path, "v10/checkpoint-1", "v9/checkpoint-10", "v9/checkpoint-2")
    assert labels(f"{tmp_path}/v*/checkpoint-*") == ["v9-checkpoint-2", "v9-checkpoint-10", "v10-checkpoint-1"]
    assert len(labels(f"{tmp_path}/**/checkpoint-*")) == 3


def test_a_pattern_may_be_in_the_adapter_and_other_keys_are_kept(tmp_path):
    make_folders(tmp_path / "out", "checkpoint-9", "checkpoint-10")
    matches = expand([parse(f"base,adapter={tmp_path}/out/checkpoint-*,dtype=bfloat16")])
    assert [match.label for match in matches] == ["base+out-checkpoint-9", "base+out-checkpoint-10"]
    assert {(match.path, match.dtype) for match in matches} == {("base", "bfloat16")}
    assert "in its path and in adapter=" in refusal(f"{tmp_path}/*,adapter={tmp_path}/*")


@pytest.mark.parametrize(
    ("existing", "pattern", "names"),
    [
        (["a/checkpoint-9", "a/checkpoint-10"], "a/checkpoint-*", ["X-9", "X-10"]),
        (["a/checkpoint-9"], "a/checkpoint-*", ["X"]),
        (["a/checkpoint-9", "b/checkpoint-9"], "*/checkpoint-*", ["X-a-9", "X-b-9"]),
        (["law", "medicine"], "*", ["X-law", "X-medicine"]),
    ],
)
def test_a_name_is_extended_by_the_step(tmp_path, existing, pattern, names):
    make_folders(tmp_path, *existing)
    assert labels(f"{tmp_path}/{pattern},name=X") == names


def test_paths_stay_as_typed(tmp_path, monkeypatch):
    make_folders(tmp_path / "out", "checkpoint-9")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths("out/checkpoint-*/") == ["out/checkpoint-9"]
    assert paths("./out/check*") == ["./out/checkpoint-9"]
    assert paths("~/out/checkpoint-?") == [f"{tmp_path}/out/checkpoint-9"]


def test_a_folder_named_like_the_pattern_takes_precedence(tmp_path):
    make_folders(tmp_path, "run[1]", "run1")
    assert paths(f"{tmp_path}/run[1]") == [f"{tmp_path}/run[1]"]


def test_files_unfinished_saves_and_links_to_a_match_are_skipped(tmp_path):
    make_folders(tmp_path / "out", "checkpoint-9", "tmp-checkpoint-20", ".hidden")
    (tmp_path / "out" / "trainer_log.jsonl").touch()
    (tmp_path / "out" / "latest").symlink_to("checkpoint-9")
    assert labels(f"{tmp_path}/out/*") == ["out-checkpoint-9"]
    (tmp_path / "out" / "checkpoint-9").rmdir()
    assert "only files and unfinished saves do (latest" in refusal(f"{tmp_path}/out/*")


def test_a_match_without_weights_is_refused_like_any_folder(tmp_path):
    make_folders(tmp_path / "out", "runs")
    with pytest.raises(HarnessError, match="runs has no weights"):
        loading.locate(expand([parse(f"{tmp_path}/out/*")])[0])


@pytest.mark.parametrize(
    ("pattern", "contents"),
    [
        ("nowhere/checkpoint-*", "there is no folder {root}/nowhere"),
        ("Qwen*/x", "holds out; check the pattern"),
        ("out/step-*", "{root}/out holds a, all_results.json and 1 more"),
        ("out/a/checkpoint-*", "{root}/out/a is empty"),
        ("checkpoint-*", "'{root}/*/checkpoint-*' does"),
    ],
)
def test_for_a_pattern_without_a_match_the_message_lists_what_exists(tmp_path, monkeypatch, pattern, contents):
    make_folders(tmp_path / "out", "a", "checkpoint-9")
    (tmp_path / "out" / "all_results.json").touch()
    monkeypatch.setattr(discovery, "MOST_LISTED", 2)
    message = refusal(f"{tmp_path}/{pattern}")
    assert message.startswith(f"no folder matches '{tmp_path}/{pattern}'")
    assert contents.format(root=tmp_path) in message


def test_hub_names_have_no_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "models on the hub have no patterns" in refusal("Qwen/Qwen2.5-*")


@pytest.mark.parametrize("pattern", ["~no-such-user/*", "x" * 5000 + "/*", "[", "*" * 300])
def test_every_unusable_pattern_is_refused_in_one_sentence(tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    assert refusal(pattern).startswith("no folder matches")


# --- unique names


def test_another_spelling_of_a_path_is_the_same_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("base", "lora"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("lora")
    references = [
        "base",
        "./base",
        str(tmp_path / "base/"),
        "base,adapter=lora",
        "./base,adapter=link",
        "base,dtype=float16",
    ]
    assert [(match.path, match.adapter, match.dtype) for match in expand(map(parse, references))] == [
        ("base", None, None),
        ("base", "lora", None),
        ("base", None, "float16"),
    ]


def test_a_checkpoint_named_twice_occurs_once(tmp_path):
    make_folders(tmp_path / "out", "checkpoint-9", "checkpoint-10")
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
def test_checkpoints_with_the_same_label_get_different_names(tmp_path, references, names):
    make_folders(tmp_path, "a/out/checkpoint-9", "b/out/checkpoint-9")
    expected = [name.format(n=tmp_path.name) for name in names]
    assert labels(*(reference.format(r=tmp_path) for reference in references)) == expected


def test_two_checkpoints_with_the_same_given_name_are_refused(tmp_path, monkeypatch):
    make_folders(tmp_path, "a", "b")
    monkeypatch.chdir(tmp_path)
    message = "'a,name=x' and 'b,name=x' are both called 'x': give each a name= of its own"
    assert refusal("a,name=x", "b,name=x") == message
