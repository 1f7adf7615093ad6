"""A gate's outcome in each format, parsed by its readers: json, an XML parser, markdown-it, GitHub's runner."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from xml.etree import ElementTree as Tree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.verdicts import render, wording
from harness.verdicts.compare import Comparison, EarlyStop, Refusal
from harness.verdicts.gate import Outcome, Reading
from harness.verdicts.policy import Margin, Policy, Rule, Terms
from harness.verdicts.signs import Sign
from harness.verdicts.stats.means import Differences, Interval
from harness.verdicts.texts import OutcomeText
from support import answered
from support.invented_verdicts import SIGN, comparison, judgement, outcome, score

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALLOWED = Terms(Margin(2), 0.05, None, 1, "allow")
MIXED = outcome(
    judgement("law", "regressed", lost=40, gained=6, signs=(SIGN,)),
    judgement("math"),
    judgement("nli", "inconclusive", lost=3),
    judgement("adgen", "inconclusive", lost=3, terms=ALLOWED),
    replace(judgement("law_1"), is_judged=False),
    replace(judgement("law_2", "regressed", lost=30), is_judged=False),
    notes=("law: 3 documents left out because only one checkpoint answered",),
)
anything = st.text(st.characters(exclude_categories=()), max_size=12)  # halves of surrogate pairs, too


def named(task: str, sign_text: str = "a sign", note: str = "a note") -> Outcome:
    signs = (Sign("constant answers", sign_text),)
    return outcome(
        judgement(task, "regressed", lost=30, signs=signs),
        judgement(task, "inconclusive", reason=sign_text),
        notes=(note,),
    )


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_json_holds_every_number_in_its_own_unit() -> None:
    document = json.loads(render.as_json(OutcomeText.of(MIXED)))
    assert (document["format"], document["verdict"], document["exit_code"]) == (1, "regressed", 1)
    assert document["candidate"] == {
        "name": "cand",
        "reference": "models/cand",
        "fingerprint": answered.checkpoint("cand").fingerprint,
    }
    assert [unit["task"] for unit in document["units"]] == ["law", "math", "nli", "adgen", "law_1", "law_2"]
    law = document["units"][0]
    assert {key: law[key] for key in ("baseline", "candidate", "difference", "lost", "gained", "documents")} == {
        "baseline": pytest.approx(0.6),
        "candidate": pytest.approx(0.26),
        "difference": pytest.approx(-0.34),
        "lost": 40,
        "gained": 6,
        "documents": 100,
    }
    assert law["interval"] == pytest.approx(list(comparison(score(), 40, 6).interval or ()))
    assert (law["p_loss_corrected"], law["margin"], law["alpha"]) == (3.2e-9, 0.02, 0.05)
    assert law["signs"] == [{"name": "constant answers", "text": SIGN.text}]
    assert [unit["judged"] for unit in document["units"]] == [True] * 4 + [False] * 2
    assert document["units"][3]["inconclusive"] == "allow"
    assert document["notes"] == list(MIXED.notes)
    assert document["reading"] is None


def test_json_keeps_the_direction_of_less_is_better_metrics() -> None:
    bits = score("text", metric="bits", value=2.0, higher_is_better=False, fraction=False)
    worse = Comparison(bits, Differences(np.array([-1.5, -2.5]), np.array([-2.0, -3.5])), 2, 0)
    unit = json.loads(render.as_json(OutcomeText.of(outcome(judgement("text", comparison=worse)))))["units"][0]
    assert (unit["baseline"], unit["candidate"], unit["difference"]) == (2.0, 2.75, 0.75)
    assert (unit["higher_is_better"], unit["lost"], unit["gained"]) == (False, 2, 0)


def test_json_has_null_for_nan_and_infinity() -> None:
    item = judgement(documents_needed=float("inf"), p_loss_corrected=float("nan"))
    text = render.as_json(OutcomeText.of(outcome(item)))
    unit = json.loads(text, parse_constant=pytest.fail)["units"][0]
    assert (unit["needed_to_settle"], unit["p_loss_corrected"]) == (None, None)


def test_json_holds_policy_reading_and_tainted_documents() -> None:
    policy = Policy(margin=Margin(3), tasks=(Rule(match="law*"),))
    tainted = replace(comparison(score("law"), 1, 1), tainted=comparison(score("law"), 0, 10, n=20, right=10))
    item = outcome(judgement("law", comparison=tainted), policy=policy, reading=Reading(1, 2, 3, 4))
    document = json.loads(render.as_json(OutcomeText.of(item)))
    assert document["policy"]["margin"] == {"size": 3.0, "relative": False}
    assert document["policy"]["rules"] == 1
    assert document["reading"] == {"documents": 1, "of_documents": 2, "tokens": 3, "of_tokens": 4}
    assert document["units"][0]["tainted"]["documents"] == 20


def test_numbers_biased_by_early_stopping_are_in_no_file() -> None:
    item = comparison(score("law"), 30, 2, n=320, right=200, early_stop=EarlyStop(Interval(-0.12, -0.02), 14_042))
    result = outcome(judgement("law", "regressed", comparison=item))
    unit = json.loads(render.as_json(OutcomeText.of(result)))["units"][0]
    assert unit["interval"] == [-0.12, -0.02]
    assert (unit["documents"], unit["of_documents"], unit["baseline"]) == (320, 14_042, 0.6)
    for key in ("candidate", "difference", "p", "needed_to_tell", "resolution", "needed_to_settle"):
        assert unit[key] is None
    assert rows(render.as_markdown(OutcomeText.of(result)))[1][2:8] == [
        "60.0 %",
        "–",
        "–",
        "−12.0 to −2.0",
        "30 / 2",
        "320 of 14,042",
    ]


def test_comparisons_and_refusals_are_json_too(tmp_path: Path) -> None:
    names = ("base", "cand")
    manifests = {name: answered.report(tmp_path, name, {"law": answered.Answers([1, 0])}).manifest for name in names}
    manifests["cand"] = manifests["cand"].model_copy(update={"harness": "0.2.0"})
    text = render.compared_as_json(
        manifests["base"],
        [(manifests["cand"], [comparison(score("law"), 40, 6), Refusal(score("math"), "other prompts")])],
    )
    (candidate,) = json.loads(text)["candidates"]
    assert candidate["name"] == "cand"
    assert candidate["comparisons"][0]["difference"] == pytest.approx(-0.34)
    assert candidate["comparisons"][0]["p"] == pytest.approx(comparison(score("law"), 40, 6).p_value)
    assert [note.partition(": ")[2] for note in candidate["notes"]] == ["harness 0.2.0 instead of 0.1.0"]
    assert (candidate["refusals"][0]["task"], candidate["refusals"][0]["reason"]) == ("math", "other prompts")


def test_every_key_is_explained_and_every_key_explained_is_there() -> None:
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    whole, unit = (
        {key for row in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for key in re.findall("`(\\w+)`", row)}
        for table in re.search(r"\n(\| key \|.*?\n)\n(\| key of a unit \|.*?\n)\n", page, re.DOTALL).groups()  # type: ignore[union-attr]
    )
    document = json.loads(render.as_json(OutcomeText.of(MIXED)))
    assert whole == set(document)
    assert unit == set(document["units"][0])


def test_every_sign_is_explained() -> None:
    code = (ROOT / "harness" / "verdicts" / "signs.py").read_text(encoding="utf-8")
    names = set(re.findall(r"(?:Sign|_Failure)\(\s*\"([a-z ]+)\"", code))
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    assert len(names) >= 5
    assert names == set(
        re.findall(r"^\| `([a-z ]+)` \|", page.partition("| sign |")[2].partition("\n\n")[0], re.MULTILINE)
    )


@given(anything, anything)
@settings(max_examples=settings.default.max_examples, deadline=None)
def test_json_round_trips_any_name(task: str, sign_text: str) -> None:
    text = render.as_json(OutcomeText.of(named(task, sign_text)))
    unit = json.loads(text.encode("utf-8"))["units"][0]
    assert unit["task"] == task.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # pairs joined


# --- JUnit ------------------------------------------------------------------------------------------------------------

# What both schemas in use allow, Jenkins's (jenkinsci/xunit-plugin, junit-10.xsd) and Ant's (windyroad/JUnit-Schema,
# JUnit.xsd): required attributes, optional attributes and the order of children of each element.
ALLOWS: dict[str, tuple[set[str], set[str], str]] = {
    "testsuite": (
        {"name", "timestamp", "hostname", "tests", "failures", "errors", "time"},
        {"skipped"},
        r"properties (testcase )*system-out system-err ",
    ),
    "properties": (set(), set(), r"(property )*"),
    "property": ({"name", "value"}, set(), ""),
    "testcase": ({"name", "classname", "time"}, set(), r"((skipped|error|failure) )?"),
    "failure": ({"type"}, {"message"}, ""),
    "error": ({"type"}, {"message"}, ""),
    "skipped": (set(), {"type", "message"}, ""),
    "system-out": (set(), set(), ""),
    "system-err": (set(), set(), ""),
}


def junit(result: Outcome) -> Tree.Element:
    """Return the parsed document after checking it against the schemas."""
    suite = Tree.fromstring(render.as_junit(OutcomeText.of(result), NOW).encode("utf-8"))
    for element in suite.iter():
        must, may, children = ALLOWS[element.tag]
        assert must <= set(element.attrib) <= must | may, element.tag
        assert re.fullmatch(children, "".join(f"{child.tag} " for child in element)), element.tag
    for name in ("tests", "failures", "errors", "skipped"):
        assert suite.attrib[name].isdigit()
    return suite


def test_junit_has_a_case_for_each_judged_or_regressed_score() -> None:
    suite = junit(MIXED)
    cases = {case.attrib["name"]: [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases == {
        "law: acc": ["failure"],
        "math: acc": [],
        "nli: acc": ["error"],
        "adgen: acc": ["skipped"],
        "law_2: acc": ["failure"],
    }
    assert {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "2",
        "errors": "1",
        "skipped": "1",
    }
    (failure, _) = suite.iter("failure")
    assert failure.attrib["message"] == wording.sentence(MIXED.judgements[0])
    assert SIGN.text in (failure.text or "")
    assert wording.verdict(MIXED) in (suite.findtext("system-out") or "")


def test_junit_times_are_utc() -> None:
    local_time = datetime(2026, 1, 2, 11, 4, 5, tzinfo=timezone(timedelta(hours=8)))
    assert 'timestamp="2026-01-02T03:04:05"' in render.as_junit(OutcomeText.of(MIXED), local_time)


def test_junit_replaces_characters_that_xml_cannot_hold() -> None:
    (failure,) = junit(outcome(judgement('a<b>&"c"\x00\x1b\ud800 中', "regressed"))).iter("failure")
    assert failure.attrib["message"].startswith('a<b>&"c"\N{REPLACEMENT CHARACTER}')
    assert "中 " in failure.attrib["message"]


@given(anything, anything, anything)
@settings(max_examples=settings.default.max_examples, deadline=None)
def test_junit_can_be_parsed_whatever_the_texts(task: str, sign_text: str, note: str) -> None:
    assert [case.find("failure") is not None for case in junit(named(task, sign_text, note)).iter("testcase")] == [
        True,
        False,
    ]


# --- Markdown ---------------------------------------------------------------------------------------------------------


def html(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


def rows(text: str) -> list[list[str]]:
    """Return the table's cells as text."""
    body = re.findall(r"<tr>(.*?)</tr>", html(text), re.DOTALL)
    return [[re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)] for row in body]


