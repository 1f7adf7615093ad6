"""Gates give wrong verdicts no more often than alpha; `make bench` checks 10,000 gates of each kind."""

from __future__ import annotations

import pytest

from support.simulated import IGNORING_CLUSTERS, SCENARIOS, Scenario, false_verdicts, most_by_chance

GATES = 500


@pytest.mark.sampled(3)
@pytest.mark.parametrize("scenario", SCENARIOS[:7], ids=lambda item: item.name)
def test_verdicts_are_wrong_no_more_often_than_alpha(scenario: Scenario) -> None:
    assert max(false_verdicts(scenario, GATES)) <= most_by_chance(GATES)


def test_a_gate_that_ignores_clusters_is_wrong_too_often() -> None:
    assert min(false_verdicts(IGNORING_CLUSTERS, GATES)) > most_by_chance(GATES)
