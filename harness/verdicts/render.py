"""A gate's outcome for machines and for pages that others show: JSON, JUnit, Markdown, a build's annotations.

All are texts that UTF-8 and their format can hold, whatever a task is called or an answer said.

Not here: what sentences say (`harness.verdicts.wording`), the terminal's tables, or writing files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as Tree

import harness
from harness.reports.report import CheckpointInfo, Score
from harness.verdicts import wording
from harness.verdicts.compare import Comparison, Refusal
from harness.verdicts.gate import Judgement, Outcome

FORMAT = 1
"""Of both JSON documents; goes up where a key changes its meaning or goes."""

# --- JSON -------------------------------------------------------------------------------------------------------------


def as_json(outcome: Outcome) -> str:
    """Return the outcome as a JSON document, every number in its metric's own unit (docs/gate.md lists the keys)."""
    return _json(
        {
            "format": FORMAT,
            "harness": harness.__version__,
            "verdict": outcome.verdict,
            "exit_code": outcome.exit_code,
            "sentence": wording.verdict(outcome),
            "baseline": _checkpoint(outcome.baseline),
            "candidate": _checkpoint(outcome.candidate),
            "policy": _policy(outcome),
            "reading": None if outcome.reading is None else outcome.reading._asdict(),
            "units": [_unit(one) for one in outcome.judgements],
            "notes": list(outcome.notes),
        }
    )


def compared_as_json(
    baseline: CheckpointInfo, compared: Iterable[tuple[CheckpointInfo, Sequence[Comparison | Refusal]]]
) -> str:
    """Return how candidates compare with `baseline` as a JSON document (docs/compare.md lists the keys)."""
    return _json(
        {
            "format": FORMAT,
            "harness": harness.__version__,
            "baseline": _checkpoint(baseline),
            "candidates": [
                {
                    **_checkpoint(candidate),
                    "comparisons": [_comparison(one) for one in found if isinstance(one, Comparison)],
                    "refusals": [
                        {**_score(one.score), "reason": one.reason} for one in found if isinstance(one, Refusal)
                    ],
                }
                for candidate, found in compared
            ],
        }
    )


def _json(content: Mapping[str, Any]) -> str:
    return _sound(json.dumps(_finite(content), ensure_ascii=False, indent=1, allow_nan=False)) + "\n"


def _finite(value: Any) -> Any:
    """Return `value` with None for what is no number in JSON: NaN, and infinitely many documents needed."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _checkpoint(info: CheckpointInfo) -> dict[str, Any]:
    return {"name": info.name, "reference": info.reference, "fingerprint": info.fingerprint}


def _policy(outcome: Outcome) -> dict[str, Any]:
    plain = outcome.policy.model_dump(mode="json", exclude={"margin", "tasks"})
    return plain | {"margin": _margin(outcome.policy.margin), "rules": len(outcome.policy.tasks)}


def _margin(asked: Any) -> dict[str, Any] | None:
    return None if asked is None else {"size": asked.size, "relative": asked.relative}


def _score(score: Score) -> dict[str, Any]:
    names = ("task", "metric", "filter", "average", "higher_is_better", "fraction")
    return {name: getattr(score, name) for name in names}


def _comparison(one: Comparison) -> dict[str, Any]:
    stopped = (
        one.stopped is not None
    )  # what leans towards the verdict, or does not hold whenever one stops, is left out
    return {
        **_score(one.score),
        "baseline": one.score.value if stopped else one.baseline,
        "candidate": None if stopped else one.candidate,
        "difference": None if stopped else one.difference,
        "interval": None if one.interval is None else list(one.interval),
        "lost": one.values.lost,
        "gained": one.values.gained,
        "p": None if stopped else one.p_value,
        "documents": one.documents,
        "of_documents": one.stopped.documents if one.stopped else one.documents,
        "clusters": one.clusters,
        "left_out": one.left_out,
        "needed_to_tell": None if stopped else one.needed,
        "resolution": None if stopped else one.resolution,
        "tainted": None if one.tainted is None else _comparison(one.tainted),
    }


def _unit(one: Judgement) -> dict[str, Any]:
    return {
        **_comparison(one.comparison),
        "judged": one.judged,
        "verdict": one.verdict,
        "reason": one.reason,
        "sentence": wording.sentence(one),
        "margin": one.margin,
        "alpha": one.terms.alpha,
        "floor": one.terms.floor,
        "minimum": one.terms.minimum,
        "inconclusive": one.terms.inconclusive,
        "p_non_inferiority": one.tests.non_inferiority,
        "p_loss": one.tests.loss,
        "p_loss_corrected": one.loss,
        "needed_to_settle": None if one.comparison.stopped else one.needed,
        "noise": one.noise,
        "signs": [sign._asdict() for sign in one.signs],
    }


# --- JUnit ------------------------------------------------------------------------------------------------------------


def as_junit(outcome: Outcome, at: datetime) -> str:
    """Return the outcome as JUnit XML, a test case for each number that is judged or regressed; `at` is when.

    A regression is a `failure`. What is inconclusive is an `error`, "could not be tested", which GitLab counts apart
    from failures and Jenkins with them, both in red; where the policy allows it, it is `skipped`, which is not. The
    document keeps to what both Jenkins's and Ant's schemas allow.
    """
    cases = [(one, _status(one)) for one in wording.shown(outcome)]
    counts = {kind: str(sum(status == kind for _, status in cases)) for kind in ("failure", "error", "skipped")}
    suite = Tree.Element(
        "testsuite",
        {
            "name": _xml(f"harness gate {outcome.candidate.name} against {outcome.baseline.name}"),
            "tests": str(len(cases)),
            "failures": counts["failure"],
            "errors": counts["error"],
            "skipped": counts["skipped"],
            "time": "0",
            "timestamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": "localhost",
        },
    )
    properties = Tree.SubElement(suite, "properties")
    for name, value in _properties(outcome).items():
        Tree.SubElement(properties, "property", {"name": name, "value": _xml(value)})
    for one, status in cases:
        suite.append(_case(one, status))
    told = (wording.verdict(outcome), wording.watched(outcome), *outcome.notes)
    Tree.SubElement(suite, "system-out").text = _xml("\n".join(line for line in told if line))
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


def _status(one: Judgement) -> str:
    if one.verdict == "inconclusive":
        return "error" if one.terms.inconclusive == "block" else "skipped"
    return "failure" if one.verdict == "regressed" else ""


def _case(one: Judgement, status: str) -> Tree.Element:
    name = f"{wording.task(one.score)}: {wording.metric(one.score)}"
    case = Tree.Element("testcase", {"name": _xml(name), "classname": "harness.gate", "time": "0"})
    if status:
        details = (wording.sentence(one), *wording.signs(one), wording.tainted(one.comparison))
        found = Tree.SubElement(case, status, {"message": _xml(wording.sentence(one)), "type": one.verdict})
        found.text = _xml("\n".join(line for line in details if line))
    return case


_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even as a reference: control characters, halves of surrogate pairs."""