def test_markdown_begins_with_the_verdict_and_shows_its_evidence() -> None:
    text = render.as_markdown(OutcomeText.of(MIXED))
    assert text.startswith("**regressed**: law lost 34.0 points (95 % interval")
    head, law, math, *others = rows(text)
    assert head[:5] == ["task", "metric", "baseline", "candidate", "difference"]
    assert law[:5] == ["law", "acc", "60.0 %", "26.0 %", "−34.0"]
    assert law[6:] == ["40 / 6", "100", "2.0", "regressed: a real loss"]
    assert math[-1] == "passed: a loss as large as the margin is ruled out"
    assert [row[0] for row in others] == ["nli", "adgen", "law_2"]
    assert "1,300 documents would settle it" in others[0][-1]
    assert f"law: {SIGN.text}" in re.sub("<[^>]*>|&quot;", "", html(text)).replace("’", "'")
    assert "also watched, without a real loss that may reach the margin: 1 member task" in text


def test_markdown_explains_the_sign_if_less_is_better() -> None:
    bits = score("text", metric="bits", value=2.0, higher_is_better=False, fraction=False)
    worse = Comparison(bits, Differences(np.array([-2.0, -2.0]), np.array([-2.5, -2.5])), 2, 0)
    text = render.as_markdown(OutcomeText.of(outcome(judgement("text", "regressed", comparison=worse))))
    assert "less is better, so a plus is a loss" in text
    assert rows(text)[1][1] == "bits ↓"
    assert "less is better" not in render.as_markdown(OutcomeText.of(outcome(judgement("law"))))


