"""YAML and JSON within limits: plain texts as PyYAML and json read them, hostile ones refused at once."""

from __future__ import annotations

import ast
import datetime
import json
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import harness
from harness.cli import main
from harness.common import safe_load
from harness.common.safe_load import ContentError, UnsafeContentError, json_text, yaml_text

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))
DEEP_ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200))
HOSTILE_YAML = {
    "aliases": (ALIASES, "once its aliases are expanded"),
    "merges": (MERGES, "once its aliases are expanded"),
    "aliases of aliases": (DEEP_ALIASES, "more than 64 deep"),
    "brackets": ("[" * 100_000, "more than 64 deep"),
    "closed brackets": ("[" * 50_000 + "]" * 50_000, "more than 64 deep"),
    "dashes": ("- " * 50_000 + "x", "more than 64 deep"),
    "indents": ("\n".join(" " * n + "a:" for n in range(300)), "more than 64 deep"),
    "question marks": ("? " * 5_000 + "x", "more than 64 deep"),
    "itself": ("a: &a [1, *a]", "contains itself"),
    "itself as a key": ("&a {*a : 1}", "contains itself"),
    "a long number": ("a: " + "9" * 400, "more than 308 digits"),
    "a number too long for Python": ("a: " + "9" * 5_000, "more than 308 digits"),
    "a long hexadecimal number": ("a: 0x" + "f" * 400, "more than 308 digits"),
    "a long sexagesimal number": ("a: 1" + ":59" * 400, "more than 308 digits"),
    "309 digits": ("a: " + "9" * 309, "more than 308 digits"),
    "1,024 bits": ("a: 0x" + "f" * 256, "more than 308 digits"),
    "underscores": ("a: 1" + "_" * 100_000, "more than 308 digits"),
    "a tagged number": ("a: !!int '" + "9" * 400 + "'", "more than 308 digits"),
    "many values": ("[" + "1," * 150_000 + "]", "more than 100,000 values"),
    "size": ("a: " + "x" * 5 * 2**20, "bytes"),
}


@given(values)
@settings(max_examples=40, deadline=None)
def test_plain_yaml_is_read_as_pyyaml_reads_it(value):
    text = yaml.safe_dump(value, allow_unicode=True)
    assert yaml_text(text) == yaml.safe_load(text)
    assert yaml_text(text.encode()) == yaml.safe_load(text)


@given(values)
@settings(max_examples=40, deadline=None)
def test_plain_json_is_read_as_json_reads_it(value):
    assert json_text(json.dumps(value)) == json.loads(json.dumps(value))


def test_aliases_that_people_write_are_read():
    text = "base: &base {margin: 2, tags: &tags [a, b]}\ntasks: [{<<: *base, floor: 1}, *base, *tags]"
    assert yaml_text(text)["tasks"][0] == {"margin": 2, "tags": ["a", "b"], "floor": 1}


@pytest.mark.parametrize("kind", HOSTILE_YAML)
def test_hostile_yaml_is_refused(kind):
    text, reason = HOSTILE_YAML[kind]
    with pytest.raises(UnsafeContentError, match=reason):
        yaml_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        b"a: 1\n b: 2\n",
        "a: *b",
        "\x00",
        "a: 2024-13-45",
        "!!python/object/apply:os.system [ls]",
        "a: !x 1",
        "? [a]\n: 1",
        b"\xff\xff",
    ],
)
def test_what_is_not_plain_yaml_has_a_reason_on_one_line(text):
    with pytest.raises(ContentError) as caught:
        yaml_text(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 350
    assert "string>" not in str(caught.value)


def test_dates_and_nothing_are_values():
    assert yaml_text("a: 2024-02-29") == {"a": datetime.date(2024, 2, 29)}
    assert yaml_text("") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "64 deep"),
        ("[" * 100 + "]" * 100, "64 deep"),
        ('{"a":' * 70 + "1" + "}" * 70, "64 deep"),
        ('["[[[[\\"", ' + "[" * 70 + "]" * 71, "64 deep"),
        ("9" * 400, "308 digits"),
        ('{"a": -' + "9" * 5_000 + "}", "308 digits"),
    ],
)
def test_hostile_json_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        json_text(text)


@pytest.mark.parametrize(
    "text", ["9" * 308, "-" + "9" * 308, "0x" + "f" * 255, "0b" + "1" * 1_023, "0" + "7" * 307, "1" + ":59" * 150]
)
def test_every_integer_within_the_limit_has_a_float(text):
    numbers = [yaml_text(text)]
    if text.lstrip("-").strip("9") == "":
        numbers.append(json_text(f"[{text}]")[0])
        with pytest.raises(UnsafeContentError, match="308 digits"):
            json_text(f"[{text}9]")
    assert all(isinstance(number, int) and abs(float(number)) < float("inf") for number in numbers)


