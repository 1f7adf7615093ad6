"""Numbers and sentences about comparisons and verdicts, the same wherever they are displayed.

A sentence says in words whether a score became better or worse; readers need not interpret a plus or minus sign.

Not here: which texts an outcome has (`harness.verdicts.texts`), document formats (`harness.verdicts.render`), or any
decision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.reports import ledger, numbers_in_words
from harness.reports.report import Score
from harness.verdicts.compare import Comparison
from harness.verdicts.gate import Judgement, Outcome, is_beyond_floor

UNKNOWN = "–"
LESS = "↓"
LESS_IS_BETTER = f"{LESS}: less is better, so a plus is a loss."
DETAILED = 3
"""The most tasks that a verdict's sentence describes in full; further tasks are only named."""


# --- numbers ----------------------------------------------------------------------------------------------------------


def task(score: Score) -> str:
    """Return the name of the task or average; for an average, also whether tasks or samples have equal weight."""
    return score.task + {"task": " (mean over tasks)", "sample": " (mean over documents)", None: ""}[score.average]


def metric(score: Score) -> str:
    """Return the name of the metric, with its filter if it has one, and an arrow if less is better."""
    filtered = "" if score.filter == "none" else f" ({score.filter})"
    return score.metric + filtered + ("" if score.higher_is_better else f" {LESS}")


def number(value: float, score: Score) -> str:
    """Return `value` in the unit of `score`: 67.7 %."""
    return numbers_in_words.bound(value, score) + (" %" if score.fraction else "")


def baseline(comparison: Comparison) -> str:
    """Return the baseline's score; after an early stop, its score over all documents."""
    value = comparison.score.value if comparison.early_stop else comparison.baseline
    return number(value, comparison.score) + _doubt(comparison, 0)


def candidate(comparison: Comparison) -> str:
    """Return the candidate's score. After an early stop, return a dash, because the mean so far would be biased."""
    if comparison.early_stop:
        return UNKNOWN
    return number(comparison.candidate, comparison.score) + _doubt(comparison, 1)


def difference(comparison: Comparison) -> str:
    """Return the difference with its sign, −34.4. After an early stop, return a dash, because it would be biased."""
    return UNKNOWN if comparison.early_stop else numbers_in_words.change(comparison.difference, comparison.score)


def interval(comparison: Comparison) -> str:
    """Return the 95 % interval of the difference: −44.6 to −23.9."""
    if comparison.interval is None:
        return UNKNOWN
    low, high = (numbers_in_words.change(end, comparison.score) for end in comparison.interval)
    return f"{low} to {high}"


def _doubt(comparison: Comparison, side: int) -> str:
    return ledger.mark(comparison.answers[side]) if comparison.answers else ""


def answers(comparison: Comparison, *, doubtful: bool = False) -> list[str]:
    """Return a sentence for each checkpoint with answers that were empty, cut or not understood.

    With `doubtful`, only checkpoints whose score is doubtful get a sentence: most of their answers are such. A sentence
    on a doubtful score is preceded by an explanation of the mark for doubtful scores.
    """
    lines = []
    for side, of_side in zip(("baseline", "candidate"), comparison.answers or (), strict=False):
        sentence = of_side.sentence(f"{task(comparison.score)}, {side}")
        if of_side.is_doubtful:
            lines.append(f"{ledger.LEGEND}: {sentence}")
        elif sentence and not doubtful:
            lines.append(sentence)
    return lines


def size(comparison: Comparison) -> str:
    """Return the number of documents compared: 96, or 320 of 14,042 after an early stop."""
    total = f" of {comparison.early_stop.documents:,}" if comparison.early_stop else ""
    return f"{comparison.documents:,}{total}"


def probability(p: float) -> str:
    """Return a p-value with up to two digits: 0.034, 3e-9."""
    if p != p:
        return UNKNOWN
    if p >= 0.001:
        return f"{p:.2g}"
    base, exponent = f"{p:.0e}".split("e")
    return f"{base}e{int(exponent)}" if p else "0"