@pytest.mark.parametrize(
    "text",
    ["a|b", "<img src=x>", "*b* _i_ `c` ~~s~~", "[x](http://y)", "a``b", "`", "&lt;b&gt;", "# h", r"a\|b", "\n\n# x"],
)
def test_markdown_displays_text_literally(text: str) -> None:
    markdown = render.as_markdown(OutcomeText.of(named(text, text, text)))
    cells = rows(markdown)
    assert {len(row) for row in cells} == {10}
    plain = " ".join(text.split())
    assert unescaped(cells[1][0]).strip() == plain
    assert unescaped(cells[2][-1]).startswith(f"inconclusive: {plain}")
    assert set(re.findall("<([a-z0-9]+)", html(markdown))) <= TAGS


TAGS = {"span", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "code", "ul", "li"}


def unescaped(cell: str) -> str:
    import html as entities

    return entities.unescape(cell).replace("\u200b", "")


def test_markdown_mentions_nobody_and_links_no_issue() -> None:
    markdown = render.as_markdown(OutcomeText.of(named("@team/law#1", "ask @someone about #12 and !7", "@all")))
    outside_code = re.sub("(`+).*?\\1", "", markdown)
    assert re.findall(r"[@#!]\w", outside_code) == []


def test_markdown_has_no_mathematics_and_no_emoji() -> None:
    markdown = render.as_markdown(
        OutcomeText.of(named("law", "answers '$18$' and ':white_check_mark:' to 9 of 9 documents"))
    )
    cells = html(re.sub("(`+).*?\\1", "", markdown))
    assert "<span>$</span>18<span>$</span>" in cells  # docs.github.com, "Writing mathematical expressions"
    assert cells.count("$") == cells.count("<span>$</span>")
    assert not re.search(r":[\w+-]+:", cells)
    assert ":white_check_mark:" in cells.replace("\u200b", "")


