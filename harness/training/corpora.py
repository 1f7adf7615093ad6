"""The corpora of a stage: encoded once, put in order, and described before anything is trained.

Encoded corpora are kept beside the stages under a digest of what they depend on, so that stages with the same
tokenizer, and a stage that is continued, encode nothing again.

Not here: rows (`harness.training.examples`), tokens (`harness.training.store`), tensors (`harness.training.batches`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.checkpoints.types import Tokenizer
from harness.common import hashes, places, progress
from harness.common.progress import Bar
from harness.common.versions import installed
from harness.data.rows import Notes
from harness.errors import HarnessError
from harness.tasks.own_files import file_tasks, texts
from harness.training import examples, mixture, packing, store
from harness.training.batches import IGNORED, Rows
from harness.training.dialogues import Writer
from harness.training.encoding import ExampleEncoder
from harness.training.mixture import Place
from harness.training.recipe import Corpus, Recipe, Stage
from harness.training.store import Counts, Store

_EPOCHS = 3.0
"""TrainingArguments' own number of epochs."""
_STRIDE = 1_000
"""Rows after which the progress of planning is shown."""
_ENCODING = 2
"""The version of encoded corpora; raised when a change of code may encode the same row differently."""


class TokenizerOfStage(NamedTuple):
    """The tokenizer with which a stage encodes its corpora."""

    tokenizer: Tokenizer
    digest: str
    """Identifies its files."""
    ends: tuple[int, ...]
    """The ids that end an answer when the checkpoint is evaluated."""


@dataclass(frozen=True)
class CorpusReport:
    """What a stage learns of one corpus."""

    name: str
    file: str
    """The recipe's path of it, as it is on this machine."""
    sha256: str
    """Hash of its content; of a folder, of its files' names and hashes."""
    share: float | None
    """The declared share of examples or tokens; None for a validation corpus."""
    counts: Counts
    examples: int
    """Examples that are read in the training; repetitions count."""
    tokens: int
    """Tokens of these examples, prompts included."""
    learned: int
    """Tokens of these examples that are learned."""

    @property
    def epochs(self) -> float:
        """How often each example of the corpus is read, on average."""
        return self.examples / self.counts.kept


class Piece(NamedTuple):
    """A part of an example's text, as its tokens spell it."""

    text: str
    is_learned: bool


@dataclass(frozen=True)
class DataReport:
    """What a stage will learn from."""

    corpora: list[CorpusReport]
    validation: list[CorpusReport]
    rows: int
    """Rows of the training; several examples share a row if they are packed."""
    steps: int
    batch: int
    """Rows of a step, on all devices."""
    max_length: int
    padding: float
    """Share of padding among all tokens that the model is fed."""
    example: list[Piece]
    """The first row."""

    @property
    def epochs(self) -> float:
        """How often each example is read, on average."""
        return sum(corpus.examples for corpus in self.corpora) / sum(corpus.counts.kept for corpus in self.corpora)

    @property
    def tokens(self) -> int:
        """Tokens of all rows, prompts included, padding left out."""
        return sum(corpus.tokens for corpus in self.corpora)

    @property
    def learned(self) -> int:
        """Learned tokens of all rows."""
        return sum(corpus.learned for corpus in self.corpora)


@dataclass(frozen=True)
class Prepared:
    """The rows of a stage, and what is known of them."""

    train: Rows
    validation: dict[str, Rows]
    report: DataReport
    stores: dict[str, Path]
    """The file of each corpus's encoded examples."""