@pytest.mark.parametrize("piece", ['\\"', '"', "\\", '[ "', '"\\', "\\\\", '"a" ', "9" * 308 + ",", "{[" + "]}"])
def test_the_time_to_check_json_grows_with_its_length(piece):
    """A quadratic check would need minutes for a megabyte."""
    start = time.process_time()
    with pytest.raises(ValueError, match=r"."):
        json_text("[ " * 70 + '"' + piece * (1_000_000 // len(piece)))
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("margin: 1\nmargin: 2", "line 2 states 'margin' again"),
        ("margin: 1\n'margin': 2", "line 2 states 'margin' again"),
        ("tasks: {law: {floor: 1, margin: 2, floor: 3}}", "line 1 states 'floor' again"),
        ("a:\n- b\n- c: 1\n  c: 1", "line 4 states 'c' again"),
        ("1: a\n0x1: b", "line 2 states '0x1' again"),
        ("yes: a\ntrue: b", "line 2 states 'true' again"),
        ("&k a: 1\n*k : 2", "states 'a' again"),
    ],
)
def test_a_key_stated_twice_is_refused_by_name(text, reason):
    yaml_text(text)
    with pytest.raises(ContentError, match=reason):
        yaml_text(text, strict=True)


@pytest.mark.parametrize(
    "text", ["b: &b {x: 1}\nc: {<<: *b, x: 2}\nd: {<<: [*b, *b], x: 3}", "- a: 1\n- a: 1", "1: a\n'1': b", "", "a"]
)
def test_keys_that_only_look_alike_are_no_repetition(text):
    assert yaml_text(text, strict=True) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("number", "value"), [("1:30", 90), ("0x10", 16), ("010", 8), ("1_000", 1000), ("0b11", 3), ("1:30.5", 90.5)]
)
def test_a_number_that_yaml_reads_as_another_is_refused_with_both(number, value):
    assert yaml_text(number) == value
    with pytest.raises(ContentError, match=rf"line 2 states {number}, which YAML reads as {value}"):
        yaml_text(f"alpha: 0.05\nmargin: {number}", strict=True)


@pytest.mark.parametrize(
    "number", ["0", "-3", "+2", "1.5", ".5", "0.05", "1.0e-4", "1.", "-.inf", "1e-4", "'1:30'", "2%"]
)
def test_plain_numbers_and_texts_pass(number):
    assert yaml_text(number, strict=True) == yaml.safe_load(number)


def test_a_policy_and_a_recipe_refuse_a_repeated_key(tmp_path, capsys):
    file = tmp_path / "a.yaml"
    file.write_text("margin: 1\nalpha: 0.05\nmargin: 90\n")
    for command in (["gate", str(tmp_path), "--policy", str(file)], ["train", str(file)]):
        assert main(command) == 2
        assert "line 3 states 'margin' again" in capsys.readouterr().err


def test_brackets_and_digits_in_texts_are_text():
    value = {"a": "[" * 500 + '"' + "9" * 500 + "\\", "b": [[1]] * 200, "c": 1.5e300, "d": -(10**307)}
    assert json_text(json.dumps(value)) == value


def test_files_are_read_up_to_their_limit(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.write_text('{"a": 1}')
    assert safe_load.yaml_file(file) == safe_load.json_file(file) == {"a": 1}
    for name in ("YAML_BYTES", "JSON_BYTES"):
        monkeypatch.setattr(safe_load, name, 7)
    for read in (safe_load.yaml_file, safe_load.json_file):
        with pytest.raises(UnsafeContentError, match="more than 7 bytes"):
            read(file)
    with pytest.raises(UnsafeContentError):
        safe_load.json_file(Path("/dev/zero"))


def test_yaml_is_parsed_in_one_place():
    calls = []
    for file in Path(harness.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if "yaml" in names or (isinstance(node, ast.ImportFrom) and node.module == "yaml"):
                calls.append(file.name)
    assert set(calls) == {"safe_load.py"}


@pytest.mark.parametrize("kind", ["aliases", "brackets", "dashes", "a number too long for Python", "size"])
@pytest.mark.parametrize("reader", ["policy", "recipe", "task"])
def test_a_person_gets_one_sentence_that_names_the_file(kind, reader, tmp_path, capsys):
    file = tmp_path / "hostile.yaml"
    file.write_text(HOSTILE_YAML[kind][0])
    commands = {
        "policy": ["gate", str(tmp_path), "--policy", str(file)],
        "recipe": ["train", str(file)],
        "task": ["tasks", "x", "--include-path", str(tmp_path)],
    }
    assert main(commands[reader]) == 2
    output = capsys.readouterr()
    assert not output.out
    assert output.err.startswith("error: ")
    assert "hostile.yaml" in output.err
    assert output.err.count("\n") == 1
    assert len(output.err) < 600
