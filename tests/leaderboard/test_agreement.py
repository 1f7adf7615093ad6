"""The page and `harness compare` on the same reports: the same numbers, refusals, and scores that are the best."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.leaderboard import site
from harness.reports.report import Report
from harness.verdicts.compare import Comparator, Comparison, Refusal
from support import chromium
from support.answered import Answers, report

pytestmark = pytest.mark.browser

N = 60
GROUPS = {"exam": ("task", ["law", "logic"]), "pool": ("sample", ["law", "logic"])}


def family(root: Path) -> list[Report]:
    """Checkpoints that answered the same, fewer, or differently worded documents, with every form of metric."""
    random = np.random.default_rng(11)

    def bits(share: float, n: int = N) -> list[float]:
        return [float(value) for value in random.random(n) < share]

    def tasks(share: float, **changes: Any) -> dict[str, Answers]:
        passages = [f"passage {i // 4}" if i % 7 else None for i in range(N)]
        tainted = [i % 10 == 0 for i in range(N)] if changes.get("tainted") else None
        ratio = [[int(random.integers(0, 4)), int(random.integers(1, 5))] for _ in range(N)]
        missing = [None if i % 9 == 0 and changes.get("missing") else value for i, value in enumerate(bits(share))]
        few = changes.get("few", N)
        return {
            "law": Answers(bits(share), prompt=changes.get("prompt", "")),
            "logic": Answers(bits(share, 25)),
            "reading": Answers(bits(share), clusters=passages, tainted=tainted),
            "nli": Answers(missing),
            "ner": Answers(ratio, metric="micro_f1", aggregation="ratio"),
            "errors": Answers([float(v) for v in random.choice([0, 0.25, 1], N)], higher_is_better=False),
            "marks": Answers([float(v) for v in random.normal(5 * share, 1, N)], metric="mark", fraction=False),
            "short": Answers(bits(share, few), documents=range(N)[-few:]),
            "typed": Answers(bits(share), metric="median", aggregation="median"),
        }

    plans: dict[str, dict[str, Any]] = {
        "base": {},
        "better": {},
        "worded": {"prompt": "Think. "},
        "seen": {"tainted": True, "missing": True},
        "limited": {"few": 20},
    }
    return [
        report(root, name, tasks(0.45 + 0.1 * number, **plan), averages=GROUPS, day=number + 1)
        for number, (name, plan) in enumerate(plans.items())
    ]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    return family(tmp_path_factory.mktemp("agreement"))


@pytest.fixture(scope="module")
def page(reports: list[Report], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    built = site.build(reports, tmp_path_factory.mktemp("site") / "site")
    with chromium.browser() as browser:
        page = browser.new_page()
        page.goto(built.page.as_uri())
        page.wait_for_selector(".board")
        yield page


COMPARE = """async ([a, b]) => {
    const { board } = harness.core;
    const known = await harness.compare.data([a, b]);
    return board.columns.filter((column) => column.cells[a]).map((column) => {
        const result = harness.compare.compare(known, column, a, b);
        const { pair, tainted, ...rest } = result;
        const finite = (number) => (Number.isFinite(number) ? number : null);
        return { ...rest, needed: finite(rest.needed), key: [column.task, column.metric, column.average],
            tainted: tainted ? { difference: tainted.difference, p: tainted.p, documents: tainted.documents } : null };
    });
}"""


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0), (0, 2), (2, 1), (0, 3), (3, 4), (4, 0)])
def test_any_pair_is_compared_as_by_the_command(first: int, second: int, reports: list[Report], page: Any) -> None:
    results = {tuple(item["key"]): item for item in page.evaluate(COMPARE, [first, second])}
    comparator = Comparator(reports[first], reports[second])
    compared = 0
    for expected in comparator.compare_all(reports[first].manifest.scores):
        score = expected.score
        actual = results[score.task, score.metric, score.average]
        if isinstance(expected, Refusal):
            assert "reason" in actual
            if "no document" not in expected.reason and "sum over" not in expected.reason:
                assert actual["reason"] == expected.reason
        else:
            compared += 1
            require_equal(actual, expected, 100 if score.fraction else 1)
    assert compared >= 6


def require_equal(actual: dict[str, Any], expected: Comparison, scale: int) -> None:
    def close(number: float | None, other: float | None) -> None:
        assert number == (None if other is None else pytest.approx(other, rel=1e-8, abs=1e-9))

    assert "reason" not in actual, actual
    for name in ("baseline", "candidate", "difference"):
        close(actual[name], scale * getattr(expected, name))
    close(actual["p"], expected.p_value)
    interval = expected.interval
    for place in (0, 1):
        close(actual["interval"] and actual["interval"][place], None if interval is None else scale * interval[place])
    needed = expected.documents_needed
    close(actual["needed"], needed if np.isfinite(needed) else None)
    counts = (actual["documents"], actual["leftOut"], actual["lost"], actual["gained"], actual["clusters"])
    values = expected.values
    assert counts == (expected.documents, expected.left_out, values.lost, values.gained, expected.clusters)
    assert (actual["tainted"] is None) == (expected.tainted is None)
    if expected.tainted is not None:
        close(actual["tainted"]["difference"], scale * expected.tainted.difference)
        close(actual["tainted"]["p"], expected.tainted.p_value)
        assert actual["tainted"]["documents"] == expected.tainted.documents
