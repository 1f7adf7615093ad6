"""A user's own test set: a file of questions and answers → documents, prompts and the metrics that compare answers.

In a file with choices, the answer is the likeliest letter. If some question has several right choices, the answers to
all questions are generated texts that name letters, because there is only one likeliest letter.

Layouts that are made for tuning (alpaca, conversations, ADGEN, pairs) become prompts without additions, as in tuning.
Instruction and input are joined by a line end, as in LLaMA-Factory. A bare question gets a cue, and choices get letters
as in C-Eval and MMLU, in the language of the file.

Not here: reading files (`harness.data.rows`), recognising columns (`harness.tasks.own_files.layouts`), the task made of
a test set (`harness.tasks.own_files.file_tasks`), or computing metrics (`harness.metrics.text.overlap`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from harness.data import rows as file_rows
from harness.data.rows import Row
from harness.errors import HarnessError
from harness.metrics.answers.numbers import is_number, last_number
from harness.metrics.text import cuts, overlap
from harness.metrics.text.lines import trimmed
from harness.tasks.own_files import choices, layouts
from harness.tasks.own_files.layouts import Document

COMPARISONS = ("exact_match", "contains", "number", "rouge", "bleu")
"""The values of the option --metric."""
LETTER_SETS = ("exact_set", "partial_credit")
"""The metrics of a file in which some question has several right choices (`harness.metrics.answers.letter_sets`)."""


@dataclass(frozen=True)
class Questions:
    """The content of a test set: its documents, where generated answers stop, and how answers are compared."""

    documents: list[Document]
    columns: tuple[str, ...]
    """The columns that were read, as the file spells them."""
    unread: tuple[str, ...]
    """The columns that were not read, as the file spells them."""
    metrics: tuple[str, ...]
    """`acc`, the metrics of `LETTER_SETS`, or names of `harness.metrics.text.overlap.METRICS`."""
    delimiter: str
    """The text between prompt and answer."""
    stops: tuple[str, ...] = ()
    """The strings that end an answer."""
    stops_after_shots: tuple[str, ...] = ()
    """More strings that end an answer after few-shot examples, which show how the next question begins."""
    notes: tuple[str, ...] = ()
    """What was decided about the file, or left out of it."""
    ids: tuple[str, ...] = ()
    """Each row's value of the column `id`, an empty text if the row has none. There are no values at all if no row has
    one."""
    questions: tuple[str, ...] = ()
    """Each document's question, without cue and choices."""

    @property
    def is_multiple_choice(self) -> bool:
        """Whether the answer is the likeliest letter, not a generated text."""
        return self.metrics == ("acc",)

    @property
    def has_letter_sets(self) -> bool:
        """Whether the answer is a generated text that names one or more letters."""
        return self.metrics == LETTER_SETS

    @property
    def has_conversations(self) -> bool:
        """Whether some answer is to be given after more than one turn."""
        return any(len(document.get("turns", ())) > 1 for document in self.documents)


def read(file: Path, comparisons: Sequence[str] = ()) -> Questions:
    """Return the test set in `file`.

    Answers in words are compared by `comparisons`; by default, by the metrics of the layout or, if every answer is a
    number, as numbers. Choices are always compared by accuracy, or by `LETTER_SETS` if some question has several right
    ones.

    Raises HarnessError naming the file, the line and the problem, or the choice that the user has to make.
    """
    notes = file_rows.Notes()
    rows = list(file_rows.read(file, notes))
    if not rows:
        raise HarnessError(f"{file} holds no rows: there is nothing to ask")
    names = tuple(dict.fromkeys(name for row in rows for name in row.names()))
    layout = layouts.recognise(file, names)
    spellings = {name.lower(): name for row in rows for name in row.columns}
    columns = tuple(spellings[name] for name in layout.columns)
    unread = tuple(spellings[name] for name in names if name not in layout.columns)
    documents = [layout.document(row) for row in rows]
    for document in documents:
        for key in layouts.PARTS:
            document.pop(key, None)
    question_texts = tuple(document.pop("question", document["prompt"]) for document in documents)
    is_chinese = 2 * sum(_is_chinese(document["prompt"]) for document in documents) > len(documents)
    if layout.choices:
        right = choices.places(file, rows, layout.choices, layout.columns[-1])
        questions = _chosen(documents, right, is_chinese)
        return replace(
            questions,
            columns=columns,
            unread=unread,
            notes=tuple(notes.all()),
            ids=_ids(rows),
            questions=question_texts,
        )
    _require_text(rows, documents)
    chosen = tuple(comparisons) or layout.comparisons or _implied_comparison(file, documents)
    for name in chosen:
        if name not in COMPARISONS:
            raise HarnessError(
                f"{file}: there is no --metric {name} for answers in words: choose among {_all_comparisons()}"
            )
    if "number" in chosen:
        _require_numbers(rows, documents)
    if {"rouge", "bleu"} & {*chosen}:
        _require_words(rows, documents)
    accepted = [text for document in documents for text in document["answers"]]
    metrics = tuple(dict.fromkeys(metric for name in chosen for metric in overlap.metrics_of(name, accepted)))
    questions = _answered_in_words(documents, layout.is_bare_question, is_chinese)
    return replace(
        questions,
        columns=columns,
        unread=unread,
        metrics=metrics,
        notes=tuple(notes.all()),
        ids=_ids(rows),
        questions=question_texts,
    )


