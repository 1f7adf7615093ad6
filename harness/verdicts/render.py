"""A gate's outcome in formats for machines and other pages: JSON, JUnit XML, Markdown, GitHub annotations.

Every document that is returned can be encoded as UTF-8 and contains only what its format allows, whatever the names of
tasks and the answers contain.

Not here: the texts (`harness.verdicts.texts`), the terminal's tables, or writing files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from xml.etree import ElementTree as Tree

import harness
from harness.reports.checkpoint_info import CheckpointInfo
from harness.reports.ledger import Ledger
from harness.reports.report import Manifest, Score
from harness.verdicts import comparable
from harness.verdicts.compare import Comparison, Refusal
from harness.verdicts.gate import Judgement, Outcome
from harness.verdicts.policy import Margin
from harness.verdicts.texts import JudgementText, OutcomeText

FORMAT = 1
"""Version of the JSON documents of gates and comparisons. It rises when a key changes its meaning or is removed."""

# --- JSON -------------------------------------------------------------------------------------------------------------


def as_json(text: OutcomeText) -> str:
    """Return a gate's outcome as JSON, each number in its metric's own unit (docs/gate.md lists the keys)."""
    outcome = text.outcome
    return _json(
        {
            "format": FORMAT,
            "harness": harness.__version__,
            "verdict": outcome.verdict,
            "exit_code": outcome.exit_code,
            "sentence": text.sentence,
            "baseline": _checkpoint(outcome.baseline),
            "candidate": _checkpoint(outcome.candidate),
            "policy": _policy(outcome),
            "reading": None if outcome.reading is None else outcome.reading._asdict(),
            "units": [_judgement(item.judgement, item.sentence) for item in text.judgements],
            "notes": list(outcome.notes),
        }
    )


def compared_as_json(baseline: Manifest, compared: Iterable[tuple[Manifest, Sequence[Comparison | Refusal]]]) -> str:
    """Return the comparisons of candidates with `baseline` as a JSON document (docs/compare.md lists the keys)."""
    return _json(
        {
            "format": FORMAT,
            "harness": harness.__version__,
            "baseline": _checkpoint(baseline.checkpoint),
            "candidates": [
                {
                    **_checkpoint(candidate.checkpoint),
                    "comparisons": [_comparison(result) for result in results if isinstance(result, Comparison)],
                    "refusals": [
                        {**_score(result.score), "reason": result.reason}
                        for result in results
                        if isinstance(result, Refusal)
                    ],
                    "notes": [note] if (note := comparable.version_note(baseline, candidate)) else [],
                }
                for candidate, results in compared
            ],
        }
    )


def _json(content: Mapping[str, Any]) -> str:
    text = json.dumps(_finite(content), ensure_ascii=False, indent=1, allow_nan=False)
    return _without_lone_surrogates(text) + "\n"


def _finite(value: object) -> Any:
    """Return `value` with None in place of NaN and infinities (of documents needed), which JSON cannot express."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _checkpoint(info: CheckpointInfo) -> dict[str, Any]:
    return {"name": info.name, "reference": info.reference, "fingerprint": info.fingerprint}


def _policy(outcome: Outcome) -> dict[str, Any]:
    plain = outcome.policy.model_dump(mode="json", exclude={"margin", "tasks"})
    return plain | {"margin": _margin(outcome.policy.margin), "rules": len(outcome.policy.tasks)}


def _margin(margin: Margin | None) -> dict[str, Any] | None:
    return None if margin is None else {"size": margin.size, "relative": margin.relative}


def _score(score: Score) -> dict[str, Any]:
    names = ("task", "metric", "filter", "average", "higher_is_better", "fraction")
    return {name: getattr(score, name) for name in names}


def _comparison(comparison: Comparison) -> dict[str, Any]:
    # After an early stop, numbers that are biased towards the verdict, or not valid at any stopping time, are left out.
    stop = comparison.early_stop
    return {
        **_score(comparison.score),
        "baseline": comparison.score.value if stop else comparison.baseline,
        "candidate": None if stop else comparison.candidate,
        "difference": None if stop else comparison.difference,
        "interval": None if comparison.interval is None else list(comparison.interval),
        "lost": comparison.values.lost,
        "gained": comparison.values.gained,
        "p": None if stop else comparison.p_value,
        "documents": comparison.documents,
        "of_documents": stop.documents if stop else comparison.documents,
        "clusters": comparison.clusters,
        "left_out": comparison.left_out,
        "needed_to_tell": None if stop else comparison.documents_needed,
        "resolution": None if stop else comparison.resolution,
        "tainted": None if comparison.tainted is None else _comparison(comparison.tainted),
        "answers": None if comparison.answers is None else [_answers(ledger) for ledger in comparison.answers],
    }


