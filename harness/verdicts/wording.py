"""Comparisons and verdicts as people read them, wherever they do: in a terminal, a merge request, a build's log.

A sentence says whether something got better or worse; a plus or minus never has to.

Not here: whole documents (`harness.verdicts.render`), or anything decided.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from harness.reports import numbers_in_words
from harness.reports.report import Score
from harness.verdicts.compare import Comparison
from harness.verdicts.gate import Judgement, Outcome, is_beyond_floor

UNKNOWN = "–"
LESS = "↓"
LESS_IS_BETTER = f"{LESS}: less is better, so that a plus is a loss."
TOLD = 3
"""So many tasks a verdict's one sentence tells of; the others it names."""


def task(score: Score) -> str:
    """Return the name of the task or average, which says what an average weighs."""
    return score.task + {"task": " (mean over tasks)", "sample": " (mean over documents)", None: ""}[score.average]


def metric(score: Score) -> str:
    """Return the name of the metric, its filter where that says something, and a mark where less is better."""
    filtered = "" if score.filter == "none" else f" ({score.filter})"
    return score.metric + filtered + ("" if score.higher_is_better else f" {LESS}")


def number(value: float, score: Score) -> str:
    """Return a score with its unit: 67.7 %."""
    return numbers_in_words.bound(value, score) + (" %" if score.fraction else "")


def baseline(comparison: Comparison) -> str:
    """Return the baseline's number, over all documents also where not all were asked."""
    return number(comparison.score.value if comparison.stopped else comparison.baseline, comparison.score)


def candidate(comparison: Comparison) -> str:
    """Return the candidate's number; where one stopped as soon as the verdict was clear, there is none to show."""
    return UNKNOWN if comparison.stopped else number(comparison.candidate, comparison.score)


def difference(comparison: Comparison) -> str:
    """Return the difference with its sign, likewise: −34.4."""
    return UNKNOWN if comparison.stopped else numbers_in_words.change(comparison.difference, comparison.score)


def interval(comparison: Comparison) -> str:
    """Return the 95 % interval of the difference: −44.6 to −23.9."""
    if comparison.interval is None:
        return UNKNOWN
    low, high = (numbers_in_words.change(end, comparison.score) for end in comparison.interval)
    return f"{low} to {high}"


def size(comparison: Comparison) -> str:
    """Return the number of documents: 96, or 320 of 14,042."""
    of = f" of {comparison.stopped.documents:,}" if comparison.stopped else ""
    return f"{comparison.documents:,}{of}"


def lost_gained(comparison: Comparison) -> str:
    """Return on how many documents the candidate does worse, and on how many better: 41 / 8."""
    return f"{comparison.values.lost:,} / {comparison.values.gained:,}"


def probability(p: float) -> str:
    """Return a p-value: 0.034, 3e-9."""
    if p != p:
        return UNKNOWN
    if p >= 0.001:
        return f"{p:.2g}"
    base, exponent = f"{p:.0e}".split("e")
    return f"{base}e{int(exponent)}" if p else "0"


def documents(count: float) -> str:
    """Return a number of documents that would be needed, rounded up to what is known of it: 1,300."""
    if not math.isfinite(count):
        return UNKNOWN
    step = 10 ** max(math.floor(math.log10(max(count, 1))) - 1, 0)
    return f"{math.ceil(count / step) * step:,}"


def resolution(comparison: Comparison) -> str:
    """Return the resolution ratio: 0.41, enough documents from 1 on."""
    ratio = comparison.resolution
    if not math.isfinite(ratio):
        return UNKNOWN
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def margin(judgement: Judgement) -> str:
    """Return the margin as it is to be read beside differences: 2.0, or 0.25 (2 %)."""
    written = numbers_in_words.bound(judgement.margin, judgement.score)
    asked = judgement.terms.margin
    return f"{written} ({100 * asked.size:g} %)" if asked.relative else written


def moved(comparison: Comparison) -> str:
    """Return what happened to a number, in words: `lost 34.4 points`, or `lost 2.1 to 12.0 points`."""
    score = comparison.score
    if comparison.stopped is None:
        ends = [difference(comparison)]
    elif comparison.interval is None:
        return "was stopped"
    else:
        ends = sorted((numbers_in_words.change(end, score) for end in comparison.interval), key=_size)
    directions = {end[0] for end in ends if end[0] in "+−"}
    if not directions:
        return "did not change"
    unit = " points" if score.fraction or score.higher_is_better else ""
    aside = "" if score.higher_is_better else ", where less is better"
    if len(directions) > 1:
        return f"changed by {interval(comparison)}{unit}{aside}"
    verbs = ("lost", "gained") if score.higher_is_better else ("fell by", "rose by")
    return f"{verbs['+' in directions]} {' to '.join(end.lstrip('+−') for end in ends)}{unit}{aside}"


def _size(change: str) -> float:
    return float(change.lstrip("+−").replace(",", ""))


def evidence(comparison: Comparison) -> str:
    """Return what a difference rests on: its interval, and of how many documents it is."""
    if comparison.stopped:
        sure = "95 % confidence sequence"
    else:
        sure = f"95 % interval {interval(comparison)}" if comparison.interval else "no interval"
    units = "document" if comparison.documents == 1 and not comparison.stopped else "documents"
    clustered = "" if comparison.clusters is None else f" in {comparison.clusters:,} clusters"
    return f"{sure}, {size(comparison)} {units}{clustered}"


