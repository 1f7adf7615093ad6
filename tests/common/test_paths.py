"""Paths as people type them: quoted, and as patterns whose brackets may be parts of names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.common import paths


@given(st.text())
def test_a_quoted_text_is_read_again(text: str) -> None:
    match = paths.QUOTED.fullmatch(paths.quoted(text))
    assert match is not None
    assert paths.unquoted(match) == text


def test_a_part_of_a_pattern_that_exists_stands_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("exams[1]/a.jsonl", "exams[1]/b[2].jsonl", "exams1/c.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert paths.matching("exams[1]/*.jsonl") == ["exams[1]/a.jsonl", "exams[1]/b[2].jsonl"]
    assert paths.matching("./exams?/*.jsonl") == ["./exams1/c.jsonl"]
    assert paths.matching("**/c.jsonl") == ["exams1/c.jsonl"]
    assert paths.matching(f"{tmp_path}/exams[1]/b[*") == [f"{tmp_path}/exams[1]/b[2].jsonl"]
    assert not paths.is_pattern("exams[1]/b[2].jsonl")
    assert paths.is_pattern("exams[2]")


@pytest.mark.parametrize("path", ["", "a" * 5000, "~no-such-user/x", "a\0b", "\ud800"])
def test_a_name_that_nothing_can_have_does_not_exist(path: str) -> None:
    assert not paths.exists(path)


@pytest.mark.parametrize("pattern", ["\ud800/*", "~\ud800/*"])
def test_a_pattern_that_no_file_system_can_hold_matches_nothing(pattern: str) -> None:
    assert paths.matching(pattern) == []