def _answers(ledger: Ledger) -> dict[str, Any]:
    """Return, for JSON, how many of one checkpoint's answers were empty, cut, unfinished or not understood."""
    counts = [{"number": count.number, "of": count.total, "text": count.text} for count in ledger.counts]
    return {"answers": ledger.answers, "doubtful": ledger.is_doubtful, "counts": counts}


def _judgement(judgement: Judgement, sentence: str) -> dict[str, Any]:
    return {
        **_comparison(judgement.comparison),
        "judged": judgement.is_judged,
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "sentence": sentence,
        "margin": judgement.margin,
        "alpha": judgement.terms.alpha,
        "floor": judgement.terms.floor,
        "minimum": judgement.terms.minimum,
        "inconclusive": judgement.terms.inconclusive,
        "p_non_inferiority": judgement.tests.p_non_inferiority,
        "p_loss": judgement.tests.p_loss,
        "p_loss_corrected": judgement.p_loss_corrected,
        "needed_to_settle": None if judgement.comparison.early_stop else judgement.documents_needed,
        "noise": judgement.noise,
        "signs": [sign._asdict() for sign in judgement.signs],
    }


# --- JUnit ------------------------------------------------------------------------------------------------------------

Status = Literal["failure", "error", "skipped", ""]
"""The XML element that marks a JUnit test case that did not pass; empty if the test case passed."""


def as_junit(text: OutcomeText, at: datetime) -> str:
    """Return the outcome as JUnit XML, with a test case for each row of the gate's table. `at` is the gate's time.

    A regression is a `failure`. An inconclusive score is an `error` ("could not be tested"). GitLab counts errors
    separately, Jenkins counts them as failures, and both show them in red. If the policy allows inconclusive scores,
    they are `skipped`, which is not red. The document uses only what both Jenkins's and Ant's schemas allow.
    """
    outcome = text.outcome
    statuses = [_status(row.judgement) for row in text.rows]
    suite = Tree.Element(
        "testsuite",
        {
            "name": _xml(f"harness gate {outcome.candidate.name} against {outcome.baseline.name}"),
            "tests": str(len(statuses)),
            "failures": str(statuses.count("failure")),
            "errors": str(statuses.count("error")),
            "skipped": str(statuses.count("skipped")),
            "time": "0",
            "timestamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": "localhost",
        },
    )
    properties = Tree.SubElement(suite, "properties")
    for name, value in _properties(outcome).items():
        Tree.SubElement(properties, "property", {"name": name, "value": _xml(value)})
    suite.extend(_test_case(row, status) for row, status in zip(text.rows, statuses, strict=True))
    doubts = (line for row in text.rows for line in row.doubts)
    lines = (text.sentence, *doubts, text.watched, *outcome.notes)
    Tree.SubElement(suite, "system-out").text = _xml("\n".join(line for line in lines if line))
    Tree.SubElement(suite, "system-err").text = ""
    Tree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Tree.tostring(suite, encoding="unicode") + "\n"


def _properties(outcome: Outcome) -> dict[str, str]:
    return {
        "verdict": outcome.verdict,
        "baseline": outcome.baseline.fingerprint,
        "candidate": outcome.candidate.fingerprint,
        "alpha": f"{outcome.policy.alpha:g}",
    }


def _status(judgement: Judgement) -> Status:
    if judgement.verdict == "inconclusive":
        return "error" if judgement.terms.inconclusive == "block" else "skipped"
    return "failure" if judgement.verdict == "regressed" else ""