def prepare(name: str, recipe: Recipe, source: TokenizerOfStage, folder: Path, batch: int, batches: int) -> Prepared:
    """Encode the corpora of the stage `name` into `folder` and return its rows.

    `batch` has the rows of a step, in `batches` batches that are padded each by itself. Raises HarnessError if a corpus
    cannot be read, or if nothing of it can be learned.
    """
    stage = recipe.stages[name]
    encoded = encode(name, recipe, source, folder)
    stores = {corpus: Store(file) for corpus, (file, _) in encoded.items()}
    with progress.bar(f"planning {name}", None, unit="rows") as bar:
        planned = _counted(_rows(stage, stores, f"{recipe.seed} {name}", batch), bar)
        rows = Rows([stores[c] for c in stage.names], planned, is_packed=stage.packing)
    validation = {
        c: Rows([stores[c]], ([Place(0, i)] for i in range(len(stores[c]))), is_packed=False) for c in stage.validation
    }
    shares = _shares(stage, stores)
    total = sum(shares.values())
    described = [_described(c, recipe, encoded[c][1], shares[c] / total, rows, i) for i, c in enumerate(stage.names)]
    measured = [
        _described(c, recipe, _with_shared(encoded[c][1], stores[c], [stores[n] for n in stage.names]), None, rows_, 0)
        for c, rows_ in validation.items()
    ]
    report = DataReport(
        corpora=described,
        validation=measured,
        rows=len(rows),
        steps=-(-len(rows) // batch),
        batch=batch,
        max_length=stage.max_length,
        padding=_padding(rows.lengths, batch // batches),
        example=_pieces(rows, source.tokenizer),
    )
    return Prepared(rows, validation, report, {c: file for c, (file, _) in encoded.items()})


def encode(name: str, recipe: Recipe, source: TokenizerOfStage, folder: Path) -> dict[str, tuple[Path, Counts]]:
    """Encode the corpora of the stage `name` into `folder`; return the file of each, and what became of its rows.

    Raises HarnessError as `prepare` does.
    """
    stage = recipe.stages[name]
    _require_held_out(name, stage, recipe)
    encoded = {
        corpus: _encoded(corpus, recipe.corpora[corpus], source, stage.max_length, folder)
        for corpus in (*stage.names, *stage.validation)
    }
    for corpus, (_, counts) in encoded.items():
        if not counts.kept:
            raise HarnessError(
                f"stage {name}: nothing of the corpus '{corpus}' can be learned: of {counts.rows:,} rows, "
                + (f"{counts.invalid:,} are invalid ({'; '.join(counts.notes)}) and " if counts.invalid else "")
                + f"{counts.unlearnable:,} have no learned token within max_length {stage.max_length:,}"
            )
    return encoded


def _require_held_out(name: str, stage: Stage, recipe: Recipe) -> None:
    """Raise HarnessError if what measures the stage is what it learns."""
    learned = {content_hash(recipe.corpora[c].file): c for c in stage.names}
    for corpus in stage.validation:
        if (same := learned.get(content_hash(recipe.corpora[corpus].file))) is not None:
            raise HarnessError(
                f"stage {name}: the corpus '{corpus}' that measures it has the same content as '{same}', from which it "
                "learns: name rows that it does not learn"
            )
    for task in recipe.resolved(stage).evaluate:
        file = Path(task.removeprefix(file_tasks.PREFIX))
        if file.exists() and (same := learned.get(content_hash(file))) is not None:
            raise HarnessError(
                f"stage {name}: the task {task} has the same content as the corpus '{same}', from which the stage "
                "learns: name questions that it does not learn"
            )


def _with_shared(counts: Counts, measured: Store, learned: Sequence[Store]) -> Counts:
    """Return `counts` with a note on how many examples of a validation corpus are also learned."""

    def digest(store: Store, place: int) -> bytes:
        return hashlib.blake2b(store[place][0].tobytes(), digest_size=16).digest()

    own = {digest(measured, place) for place in range(len(measured))}
    shared = {
        key
        for store in learned
        for place in np.flatnonzero(np.isin(store.lengths, measured.lengths))  # others are not equal
        if (key := digest(store, int(place))) in own
    }
    if not shared:
        return counts
    note = f"{len(shared):,} of its {len(own):,} examples are also learned, so its loss flatters the stage"
    return replace(counts, notes=[*counts.notes, note])


def content_hash(path: Path) -> str:
    """Return the hash of a file's content; for a folder, that of the names and contents of its visible documents.

    Raises HarnessError if there is nothing at `path`.
    """
    if not path.exists():
        raise HarnessError(f"there is no corpus {path}: correct the recipe's path")
    if not path.is_dir():
        return hashes.sha256(path)
    read = [file for file in places.visible_below(path).files if file.suffix.lower() in texts.SUPPORTED]
    names = {str(file.relative_to(path)): hashes.sha256(file) for file in read}
    return hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()


def _encoded(name: str, corpus: Corpus, source: TokenizerOfStage, max_length: int, folder: Path) -> tuple[Path, Counts]:
    """Return the file of a corpus's encoded examples, written now unless it is there, and their counts."""
    settings = (
        _ENCODING,
        installed(("transformers", "tokenizers")),
        corpus.template,
        corpus.learn,
        corpus.system,
        corpus.invalid_rows,
        max_length,
    )
    parts = [content_hash(corpus.file), source.digest, sorted(source.ends), corpus.file.suffix.lower(), *settings]
    digest = hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:24]
    file = folder / f"{digest}.arrow"
    if (counts := store.counts_of(file)) is not None:
        return file, counts
    notes = Notes()
    writer = Writer(corpus.template, corpus.learn, source.tokenizer, corpus.system)
    encoder = ExampleEncoder(source.tokenizer, source.ends)
    with progress.bar(f"encoding {name}", None, unit="rows") as bar:
        refuses = corpus.invalid_rows == "refuse"
        read = examples.read(corpus.file, notes, refuses_invalid=refuses)

        def remarks() -> list[str]:
            return [*notes.all(), *_remarks(corpus, writer, source.tokenizer)]

        counts = store.write(file, read, writer, encoder, max_length, remarks, bar, refuses_invalid=refuses)
        return file, counts


def _remarks(corpus: Corpus, writer: Writer, tokenizer: Tokenizer) -> list[str]:
    """Return what a reader should know of how the examples of a corpus were written."""
    remarks = []
    if writer.uses_template and "strftime_now" in str(tokenizer.chat_template):
        today = datetime.now(UTC).astimezone().date()
        remarks.append(f"the chat template writes the date, here {today}: on another day, other tokens are learned")
    if writer.joins_answers:
        remarks.append(
            "without a template, earlier answers are learned behind a line end, and asked for without one: learn: "
            "last_answer leaves them out"
        )
    settings = [name for name in ("template", "learn", "system") if name in corpus.model_fields_set]
    if settings and not writer.writes_dialogues:
        remarks.append(f"{', '.join(settings)} {'have' if len(settings) > 1 else 'has'} no effect on documents")
    return remarks


def _shares(stage: Stage, stores: Mapping[str, Store]) -> dict[str, float]:
    """Return the weight of each corpus; without stated weights, each example counts the same."""
    if isinstance(stage.corpora, dict):
        return dict(stage.corpora)
    return {c: float(stores[c].lengths.sum() if stage.mix == "tokens" else len(stores[c])) for c in stage.corpora}


def _rows(stage: Stage, stores: Mapping[str, Store], seed: str, batch: int) -> Iterator[Sequence[Place]]:
    """Yield the examples of each row, for as many steps or epochs as the stage states."""
    lengths = {c: stores[c].lengths for c in stage.names}
    order = mixture.order(lengths, _shares(stage, stores), seed, by_tokens=stage.mix == "tokens")
    steps = int(stage.arguments.get("max_steps", -1))
    if steps <= 0:
        epochs = float(stage.arguments.get("num_train_epochs", _EPOCHS))
        order = itertools.islice(order, max(1, round(epochs * sum(map(len, lengths.values())))))
    if not stage.packing:
        rows: Iterator[Sequence[Place]] = ([place] for place in order)
    else:
        by_number = [lengths[c] for c in stage.names]
        sized = (packing.Sized(place, int(by_number[place.corpus][place.row])) for place in order)
        rows = packing.rows(sized, stage.max_length)
    return itertools.islice(rows, steps * batch) if steps > 0 else rows


def _counted(rows: Iterator[Sequence[Place]], bar: Bar) -> Iterator[Sequence[Place]]:
    """Yield `rows`, and advance the bar with them."""
    for number, row in enumerate(rows, 1):
        if number % _STRIDE == 0:
            bar.advance(_STRIDE)
        yield row


def _described(name: str, recipe: Recipe, counts: Counts, share: float | None, rows: Rows, number: int) -> CorpusReport:
    """Return what is known of a corpus, the one with the `number` in `rows`."""
    file = recipe.corpora[name].file
    numbers = (rows.examples(number), rows.tokens(number), rows.learned(number))
    return CorpusReport(name, str(file), content_hash(file), share, counts, *numbers)


def _padding(lengths: Any, batch: int) -> float:
    """Return the share of padding if `batch` rows at a time are padded to the longest of them."""
    fed = sum(int(lengths[i : i + batch].max()) * len(lengths[i : i + batch]) for i in range(0, len(lengths), batch))
    return 1 - int(lengths.sum()) / fed


def _pieces(rows: Rows, tokenizer: Tokenizer) -> list[Piece]:
    """Return the first row in pieces that are learned or not."""
    row = rows[0]
    learned = row["labels"] != IGNORED
    cuts = [0, *(np.flatnonzero(np.diff(learned)) + 1), len(learned)]
    return [
        Piece(str(tokenizer.decode(row["input_ids"][start:end].tolist())), bool(learned[start]))
        for start, end in itertools.pairwise(cuts)
        if end > start
    ]
