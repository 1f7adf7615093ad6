"""Every reader of text or files from outside returns a value or its documented error, soon, and changes nothing else.

The readers and their inputs are in `support.fuzz_readers`; `make fuzz` tries them for minutes.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from support.fuzz_checks import accepting, require_sound
from support.fuzz_readers import GROUPS


@pytest.mark.parametrize("name", GROUPS)
def test_every_reader_is_sound(name: str) -> None:
    group = GROUPS[name]
    assert group.readers.keys() - accepting(group) == set(), "no sample is valid, so inputs are not nearly valid"

    @settings(
        max_examples=group.examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(group.inputs)
    def check(value: object) -> None:
        require_sound(group, value)

    check()