def documents(count: float) -> str:
    """Return a number of documents needed, rounded up to two digits: 1,300."""
    if not math.isfinite(count):
        return UNKNOWN
    step = 10 ** max(math.floor(math.log10(max(count, 1))) - 1, 0)
    return f"{math.ceil(count / step) * step:,}"


def resolution(comparison: Comparison) -> str:
    """Return the resolution ratio (documents compared / documents needed), such as 0.41; from 1 on, they suffice."""
    ratio = comparison.resolution
    if not math.isfinite(ratio):
        return UNKNOWN
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def margin(judgement: Judgement) -> str:
    """Return the margin in the unit of the differences: 2.0, or 0.25 (2 %) if the policy states a percentage."""
    absolute = numbers_in_words.bound(judgement.margin, judgement.score)
    policy_margin = judgement.terms.margin
    return f"{absolute} ({100 * policy_margin.size:g} %)" if policy_margin.relative else absolute


# --- one score --------------------------------------------------------------------------------------------------------


def change(comparison: Comparison) -> str:
    """Return what happened to a score, in words: `lost 34.4 points`, or `lost 2.1 to 12.0 points`."""
    score = comparison.score
    if comparison.early_stop is None:
        ends = [difference(comparison)]
    elif comparison.interval is None:
        return "was stopped early"
    else:
        ends = sorted((numbers_in_words.change(end, score) for end in comparison.interval), key=_magnitude)
    directions = {end[0] for end in ends if end[0] in "+−"}
    if not directions:
        return "did not change"
    unit = " points" if score.fraction or score.higher_is_better else ""
    aside = "" if score.higher_is_better else ", where less is better"
    if len(directions) > 1:
        return f"changed by {interval(comparison)}{unit}{aside}"
    verbs = ("lost", "gained") if score.higher_is_better else ("fell by", "rose by")
    return f"{verbs['+' in directions]} {' to '.join(end.lstrip('+−') for end in ends)}{unit}{aside}"


def _magnitude(text: str) -> float:
    return float(text.lstrip("+−").replace(",", ""))


def evidence(comparison: Comparison) -> str:
    """Return what a difference rests on: the interval, and the numbers of documents and clusters."""
    if comparison.early_stop:
        uncertainty = "95 % confidence sequence"
    else:
        uncertainty = f"95 % interval {interval(comparison)}" if comparison.interval else "no interval"
    noun = "document" if comparison.documents == 1 and not comparison.early_stop else "documents"
    clusters = "" if comparison.clusters is None else f" in {comparison.clusters:,} clusters"
    return f"{uncertainty}, {size(comparison)} {noun}{clusters}"


def tainted(comparison: Comparison) -> str:
    """Return a sentence on the documents that were seen in training; empty without such documents."""
    separate = comparison.tainted
    if separate is None:
        return ""
    count = numbers_in_words.counted(separate.documents, "document")
    scores = (
        f"{baseline(separate)} → {candidate(separate)}, {difference(separate)} (95 % interval {interval(separate)})"
    )
    return f"{separate.score.task}: {count} seen in training, not judged; on them {scores}"


def left_out(comparison: Comparison) -> str:
    """Return a sentence on the documents that only one checkpoint answered; empty without such documents."""
    if not comparison.left_out:
        return ""
    count = numbers_in_words.counted(comparison.left_out, "document")
    return f"{comparison.score.task}: {count} left out because only one checkpoint answered"


# --- one judgement ----------------------------------------------------------------------------------------------------


def sentence(judgement: Judgement) -> str:
    """Return a sentence on one judgement: what happened, how certain that is, and what would settle it."""
    comparison, score = judgement.comparison, judgement.score
    if judgement.verdict == "regressed" and is_beyond_floor(comparison, judgement.terms):
        return f"{score.task} is at {number(comparison.candidate, score)}, {judgement.reason} ({evidence(comparison)})"
    start = f"{score.task} {change(comparison)} ({evidence(comparison)}"
    if judgement.verdict == "regressed":
        return f"{start}, p = {probability(judgement.p_loss_corrected)})"
    return f"{start}): {reason(judgement)}"