def sentence(judgement: Judgement) -> str:
    """Return what is to be said of one number: what happened, how sure that is, and what would settle it."""
    comparison, score = judgement.comparison, judgement.score
    if judgement.verdict == "regressed" and is_beyond_floor(comparison, judgement.terms):
        return f"{score.task} is at {number(comparison.candidate, score)}, {judgement.reason} ({evidence(comparison)})"
    said = f"{score.task} {moved(comparison)} ({evidence(comparison)}"
    if judgement.verdict == "regressed":
        return f"{said}, p = {probability(judgement.loss)})"
    return f"{said}): {judgement.reason}{settling(judgement)}"


def needed(judgement: Judgement) -> float:
    """Return how many documents would settle what is open; NaN where nothing is, or no number of them would."""
    open_ = judgement.verdict == "inconclusive" and judgement.tests.non_inferiority > judgement.terms.alpha
    return judgement.needed if open_ and judgement.needed > judgement.comparison.documents else math.nan


def settling(judgement: Judgement) -> str:
    """Return the same for the end of a sentence; nothing where there is nothing to say."""
    count = needed(judgement)
    return f"; about {documents(count)} documents would settle it" if math.isfinite(count) else ""


def signs(judgement: Judgement) -> list[str]:
    """Return the signs that the sentence on a number does not name itself."""
    return [sign.text for sign in judgement.signs if sign.text != judgement.reason]


def told(outcome: Outcome) -> list[Judgement]:
    """Return the numbers that the verdict is about: those that regressed, else those that did not pass, else all."""
    judged = [one for one in outcome.judgements if one.judged]
    if outcome.verdict == "regressed":
        return [one for one in outcome.judgements if one.verdict == "regressed"]
    return [one for one in judged if one.verdict == outcome.verdict]


def verdict(outcome: Outcome) -> str:
    """Return the verdict in one sentence that names what it is about."""
    found = told(outcome)
    if outcome.verdict == "passed":
        return f"passed: a loss of the margin is ruled out on {_listed([one.score.task for one in found])}"
    said = "; ".join(sentence(one) for one in found[:TOLD])
    more = [one.score.task for one in found[TOLD:]]
    rest = f"; and {len(more)} more: {_listed(more)}" if more else ""
    allowed = " (allowed by the policy)" if outcome.verdict == "inconclusive" and outcome.exit_code == 0 else ""
    return f"{outcome.verdict}{allowed}: {said}{rest}"


def shown(outcome: Outcome) -> list[Judgement]:
    """Return the numbers that a table shows: what is judged, and what is watched where it regressed."""
    return [one for one in outcome.judgements if one.judged or one.verdict == "regressed"]


def watched(outcome: Outcome) -> str:
    """Return what is to be said of the tasks that are watched and not shown; empty where there are none."""
    quiet = [one for one in outcome.judgements if not one.judged and one.verdict != "regressed"]
    if not quiet:
        return ""
    named = f"{len(quiet):,} member tasks" if len(quiet) > 1 else "1 member task"
    return f"watched, too: {named} of these averages, without a real loss that may be the margin or more"


def reading(outcome: Outcome) -> str:
    """Return what a gate that stops early has read; empty where complete reports were compared."""
    read = outcome.reading
    if read is None:
        return ""
    documents = f"{read.documents:,} of {read.of_documents:,} documents"
    tokens = f" and {100 * read.tokens / read.of_tokens:.0f} % of the tokens" if read.of_tokens else ""
    return f"stopped after {documents}{tokens}" if read.documents < read.of_documents else f"read all {documents}"


def remarks(outcome: Outcome) -> Iterator[str]:
    """Yield what is to be said under a table: signs, documents seen in training, what is only watched, notes."""
    for one in outcome.judgements:
        yield from (f"{one.score.task}: {sign.text}" for sign in one.signs)
    yield from (seen for one in shown(outcome) if (seen := tainted(one.comparison)))
    yield from (line for one in shown(outcome) if (line := noise(one)))
    yield from (line for line in (watched(outcome), reading(outcome)) if line)
    yield from (f"note: {note}" for note in outcome.notes)


def noise(judgement: Judgement) -> str:
    """Return what is to be said where the checkpoints differ no more than one differs from itself; else nothing."""
    comparison, rate = judgement.comparison, judgement.noise
    flips = comparison.values.lost + comparison.values.gained
    share = flips / comparison.documents
    if rate is None or not flips or share > rate:
        return ""
    return (
        f"{judgement.score.task}: {flips:,} of {comparison.documents:,} documents differ ({share:.1%}), no more than "
        f"where one checkpoint is asked again ({rate:.1%})"
    )


def tainted(comparison: Comparison) -> str:
    """Return what is to be said of documents that were seen in training; empty where there are none."""
    apart = comparison.tainted
    if apart is None:
        return ""
    seen = f"{numbers_in_words.counted(apart.documents, 'document')} seen in training, not judged"
    change = f"{baseline(apart)} → {candidate(apart)}, {difference(apart)} (95 % interval {interval(apart)})"
    return f"{apart.score.task}: {seen}: there {change}"


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
