"""Judge a candidate by whole reports, with the calibrations stored beside them.

Not here: the tests and their corrections (`harness.verdicts.gate`), a gate that evaluates in blocks
(`harness.gating.sequential`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from harness.reports import calibration
from harness.reports.calibration import Calibration
from harness.reports.report import Report
from harness.verdicts import gate
from harness.verdicts.gate import Outcome
from harness.verdicts.policy import Policy


def judge(baseline: Report, candidate: Report, policy: Policy, only: Collection[str] | None = None) -> Outcome:
    """Return the verdict on `candidate`, limited to the tasks and averages in `only` if it is not None.

    Raises HarnessError if the policy does not fit the baseline, or if a score to be judged cannot be compared.
    """
    return gate.gate(baseline, candidate, policy, only, calibrations=calibrations(baseline, candidate))


def judge_evaluated(baseline: Report, evaluate: Callable[[], Report], policy: Policy) -> Outcome:
    """Evaluate the candidate by calling `evaluate`, and return the verdict on the tasks of its report.

    Raises HarnessError as `judge` does. A policy that does not fit is reported before anything is evaluated.
    """
    scores = gate.select_scores(baseline, policy)
    candidate = evaluate()
    evaluated = {score.task for score in candidate.manifest.scores if score.headline}
    evaluated |= candidate.manifest.failed.keys() & {score.task for score in (*scores.judged, *scores.watched)}
    return judge(baseline, candidate, policy, evaluated & {score.task for score in scores.judged} or evaluated)


def calibrations(*reports: Report) -> list[Calibration]:
    """Return the calibrations that are stored beside `reports` for the checkpoints of these reports."""
    files = [calibration.find(report.folder.parent, report.manifest.checkpoint.fingerprint) for report in reports]
    return [file for file in files if file is not None]
