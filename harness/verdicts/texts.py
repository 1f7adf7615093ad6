"""All texts of a gate's outcome or of a comparison, built once; code that displays these texts only lays them out.

Not here: how a number or a sentence is written (`harness.verdicts.wording`), or document formats
(`harness.verdicts.render`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.verdicts import wording
from harness.verdicts.compare import Comparison, Refusal
from harness.verdicts.gate import Judgement, Outcome


@dataclass(frozen=True)
class ScoreText:
    """The numbers of one score in the baseline's and the candidate's report, as texts for a row of a table."""

    task: str
    metric: str
    baseline: str
    candidate: str
    difference: str
    interval: str
    lost: str
    gained: str
    documents: str

    @classmethod
    def of(cls, comparison: Comparison) -> ScoreText:
        """Return the texts of `comparison`."""
        return cls(
            task=wording.task(comparison.score),
            metric=wording.metric(comparison.score),
            baseline=wording.baseline(comparison),
            candidate=wording.candidate(comparison),
            difference=wording.difference(comparison),
            interval=wording.interval(comparison),
            lost=f"{comparison.values.lost:,}",
            gained=f"{comparison.values.gained:,}",
            documents=wording.size(comparison),
        )


# --- a gate's outcome -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JudgementText:
    """The texts of one judgement."""

    judgement: Judgement
    score: ScoreText
    margin: str
    documents_needed: str
    """The number of documents that would settle an inconclusive verdict, as text."""
    sentence: str
    reason: str
    """What the verdict rests on, and how many documents would settle an inconclusive one."""
    signs: tuple[str, ...]
    """Signs of broken answers that `sentence` does not already contain."""
    answers: tuple[str, ...]
    """Sentences on answers that were empty, cut, unfinished or not understood."""
    doubts: tuple[str, ...]
    """Sentences on answers that make a number doubtful, because most are empty, cut or not understood."""
    tainted: str
    """A sentence on the documents seen in training; may be empty."""
    noise: str
    """A sentence that the difference may be noise between evaluations of one checkpoint. Empty if the difference is
    larger than such noise."""

    @classmethod
    def of(cls, judgement: Judgement) -> JudgementText:
        """Return the texts of `judgement`."""
        return cls(
            judgement=judgement,
            score=ScoreText.of(judgement.comparison),
            margin=wording.margin(judgement),
            documents_needed=wording.documents(wording.documents_to_settle(judgement)),
            sentence=wording.sentence(judgement),
            reason=wording.reason(judgement),
            signs=tuple(wording.signs(judgement)),
            answers=tuple(wording.answers(judgement.comparison)),
            doubts=tuple(wording.answers(judgement.comparison, doubtful=True)),
            tainted=wording.tainted(judgement.comparison),
            noise=wording.noise(judgement),
        )

    @property
    def is_row(self) -> bool:
        """Whether tables list the score: it is judged, or it is watched and regressed."""
        return self.judgement.is_judged or self.judgement.verdict == "regressed"


@dataclass(frozen=True)
class OutcomeText:
    """The texts of a gate's outcome."""

    outcome: Outcome
    sentence: str
    """The verdict in one sentence."""
    judgements: tuple[JudgementText, ...]
    """The texts of all judgements, in the order of `outcome.judgements`."""
    watched: str
    """A sentence on member tasks that were only watched and are not in tables; may be empty."""
    reading: str
    """How much of the tasks a gate in blocks read; empty for a gate on complete reports."""

    @classmethod
    def of(cls, outcome: Outcome) -> OutcomeText:
        """Return the texts of `outcome`."""
        return cls(
            outcome=outcome,
            sentence=wording.verdict(outcome),
            judgements=tuple(JudgementText.of(judgement) for judgement in outcome.judgements),
            watched=wording.watched(outcome),
            reading=wording.reading(outcome),
        )

    @property
    def rows(self) -> list[JudgementText]:
        """The judgements that tables list."""
        return [text for text in self.judgements if text.is_row]

    @property
    def direction(self) -> str:
        """The explanation of the arrow that marks scores of which less is better; empty if the table has none."""
        return _direction([text.judgement.comparison for text in self.rows])

    @property
    def remarks(self) -> list[str]:
        """The lines under a table: signs, answers, documents seen in training, noise, watched tasks, reading, notes."""
        signs = (f"{item.score.task}: {sign.text}" for item in self.outcome.judgements for sign in item.signs)
        answers = (line for text in self.rows for line in text.answers)
        tainted, noise = (text.tainted for text in self.rows), (text.noise for text in self.rows)
        notes = (f"note: {note}" for note in self.outcome.notes)
        return [line for line in (*signs, *answers, *tainted, *noise, self.watched, self.reading, *notes) if line]


# --- a comparison -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ComparisonText:
    """The texts of one comparison."""

    score: ScoreText
    documents_needed: str
    """The number of documents needed to detect the difference, as text."""
    p_value: str
    resolution: str
    tainted: str
    """A sentence on the documents seen in training; may be empty."""
    left_out: str
    """A sentence on the documents that only one checkpoint answered; may be empty."""
    answers: tuple[str, ...]
    """Sentences on answers that were empty, cut, unfinished or not understood."""

    @classmethod
    def of(cls, comparison: Comparison) -> ComparisonText:
        """Return the texts of `comparison`."""
        return cls(
            score=ScoreText.of(comparison),
            documents_needed=wording.documents(comparison.documents_needed),
            p_value=wording.probability(comparison.p_value),
            resolution=wording.resolution(comparison),
            tainted=wording.tainted(comparison),
            left_out=wording.left_out(comparison),
            answers=tuple(wording.answers(comparison)),
        )


@dataclass(frozen=True)
class ComparisonsText:
    """The texts of all comparisons of one candidate with the baseline."""

    rows: tuple[ComparisonText, ...]
    direction: str
    """The explanation of the arrow that marks scores of which less is better; empty if the table has none."""
    refusals: tuple[str, ...]
    """A sentence on each score that cannot be compared."""

    @classmethod
    def of(cls, results: Sequence[Comparison | Refusal]) -> ComparisonsText:
        """Return the texts of `results`."""
        comparisons = [result for result in results if isinstance(result, Comparison)]
        return cls(
            rows=tuple(ComparisonText.of(comparison) for comparison in comparisons),
            direction=_direction(comparisons),
            refusals=tuple(_refusals(results)),
        )

    @property
    def remarks(self) -> list[str]:
        """The lines under a table: documents seen in training or left out, answers, scores that cannot be compared."""
        lines = [line for row in self.rows for line in (row.tainted, row.left_out, *row.answers) if line]
        return [*lines, *self.refusals]


def _refusals(results: Sequence[Comparison | Refusal]) -> Iterator[str]:
    for result in results:
        if isinstance(result, Refusal):
            name = f"{wording.task(result.score)}, {wording.metric(result.score)}"
            yield f"{name}: not comparable: {result.reason}"


def _direction(comparisons: Sequence[Comparison]) -> str:
    has_less = any(not comparison.score.higher_is_better for comparison in comparisons)
    return wording.LESS_IS_BETTER if has_less else ""
