"""A pytest plugin: of a test with many parameters, `make test` runs a few, and `make oracle` the others.

`@pytest.mark.sampled(n)` keeps n of a test's parametrizations, spread evenly over their order. The rest get the marker
`oracle`, so that both commands together run all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest


def spread(count: int, kept: int) -> set[int]:
    """Return `kept` of the places 0 … count - 1, the first and the last among them if there are two or more."""
    if kept >= count:
        return set(range(count))
    return {0} if kept < 2 else {round(place * (count - 1) / (kept - 1)) for place in range(kept)}


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what the markers say
def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    by_test: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sampled"):
            by_test.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for group in by_test.values():
        _leave_to_oracle(group)


def _leave_to_oracle(group: Sequence[pytest.Item]) -> None:
    marker = group[0].get_closest_marker("sampled")
    assert marker is not None
    places = spread(len(group), *marker.args)
    for place, item in enumerate(group):
        if place not in places:
            item.add_marker("oracle")
