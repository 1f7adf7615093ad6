"""Judgements and outcomes written by hand, like those of a gate."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.reports.report import Score
from harness.verdicts.compare import Comparison
from harness.verdicts.gate import Judgement, Outcome, Tests
from harness.verdicts.policy import Margin, Policy, Terms
from harness.verdicts.signs import Sign
from harness.verdicts.stats.means import Differences
from support import answered


def score(task: str = "law", **changes: Any) -> Score:
    plain: dict[str, Any] = {
        "task": task,
        "metric": "acc",
        "filter": "none",
        "value": 0.6,
        "stderr": None,
        "low": None,
        "high": None,
        "n": 100,
        "higher_is_better": True,
        "fraction": True,
        "average": None,
        "members": [task],
        "primary": True,
        "headline": True,
    }
    return Score(**plain | changes)


def comparison(
    baseline_score: Score, lost: int, gained: int, n: int = 100, right: int = 60, **changes: Any
) -> Comparison:
    """Return a comparison of n documents: `right` for the baseline, of which some are lost, and others gained."""
    baseline = [1.0] * right + [0.0] * (n - right)
    candidate = [0.0] * lost + [1.0] * (right - lost + gained) + [0.0] * (n - right - gained)
    values = Differences(np.array(baseline), np.array(candidate))
    plain: dict[str, Any] = {"documents": n, "left_out": 0}
    return Comparison(baseline_score, values, **plain | changes)


def judgement(task: str = "law", verdict: Any = "passed", lost: int = 1, gained: int = 1, **changes: Any) -> Judgement:
    reason = {"passed": "a loss as large as the margin is ruled out", "regressed": "a real loss"}.get(
        verdict, "a loss as large as the margin is not ruled out"
    )
    plain: dict[str, Any] = {
        "comparison": changes.pop("comparison", None) or comparison(score(task), lost, gained),
        "terms": Terms(Margin(2), 0.05, None, 1, "block"),
        "margin": 0.02,
        "is_judged": True,
        "tests": Tests(0.01 if verdict == "passed" else 0.4, 0.5),
        "p_loss_corrected": 3.2e-9 if verdict == "regressed" else 1.0,
        "signs": (),
        "verdict": verdict,
        "reason": reason,
        "documents_needed": 1234.0,
    }
    return Judgement(**plain | changes)


def outcome(*judgements: Judgement, **changes: Any) -> Outcome:
    kinds = [item.verdict for item in judgements]
    worst = next((kind for kind in ("regressed", "inconclusive") if kind in kinds), "passed")
    plain: dict[str, Any] = {
        "baseline": answered.checkpoint("base"),
        "candidate": answered.checkpoint("cand"),
        "policy": Policy(),
        "verdict": worst,
        "judgements": judgements,
        "notes": (),
    }
    return Outcome(**plain | changes)


SIGN = Sign("constant answers", "answers 'Yes' to 100 of 100 documents (baseline: 61)")
