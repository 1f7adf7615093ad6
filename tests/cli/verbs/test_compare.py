"""`harness compare`: tables, flips with both answers, JSON, and scores that cannot be compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.common import console
from harness.reports.report import Report
from support.answered import Answers, report


def call(*words: Any) -> int:
    return main(["compare", *map(str, words)])


@pytest.fixture
def two(tmp_path: Path) -> tuple[Report, Report]:
    """Reports on three tasks; of six documents of law, the candidate loses one and gains two."""
    targets, before, after = list("ABCABC"), list("ABBBBC"), list("ABCABD")
    law = {"targets": targets, "documents": "uvwxyz"}
    base = report(
        tmp_path,
        "base",
        {
            "law": Answers([1, 1, 0, 0, 1, 1], predictions=before, more={"abstention": [0, 0, 0, 0, 0, 1]}, **law),
            "text": Answers([2.0, 3.0], "bits", higher_is_better=False, fraction=False),
            "math": Answers([1, 0]),
        },
    )
    cand = report(
        tmp_path,
        "cand",
        {
            "law": Answers([1, 1, 1, 1, 1, 0], predictions=after, more={"abstention": [0, 0, 0, 0, 1, 1]}, **law),
            "text": Answers([2.5, 2.75], "bits", higher_is_better=False, fraction=False),
            "math": Answers([1, 0], prompt="Think. "),
        },
    )
    return base, cand


def test_each_row_has_both_numbers_and_their_difference(
    two: tuple[Report, Report], capsys: pytest.CaptureFixture[str]
) -> None:
    base, cand = two
    assert call(base.folder, cand.folder) == 0
    out = capsys.readouterr().out
    assert re.match(r"cand \(\w{12}\) against base \(\w{12}\)\n", out)
    assert re.search(r"law +│ acc +│ +66\.7 % │ +83\.3 % │ +\+16\.7 │ +−[\d.]+ to \+[\d.]+ │ +1 │ +2 │ +6 │", out)
    assert re.search(r"text +│ bits ↓ +│ +2\.500 │ +2\.625 │ +\+0\.125 │", out)
    assert "↓: less is better, so a plus is a loss." in out
    assert "math, acc: not comparable: different prompts of 2 of 2 documents" in out
    assert "abstention" not in out


def test_all_shows_every_metric(two: tuple[Report, Report], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(two[0].folder, two[1].folder, "--all") == 0
    assert re.search(r"law +│ abstention ↓ +│ +16\.7 % │ +33\.3 % │ +\+16\.7 │", capsys.readouterr().out)


def test_samples_lists_the_flips_with_both_answers(
    two: tuple[Report, Report], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(two[0].folder, two[1].folder, "--samples", "--task", "law") == 0
    out = capsys.readouterr().out
    assert "law, acc: 1 lost, 2 gained" in out
    shown = out[out.index("1 lost") :]
    assert re.findall(r"^document (\d): (lost|gained)$", shown, re.MULTILINE) == [
        ("5", "lost"),
        ("2", "gained"),
        ("3", "gained"),
    ]
    first = shown[: shown.index(": gained")]
    assert "Question z of law?\nexpected C\nbase (1) C\ncand (0) D\n" in first
    assert call(two[0].folder, two[1].folder, "--samples", "--task", "law", "--show", "1") == 0
    assert "… 2 more: raise --show to see them" in capsys.readouterr().out


def test_flips_of_an_average_are_shown_per_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    averages = {"averages": {"exam": ("task", ["law", "logic"])}}
    before = report(
        tmp_path, "was", {"law": Answers([1, 0]), "logic": Answers([1, 1]), "nli": Answers([1])}, **averages
    )
    after = report(tmp_path, "now", {"law": Answers([1, 1]), "logic": Answers([0, 1]), "nli": Answers([0])}, **averages)
    assert call(before.folder, after.folder, "--samples", "--task", "exam") == 0
    out = capsys.readouterr().out
    assert re.findall(r"(\w+), acc: (\d) lost, (\d) gained", out) == [("law", "0", "1"), ("logic", "1", "0")]


def test_names_and_answers_are_printed_without_markup_or_emoji(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = report(tmp_path, "was", {":smile:": Answers([1], predictions=["[red]:cat:"])})
    after = report(tmp_path, "now", {":smile:": Answers([0], predictions=["x[/]"])})
    assert call(before.folder, after.folder, "--samples") == 0
    out = capsys.readouterr().out
    assert "│ :smile: │" in out
    assert "was (1) [red]:cat:\nnow (0) x[/]\n" in out


def test_flips_follow_the_metrics_direction(two: tuple[Report, Report], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(two[0].folder, two[1].folder, "--samples", "--task", "text") == 0
    out = capsys.readouterr().out
    assert "text, bits: 1 lost, 1 gained" in out
    assert re.findall(r"^document (\d): (lost|gained)$", out, re.MULTILINE) == [("0", "lost"), ("1", "gained")]


def test_flips_are_matched_by_document_not_by_position(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = report(tmp_path, "base", {"law": Answers([1, 0, 1, 1], documents="abcd", predictions=list("wxyz"))})
    cand = report(tmp_path, "cand", {"law": Answers([0, 1, 0], documents="dab", predictions=list("ZWX"))})
    assert call(base.folder, cand.folder, "--samples") == 0
    out = capsys.readouterr().out
    assert "law: 1 documents left out" in out.replace("1 document left", "1 documents left")
    assert "Question d of law?\nexpected A\nbase (1) z\ncand (0) Z\n" in out


def test_several_candidates_each_get_a_table_and_json_holds_them_all(
    two: tuple[Report, Report], capsys: pytest.CaptureFixture[str]
) -> None:
    base, cand = two
    assert call(base.folder, cand.folder, base.folder, "--json", "-") == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert [candidate["name"] for candidate in result["candidates"]] == ["cand", "base"]
    assert result["candidates"][0]["refusals"][0]["task"] == "math"
    assert [comparison["difference"] for comparison in result["candidates"][1]["comparisons"]] == [0.0, 0.0, 0.0]
    assert err.count(" against ") == 2


def test_in_a_narrow_terminal_no_number_is_cut(
    two: tuple[Report, Report], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "PIPE_WIDTH", 80)
    assert call(two[0].folder, two[1].folder) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines() if line[:1] in "┃│") <= 80
    assert "…" not in out
    assert re.search(r"│ law +│ +66\.7 % │ +83\.3 % │ +\+16\.7 │ +6 │", out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{base}", "name a baseline and its candidates"),
        ("", "name a baseline and its candidates"),
        ("{base} {cand} --model x --model y", "name a baseline and its candidates"),
        ("--model x --tasks law", "name a baseline and its candidates"),
        ("--model x --model y", "--tasks NAMES"),
        ("{base} {cand} --seed 3", "--seed is for --model"),
        ("{base} nowhere", "no report in nowhere"),
        ("{base} {other}", "nothing in these reports can be compared"),
        ("{base} {cand} --task nli", "has no scores of 'nli'"),
        ("{base} {cand} --json {base}/manifest.json/x", "cannot write"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    two: tuple[Report, Report], tmp_path: Path, capfd: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    other = report(tmp_path, "other", {"math": Answers([1, 0], prompt="Think. ")})
    names = {"base": two[0].folder, "cand": two[1].folder, "other": other.folder}
    assert call(*words.format(**names).split()) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
