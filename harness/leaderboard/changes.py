"""What each step of a family changed: a verdict on every headline score of a child against its parent.

The verdicts are those of `harness gate` with its default policy. Beside them, `outcome` says whether the difference is
real in either direction: the two-sided p-values of a step are corrected for their number (Holm 1979).

Not here: how steps are found (`harness.leaderboard.lineage`), or their words (`harness.leaderboard.sentences`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from harness.errors import HarnessError
from harness.leaderboard.leaders import ALPHA
from harness.leaderboard.lineage import Edge
from harness.leaderboard.samples import refusal
from harness.leaderboard.table import Entry, Series, Table
from harness.verdicts import gate, pairs
from harness.verdicts.compare import Comparator
from harness.verdicts.gate import Judgement, PendingJudgement, Tests, Verdict
from harness.verdicts.policy import Policy

Outcome = Literal["better", "worse", "open"]
POLICY = Policy.model_validate({})
"""The policy of `harness gate` without a policy file."""


class Change(NamedTuple):
    """How one score differs between parent and child."""

    column: int
    """The number of the table's column."""
    judgement: Judgement
    p_corrected: float
    """The two-sided p-value of "there is no difference", corrected for the number of the step's scores."""

    @property
    def outcome(self) -> Outcome:
        """Whether the child is really better or worse in this score, or whether that is open."""
        if self.p_corrected > ALPHA:
            return "open"
        return "better" if self.judgement.comparison.values.difference > 0 else "worse"


class Refused(NamedTuple):
    """A score that parent and child both have but that cannot be compared."""

    column: int
    reason: str


@dataclass(frozen=True)
class Step:
    """A step of the family, and all changes of headline scores."""

    edge: Edge
    changes: tuple[Change, ...]
    refused: tuple[Refused, ...]

    @property
    def verdict(self) -> Verdict | None:
        """The verdict of a gate on all scores that can be compared; None if there is none."""
        return gate.combined_verdict(change.judgement for change in self.changes) if self.changes else None


class Collector:
    """Compares the checkpoints of steps, column by column, so that each column's samples are in memory only once."""

    def __init__(self, table: Table, edges: Sequence[Edge], read: pairs.Read = pairs.read_samples) -> None:
        self._table, self._edges, self._read = table, edges, read
        self._pending: dict[Edge, list[tuple[int, PendingJudgement, Tests]]] = {edge: [] for edge in edges}
        self._refused: dict[Edge, list[Refused]] = {edge: [] for edge in edges}

    def add(self, number: int) -> None:
        """Compare parents and children in the table's column `number`."""
        for edge in self._edges:
            parent, child = (self._entry(self._table.columns[number], row) for row in (edge.parent, edge.child))
            if parent is None or child is None:
                continue
            try:
                comparator = Comparator(parent.report, child.report, self._read)
                comparison = comparator.compare(parent.score)
                pending = gate.pending_judgement(comparator, POLICY, comparison)
            except HarnessError as error:
                self._refused[edge].append(Refused(number, refusal(error)))
            else:
                self._pending[edge].append((number, pending, gate.fixed_sample_tests(pending)))

    def _entry(self, column: Series, row: int) -> Entry | None:
        return self._table.rows[row].entries.get(column.key)

    def steps(self) -> list[Step]:
        """Return all steps with what was compared so far."""
        return [self._step(edge) for edge in self._edges]

    def _step(self, edge: Edge) -> Step:
        entries = self._pending[edge]
        pending, tests = [item for _, item, _ in entries], [item for _, _, item in entries]
        judgements = gate.judge_all(pending, POLICY, tests) if pending else []
        p_values = [item.comparison.p_value for item in pending]
        corrected = gate.holm(p_values, [1.0] * len(p_values)) if pending else []
        numbers = [number for number, _, _ in entries]
        changes = tuple(map(Change, numbers, judgements, corrected))
        return Step(edge, changes, tuple(self._refused[edge]))