def _ids(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return each row's value of the column `id` as text, empty if a row has none; () if no row has one."""
    ids = tuple(_id(row.get("id")) for row in rows)
    return ids if any(ids) else ()


def _id(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return file_rows.number_as_text(value)
    return ""


def _chosen(documents: list[Document], right: Sequence[tuple[int, ...]], is_chinese: bool) -> Questions:
    """Return the questions of a file with choices; `right` has the places of each question's right choices.

    The fields that describe the file, such as `columns`, are still empty.
    """
    pairs = list(zip(documents, right, strict=True))
    if all(len(places) == 1 for places in right):
        cue, delimiter = ("答案：", "") if is_chinese else ("Answer:", " ")
        lettered = [
            {**document, "prompt": f"{document['prompt']}\n{cue}", "answer": place} for document, (place,) in pairs
        ]
        return Questions(lettered, (), (), ("acc",), delimiter)
    if is_chinese:
        question, cue, delimiter = "问题：", "答案（一个或多个字母）：", ""
    else:
        question, cue, delimiter = "Question: ", "Answer (one or more letters):", " "
    lettered = [
        {
            **document,
            "prompt": f"{question}{document['prompt']}\n{cue}",
            "answer": "".join(document["letters"][place] for place in places),
        }
        for document, places in pairs
    ]
    return Questions(lettered, (), (), LETTER_SETS, delimiter, (f"\n{question.strip()}",), ("\n\n",))


def _answered_in_words(documents: list[Document], is_bare_question: bool, is_chinese: bool) -> Questions:
    """Return the questions, with cues and the strings that end an answer, but still without columns and metrics.

    The metrics are not known here, because the generated answers must not depend on how they are compared.
    """
    accepted = [text for document in documents for text in document["answers"]]
    if not is_bare_question:  # nothing says how a next question would begin
        stops_after_shots = () if any("\n\n" in text for text in accepted) else ("\n\n",)
        return Questions(documents, (), (), (), "\n", (), stops_after_shots)
    question, answer, delimiter = ("问题：", "答案：", "") if is_chinese else ("Question: ", "Answer:", " ")
    cued = [{**document, "prompt": f"{question}{document['prompt']}\n{answer}"} for document in documents]
    return Questions(cued, (), (), (), delimiter, (f"\n{question.strip()}",))


def _implied_comparison(file: Path, documents: Iterable[Document]) -> tuple[str, ...]:
    """Return the metric that compares numbers if every answer is just a number; raise HarnessError if not."""
    if all(is_number(text) for document in documents for text in document["answers"]):
        return ("number",)
    raise HarnessError(f"{file} has answers in words: say how they are compared, with --metric {_all_comparisons()}")


def _require_text(rows: Sequence[Row], documents: Sequence[Document]) -> None:
    for row, document in zip(rows, documents, strict=True):
        if not all(map(trimmed, document["answers"])):
            raise row.error("its answer has no visible character, so that any text would contain it")


def _require_numbers(rows: Sequence[Row], documents: Sequence[Document]) -> None:
    for row, document in zip(rows, documents, strict=True):
        for text in document["answers"]:
            if last_number(text) is None:
                raise row.error(f"its answer '{text[:50]}' holds no number, which --metric number compares")


def _require_words(rows: Sequence[Row], documents: Sequence[Document]) -> None:
    for row, document in zip(rows, documents, strict=True):
        for text in document["answers"]:
            if not cuts.has_word(text):
                raise row.error(f"its answer '{text[:50]}' has no word, which --metric rouge and bleu compare")


def _all_comparisons() -> str:
    return f"{', '.join(COMPARISONS[:-1])} or {COMPARISONS[-1]}"


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)
