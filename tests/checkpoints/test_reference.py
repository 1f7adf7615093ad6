"""Parsing checkpoint references: `PATH_OR_HUB_ID[,key=value…]`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checkpoints.reference import DTYPES, KEYS, CheckpointReference, parse
from harness.errors import HarnessError

words = st.text("abZ019 ,=./~_-'\"，：模型微调", min_size=1).map(str.strip).filter(bool)
references = st.builds(
    CheckpointReference,
    path=words,
    adapter=st.none() | words,
    dtype=st.none() | st.sampled_from(DTYPES),
    device=st.none() | st.sampled_from(["cpu", "cuda:1"]),
    revision=st.none() | words,
    tokenizer=st.none() | words,
    max_length=st.none() | st.integers(1, 10**6),
    trust_remote_code=st.booleans(),
    allow_unexpected_keys=st.booleans(),
    think=st.none() | st.sampled_from(["none", "<a>,</a>", "[PLAN],[/PLAN]", "((,))"]),
    name=st.none() | words,
)


def refusal(text: str) -> str:
    """Return the message with which `text` is refused."""
    with pytest.raises(HarnessError) as error:
        parse(text)
    return str(error.value)


@given(references)
def test_a_written_reference_parses_to_itself(reference):
    assert parse(str(reference)) == reference


def test_a_path_alone_sets_no_key():
    assert parse("Qwen/Qwen2.5-7B") == CheckpointReference("Qwen/Qwen2.5-7B")


def test_spaces_around_commas_and_equals_signs_are_ignored():
    assert parse(" out/base , dtype = bfloat16 ,name= stage 2 ") == CheckpointReference(
        "out/base", dtype="bfloat16", name="stage 2"
    )


def test_a_path_may_contain_commas_and_an_equals_sign():
    assert parse("runs/lr=0.1,0.2/base,name=x").path == "runs/lr=0.1,0.2/base"


def test_a_value_may_contain_an_equals_sign():
    assert parse("base,name=lr=0.1").name == "lr=0.1"


def test_double_quotes_hold_what_would_be_a_key():
    text = ' "m/a,b=c" , adapter = "out/x,dtype=y,name=""z""" ,name="a, b"'
    assert parse(text) == CheckpointReference("m/a,b=c", adapter='out/x,dtype=y,name="z"', name="a, b")


def test_a_path_that_exists_as_it_is_typed_may_hold_what_would_be_a_key(tmp_path, monkeypatch):
    for name in ("m/a,b=c", "m/x,name=y", "lora,r=8/checkpoint-1"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert parse("m/a,b=c") == CheckpointReference("m/a,b=c")
    assert parse("m/a,b=c,name=d") == CheckpointReference("m/a,b=c", name="d")
    assert parse("m/x,name=y") == CheckpointReference("m/x,name=y")
    assert parse("base,adapter=lora,r=8/checkpoint-1,name=d").adapter == "lora,r=8/checkpoint-1"
    assert parse("base,adapter=lora,r=8/checkpoint-*").adapter == "lora,r=8/checkpoint-*"
    assert "unknown key 'b'" in refusal("m/other,b=c")
    (tmp_path / "m/x").mkdir()
    assert "both exist, put the path in double quotes" in refusal("m/x,name=y")
    assert parse('"m/x,name=y"').path == "m/x,name=y"
    assert parse('"m/x",name=y') == CheckpointReference("m/x", name="y")


@pytest.mark.parametrize("text", ['"base', 'base,name="x', 'base,adapter="a"b"'])
def test_a_quote_that_is_not_closed_is_refused(text):
    assert "quote" in refusal(text)


@pytest.mark.parametrize("text", ["", "   ", ",dtype=float32", '""', '" ",name=x'])
def test_a_reference_without_a_path_is_refused(text):
    assert "names no checkpoint" in refusal(text)


def test_an_unknown_key_is_refused_with_the_nearest_known_one():
    assert "unknown key 'adaptor'; did you mean 'adapter'?" in refusal("base,adaptor=x")


def test_a_key_unlike_any_other_is_refused_with_all_keys():
    assert all(key in refusal("base,zzz=x") for key in KEYS)


def test_a_repeated_key_is_refused_even_with_the_same_value():
    assert "'dtype' twice" in refusal("base,dtype=float32,dtype=float32")


@pytest.mark.parametrize("text", ["base,adapter=", "base,adapter= ,dtype=float32"])
def test_a_key_without_a_value_is_refused(text):
    assert "has no value for the key 'adapter'" in refusal(text)


@pytest.mark.parametrize(("word", "value"), [("true", True), ("True", True), ("false", False), ("FALSE", False)])
def test_booleans_are_true_or_false_in_any_case(word, value):
    assert parse(f"base,trust_remote_code={word}").trust_remote_code is value


@pytest.mark.parametrize("word", ["1", "yes", "truely"])
def test_other_words_are_not_booleans(word):
    assert f"trust_remote_code is true or false, not '{word}'" in refusal(f"base,trust_remote_code={word}")


def test_an_unknown_dtype_is_refused_with_the_known_ones():
    assert all(dtype in refusal("base,dtype=fp16") for dtype in DTYPES)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "4k", "²"])
def test_max_length_is_a_positive_whole_number(value):
    assert f"not '{value}'" in refusal(f"base,max_length={value}")


def test_max_length_is_read_as_a_number():
    assert parse("base,max_length=4096").max_length == 4096


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Qwen/Qwen2.5-7B", "Qwen2.5-7B"),
        ("/models/base/", "base"),
        ("/models/base,adapter=/out/law", "base+law"),
        ("/out/run-1/checkpoint-300", "run-1-checkpoint-300"),
        ("/out/run-2/checkpoint-300", "run-2-checkpoint-300"),
        ("/models/base,adapter=/out/run-1/checkpoint-300", "base+run-1-checkpoint-300"),
        ("/out/run-1/checkpoint-300,name=法律", "法律"),
        ("~no-such-user/model", "~no-such-user/model"),
        ("/", "/"),
    ],
)
def test_labels_distinguish_neighbours(text, label):
    assert parse(text).label == label


def test_the_label_of_a_relative_folder_is_its_real_name(tmp_path, monkeypatch):
    (tmp_path / "my-model").mkdir()
    monkeypatch.chdir(tmp_path / "my-model")
    assert parse(".").label == "my-model"


def test_a_path_too_long_for_a_file_system_has_a_label():
    assert parse("x" * 5000).label == "x" * 5000


@pytest.mark.parametrize("value", ["<a>", "<a>,", ",</a>", "<a>,<a>", "<a>,b,</a>"])
def test_think_is_two_marks_or_none(value):
    assert "think is two marks, think=START,END, or none" in refusal(f"base,think={value}")
    assert parse("base,think= <a> , </a> ,name=x") == CheckpointReference("base", think="<a>,</a>", name="x")
    assert parse("base,think=None").think == "none"
