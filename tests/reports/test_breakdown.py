"""Scores by type from a report's samples; a metric that only shares the name has none."""

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
def test_counts_are_summed_by_type(values, types):
    rows = pd.DataFrame({"filter": ["none"] * len(values), "macro_f1": values})
    score = SimpleNamespace(task="t", metric="macro_f1", filter="none", average=None)
    report = SimpleNamespace(manifest=SimpleNamespace(scores=[score]), samples=lambda task, columns: rows)
    result = [(item.task, item.metric, list(item.types.items())) for item in breakdowns(report)]
    assert result == ([] if types is None else [("t", "macro_f1", list(types.items()))])
