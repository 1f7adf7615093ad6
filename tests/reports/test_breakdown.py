"""Scores by type out of a report's samples; a metric that is only called like them has none."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from harness.reports.breakdown import breakdowns


@pytest.mark.parametrize(
    ("values", "types"),
    [
        (['{"人物": [1, 2, 1]}', '{"人物": [0, 0, 1], "地点": [0, 0, 3]}'], {"地点": (0, 0, 3), "人物": (1, 2, 2)}),
        (["[0, 1]", "[1, 1]"], None),
        ([0.0, 1.0], None),
    ],
)
def test_types_are_summed_where_samples_hold_some(values, types):
    rows = pd.DataFrame({"filter": ["none"] * len(values), "macro_f1": values})
    score = SimpleNamespace(task="t", metric="macro_f1", filter="none", average=None)
    report = SimpleNamespace(manifest=SimpleNamespace(scores=[score]), samples=lambda task, columns: rows)
    found = [(one.task, one.metric, list(one.types.items())) for one in breakdowns(report)]
    assert found == ([] if types is None else [("t", "macro_f1", list(types.items()))])