def reason(judgement: Judgement) -> str:
    """Return what the verdict rests on, and how many documents would settle an inconclusive one (if any would)."""
    count = documents_to_settle(judgement)
    hint = f"; about {documents(count)} documents would settle it" if math.isfinite(count) else ""
    return f"{judgement.reason}{hint}"


def documents_to_settle(judgement: Judgement) -> float:
    """Return how many documents would settle an inconclusive verdict. NaN for other verdicts, or if none would."""
    is_open = judgement.verdict == "inconclusive" and judgement.tests.p_non_inferiority > judgement.terms.alpha
    count = judgement.documents_needed
    return count if is_open and count > judgement.comparison.documents else math.nan


def signs(judgement: Judgement) -> list[str]:
    """Return the signs of broken answers that the judgement's sentence does not already contain."""
    return [sign.text for sign in judgement.signs if sign.text != judgement.reason]


def noise(judgement: Judgement) -> str:
    """Return a sentence if the difference between the checkpoints may be noise; otherwise empty.

    It may be noise if the checkpoints differ on no larger a share of documents than two evaluations of one checkpoint.
    """
    comparison, rate = judgement.comparison, judgement.noise
    flips = comparison.values.lost + comparison.values.gained
    share = flips / comparison.documents
    if rate is None or not flips or share > rate:
        return ""
    return (
        f"{judgement.score.task}: {flips:,} of {comparison.documents:,} documents differ ({share:.1%}), no more than "
        f"between two evaluations of one checkpoint ({rate:.1%})"
    )


# --- one outcome ------------------------------------------------------------------------------------------------------


def verdict(outcome: Outcome) -> str:
    """Return the verdict in one sentence that names the tasks on which the verdict depends."""
    decisive = _decisive_judgements(outcome)
    if outcome.verdict == "passed":
        return (
            f"passed: a loss as large as the margin is ruled out on {_listed([item.score.task for item in decisive])}"
        )
    sentences = "; ".join(sentence(item) for item in decisive[:DETAILED])
    others = [item.score.task for item in decisive[DETAILED:]]
    rest = f"; and {len(others)} more: {_listed(others)}" if others else ""
    allowed = " (allowed by the policy)" if outcome.verdict == "inconclusive" and outcome.exit_code == 0 else ""
    return f"{outcome.verdict}{allowed}: {sentences}{rest}"


def _decisive_judgements(outcome: Outcome) -> list[Judgement]:
    """Return the judgements that decided the verdict.

    These are all regressed ones if the verdict is `regressed`, otherwise the judged ones with the same verdict.
    """
    if outcome.verdict == "regressed":
        return [item for item in outcome.judgements if item.verdict == "regressed"]
    return [item for item in outcome.judgements if item.is_judged and item.verdict == outcome.verdict]


def watched(outcome: Outcome) -> str:
    """Return a sentence on the watched tasks that did not regress; empty without such tasks."""
    count = sum(not item.is_judged and item.verdict != "regressed" for item in outcome.judgements)
    if not count:
        return ""
    members = f"{count:,} member tasks" if count > 1 else "1 member task"
    return f"also watched, without a real loss that may reach the margin: {members} of these averages"


def reading(outcome: Outcome) -> str:
    """Return how much of the tasks a gate in blocks read; empty for a gate on two complete reports."""
    amount = outcome.reading
    if amount is None:
        return ""
    documents = f"{amount.documents:,} of {amount.of_documents:,} documents"
    tokens = f" and {100 * amount.tokens / amount.of_tokens:.0f} % of the tokens" if amount.of_tokens else ""
    return f"stopped after {documents}{tokens}" if amount.documents < amount.of_documents else f"read all {documents}"


def _listed(names: Sequence[str], limit: int = 8) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