def _xml(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


# --- Markdown ---------------------------------------------------------------------------------------------------------


def as_markdown(outcome: Outcome) -> str:
    """Return the outcome as Markdown for a merge request or a build's summary: the verdict, then what it rests on."""
    shown = wording.shown(outcome)
    parts = [
        f"**{outcome.verdict}**{_text(wording.verdict(outcome)).removeprefix(outcome.verdict)}",
        f"{_code(outcome.candidate.name)} against {_code(outcome.baseline.name)}, {_asked(outcome)}.",
        "\n".join(_table(shown)),
    ]
    if not all(one.score.higher_is_better for one in shown):
        parts.append(wording.LESS_IS_BETTER)
    parts.append("\n".join(f"- {_text(line)}" for line in wording.remarks(outcome)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _asked(outcome: Outcome) -> str:
    rules = len(outcome.policy.tasks)
    return f"alpha {outcome.policy.alpha:g}" + (f", {rules} rule{'s' * (rules > 1)} by task" if rules else "")


def _table(judgements: Iterable[Judgement]) -> Iterator[str]:
    yield (
        "| task | metric | baseline | candidate | difference | 95 % interval | lost / gained | documents | margin "
        "| verdict |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|---|"
    for one in judgements:
        comparison, score = one.comparison, one.score
        verdict = f"**{one.verdict}**" if one.verdict == "regressed" else one.verdict
        cells = (
            _code(wording.task(score)),
            _code(wording.metric(score)),
            wording.baseline(comparison),
            wording.candidate(comparison),
            wording.difference(comparison),
            wording.interval(comparison),
            wording.lost_gained(comparison),
            wording.size(comparison),
            wording.margin(one),
            f"{verdict}: {_text(one.reason + wording.settling(one))}",
        )
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


_MARKS = re.compile(r"([\\`*_{}\[\]~#])")


def _text(text: str) -> str:
    """Return `text` as Markdown that shows it: no markup, HTML, formula or emoji, nobody notified, no issue linked."""
    plain = _MARKS.sub(r"\\\1", _line(text)).replace("&", "&amp;").replace("<", "&lt;")
    # A space of no width ends what would be a mention, or an emoji's name.
    plain = re.sub(r"([@#!])(?=\S)|(:)(?=[\w+\\-]+:)", "\\g<0>\u200b", plain)
    return plain.replace("$", r"<span>\$</span>")  # as GitHub asks; two bare ones would be mathematics


def _code(text: str) -> str:
    """Return `text` as a code span, in which nothing is markup."""
    plain = _line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    pad = " " if plain.startswith("`") or plain.endswith("`") or not plain.strip() else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def _line(text: str) -> str:
    return " ".join(_xml(text).split())


# --- annotations ------------------------------------------------------------------------------------------------------


def as_annotations(outcome: Outcome) -> list[str]:
    """Return GitHub's workflow commands: an error or warning for each number that is not well, else one notice.

    Format and escapes: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands and
    `escapeData`, `escapeProperty` in actions/toolkit, packages/core/src/command.ts.
    """
    found = sorted(wording.shown(outcome), key=lambda one: one.verdict != "regressed")  # GitHub shows the first ten
    made = []
    for one in found:
        blocks = one.verdict == "regressed" or one.terms.inconclusive == "block"
        if one.verdict != "passed":
            said = "; ".join([wording.sentence(one), *wording.signs(one)])
            made.append(_command("error" if blocks else "warning", f"{one.score.task}: {one.verdict}", said))
        elif one.signs:
            made.append(_command("warning", one.score.task, "; ".join(wording.signs(one))))
    return made or [_command("notice", "harness gate", wording.verdict(outcome))]


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_escaped(title, ':,')}::{_escaped(message)}"


def _escaped(text: str, also: str = "") -> str:
    for mark in f"%\r\n{also}":  # the percent sign first: the others' escapes have one
        text = text.replace(mark, f"%{ord(mark):02X}")
    return _xml(text)


def _sound(text: str) -> str:
    """Return `text` with halves of surrogate pairs as the escapes that JSON has for them, which UTF-8 has not."""
    return text.encode("utf-8", "backslashreplace").decode()