@given(anything, anything, anything)
@settings(max_examples=settings.default.max_examples, deadline=None)
def test_markdown_keeps_its_table_whatever_the_texts(task: str, sign_text: str, note: str) -> None:
    markdown = render.as_markdown(OutcomeText.of(named(task, sign_text, note)))
    markdown.encode("utf-8")
    assert [len(row) for row in rows(markdown)] == [10, 10, 10]


# --- annotations ------------------------------------------------------------------------------------------------------


def as_runner_reads(line: str) -> tuple[str, dict[str, str], str]:
    """Parse a workflow command as GitHub's runner does (actions/runner, ActionCommand.TryParseV2)."""
    assert line.startswith("::")
    head, data = line[2:].split("::", 1)
    command, _, listed = head.partition(" ")
    properties = dict(item.split("=", 1) for item in listed.split(","))
    escapes = {"%0D": "\r", "%0A": "\n", "%25": "%"}

    def plain(text: str, extra: dict[str, str]) -> str:
        return re.sub("%[0-9A-F]{2}", lambda match: {**escapes, **extra}.get(match[0], match[0]), text)

    return (
        command,
        {key: plain(value, {"%3A": ":", "%2C": ","}) for key, value in properties.items()},
        plain(data, {}),
    )


def test_annotations_are_errors_if_a_score_blocks_and_warnings_otherwise() -> None:
    commands = [as_runner_reads(line) for line in render.as_annotations(OutcomeText.of(MIXED))]
    assert [(kind, properties["title"]) for kind, properties, _ in commands] == [
        ("error", "law: regressed"),
        ("error", "law_2: regressed"),
        ("error", "nli: inconclusive"),
        ("warning", "adgen: inconclusive"),
    ]
    assert commands[0][2] == f"{wording.sentence(MIXED.judgements[0])}; {SIGN.text}"


def test_a_pass_is_one_notice() -> None:
    assert [
        as_runner_reads(line)[0]
        for line in render.as_annotations(OutcomeText.of(outcome(judgement("law"), judgement("math"))))
    ] == ["notice"]


printable = st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), include_characters="%\r\n:,"), max_size=12)


@given(printable, printable)
@settings(max_examples=settings.default.max_examples, deadline=None)
def test_the_runner_reads_annotations_unchanged(task: str, sign_text: str) -> None:
    line = render.as_annotations(OutcomeText.of(named(task, sign_text)))[0]
    assert "\n" not in line
    assert "\r" not in line
    _, properties, message = as_runner_reads(line)
    assert properties["title"] == f"{task}: regressed"
    assert message.endswith(f"; {sign_text}")