def _test_case(row: JudgementText, status: Status) -> Tree.Element:
    name = f"{row.score.task}: {row.score.metric}"
    case = Tree.Element("testcase", {"name": _xml(name), "classname": "harness.gate", "time": "0"})
    if status:
        details = (row.sentence, *row.signs, *row.doubts, row.tainted)
        mark = Tree.SubElement(case, status, {"message": _xml(row.sentence), "type": row.judgement.verdict})
        mark.text = _xml("\n".join(line for line in details if line))
    return case


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even as a reference: control characters, lone surrogates."""


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


# --- Markdown ---------------------------------------------------------------------------------------------------------


def as_markdown(text: OutcomeText) -> str:
    """Return the outcome as Markdown for a merge request or a build's summary: the verdict, then its reasons."""
    outcome = text.outcome
    parts = [
        f"**{outcome.verdict}**{_text(text.sentence).removeprefix(outcome.verdict)}",
        f"{_code(outcome.candidate.name)} against {_code(outcome.baseline.name)}, {_settings(outcome)}.",
        "\n".join(_table(text.rows)),
        text.direction,
        "\n".join(f"- {_text(line)}" for line in text.remarks),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _settings(outcome: Outcome) -> str:
    rules = len(outcome.policy.tasks)
    return f"alpha {outcome.policy.alpha:g}" + (f", {rules} rule{'s' * (rules > 1)} by task" if rules else "")


def _table(rows: Iterable[JudgementText]) -> Iterator[str]:
    yield (
        "| task | metric | baseline | candidate | difference | 95 % interval | lost / gained | documents | margin "
        "| verdict |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|---|"
    for row in rows:
        score, verdict = row.score, row.judgement.verdict
        cells = (
            _code(score.task),
            _code(score.metric),
            score.baseline,
            score.candidate,
            score.difference,
            score.interval,
            f"{score.lost} / {score.gained}",
            score.documents,
            row.margin,
            f"{f'**{verdict}**' if verdict == 'regressed' else verdict}: {_text(row.reason)}",
        )
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


_MARKUP = re.compile(r"([\\`*_{}\[\]~#])")


def _text(text: str) -> str:
    """Return `text` as Markdown that displays it literally: no markup, HTML, formula, emoji, mention or issue link."""
    plain = _MARKUP.sub(r"\\\1", _line(text)).replace("&", "&amp;").replace("<", "&lt;")
    # A zero-width space breaks what would be a mention, or the name of an emoji.
    plain = re.sub(r"([@#!])(?=\S)|(:)(?=[\w+\\-]+:)", "\\g<0>\u200b", plain)
    return plain.replace("$", r"<span>\$</span>")  # GitHub's advice; two bare dollar signs would be a formula


def _code(text: str) -> str:
    """Return `text` as a code span, in which nothing is markup."""
    plain = _line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    pad = " " if plain.startswith("`") or plain.endswith("`") or not plain.strip() else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def _line(text: str) -> str:
    return " ".join(_xml(text).split())


# --- annotations ------------------------------------------------------------------------------------------------------


def as_annotations(text: OutcomeText) -> list[str]:
    """Return GitHub's workflow commands: an error or warning for each score that did not pass, else one notice.

    Format and escapes: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands and
    `escapeData`, `escapeProperty` in actions/toolkit, packages/core/src/command.ts.
    """
    commands = []
    for row in sorted(text.rows, key=lambda row: row.judgement.verdict != "regressed"):  # GitHub shows the first ten
        judgement = row.judgement
        blocks = judgement.verdict == "regressed" or judgement.terms.inconclusive == "block"
        if judgement.verdict != "passed":
            title = f"{judgement.score.task}: {judgement.verdict}"
            details = "; ".join([row.sentence, *row.signs, *row.doubts])
            commands.append(_command("error" if blocks else "warning", title, details))
        elif row.signs or row.doubts:
            commands.append(_command("warning", judgement.score.task, "; ".join([*row.signs, *row.doubts])))
    return commands or [_command("notice", "harness gate", text.sentence)]


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_escaped(title, ':,')}::{_escaped(message)}"


def _escaped(text: str, also: str = "") -> str:
    for mark in f"%\r\n{also}":  # the percent sign first, because the other escapes contain it
        text = text.replace(mark, f"%{ord(mark):02X}")
    return _xml(text)


def _without_lone_surrogates(text: str) -> str:
    """Return `text` with lone surrogates, which UTF-8 cannot encode, replaced by their JSON escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
