"""The encoded examples of one corpus on disk: written once, then read by place without being held in memory.

An example that is longer than `max_length` is shortened, and the shortening is counted:

- a conversation loses its oldest exchanges, as long as there are several;
- a document is split into pieces of `max_length` tokens; the last token of a piece is the first of the next, so that
  each token is learned, and the first of a piece is not;
- what is then still too long loses its end, the end-of-text token included.

An example of which nothing is left to learn is dropped. So is one that the corpus has had before, in every token, and a
row that is no example or that its format cannot write, if the corpus does not refuse such rows.

The file is in Arrow's IPC format: `ids` (lists of token ids), `spans` (lists of places, two for each span that is
learned) and `row` (the number of the row in the corpus, from 1). A JSON file beside it has the counts, and is
written last.

Not here: the order of examples (`harness.training.mixture`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.backends.encoding import BATCH
from harness.common import atomic_write, hashes, places, safe_load
from harness.common.progress import SILENT, Bar
from harness.errors import HarnessError
from harness.training.dialogues import Segment, UnrenderableError, Writer
from harness.training.encoding import Encoded, ExampleEncoder
from harness.training.examples import Conversation, Invalid, Located, Passage

Ids = np.ndarray[tuple[int], np.dtype[np.uint32]]
"""Token ids, or places of tokens."""
Lengths = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Numbers of tokens."""


@dataclass
class Counts:
    """What became of the rows of a corpus."""

    rows: int = 0
    """Rows of the file, documents or questions."""
    kept: int = 0
    """Examples that are learned; a document may be several."""
    tokens: int = 0
    """Tokens of the examples that are learned, prompts included."""
    learned: int = 0
    """Tokens that are learned."""
    longest: int = 0
    """Tokens of the longest example."""
    duplicates: int = 0
    """Rows dropped because an earlier row has the same tokens."""
    unlearnable: int = 0
    """Rows dropped because nothing of them is left to learn."""
    invalid: int = 0
    """Rows dropped because they are no examples, or because their format cannot write them."""
    split: int = 0
    """Documents split into pieces."""
    shortened: int = 0
    """Conversations that lost their oldest exchanges."""
    exchanges: int = 0
    """Exchanges that were lost."""
    cut: int = 0
    """Examples that lost their end, and with it learned tokens."""
    joined: int = 0
    """Rows whose input follows the instruction, because the format has no place of its own for it."""
    merged: int = 0
    """Examples in which a learned token holds the end of a prompt and the beginning of its answer."""
    merged_first: int = 0
    """Examples whose first token holds all of the prompt and the beginning of the answer; it is not learned."""
    unended: int = 0
    """Answers that their template ends with a token that ends no answer when it is evaluated."""
    forms: dict[str, int] = field(default_factory=dict)
    """Rows by the format in which they were written."""
    notes: list[str] = field(default_factory=list)
    """What reading the file left out or decided."""
    sha256: str = ""
    """Hash of the file of encoded examples."""


def write(
    file: Path,
    examples: Iterable[Located],
    writer: Writer,
    encoder: ExampleEncoder,
    max_length: int,
    notes: Callable[[], Sequence[str]] = tuple,
    bar: Bar = SILENT,
    *,
    refuses_invalid: bool = True,
) -> Counts:
    """Write the encoded `examples` to `file` and return what became of them.

    `notes` returns what reading them left out, and is called at their end. Raises HarnessError if `file` cannot be
    written or, with `refuses_invalid`, if a row cannot be written as text.
    """
    import pyarrow as pa

    schema = pa.schema([("ids", pa.list_(pa.uint32())), ("spans", pa.list_(pa.uint32())), ("row", pa.uint32())])
    shortener = _Shortener(writer, encoder, max_length, refuses_invalid=refuses_invalid)
    with places.writing(file, "choose another --output"):
        file.parent.mkdir(parents=True, exist_ok=True)
        with (
            atomic_write.file(file) as hidden,
            pa.OSFile(os.fsencode(hidden), "wb") as sink,
            pa.ipc.new_file(sink, schema) as out,
        ):
            for batch in _batches(examples):
                encoded = shortener.encoded(batch)
                values = (
                    [example.ids for _, example in encoded],
                    [[place for span in example.spans for place in span] for _, example in encoded],
                    [row for row, _ in encoded],
                )
                columns = [pa.array(value, column.type) for value, column in zip(values, schema, strict=True)]
                out.write_batch(pa.record_batch(columns, schema=schema))
                bar.advance(len(batch))
        counts = replace(shortener.counts, notes=[*notes(), *shortener.notes], sha256=hashes.sha256(file))
        with atomic_write.file(_counts_of(file)) as hidden:
            hidden.write_text(json.dumps(asdict(counts), ensure_ascii=False), encoding="utf-8")
    return counts


def counts_of(file: Path) -> Counts | None:
    """Return the counts of the examples in `file`, or None if they were not written completely."""
    from pydantic import TypeAdapter

    try:
        content = json.dumps(safe_load.json_file(_counts_of(file)))
        counts = TypeAdapter(Counts).validate_json(
            content, strict=True
        )  # strictly, a mapping of Python is no dataclass
        return counts if hashes.sha256(file) == counts.sha256 else None
    except (OSError, ValueError):
        return None


def _counts_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def _batches(examples: Iterable[Located]) -> Iterator[list[Located]]:
    batch: list[Located] = []
    for example in examples:
        batch.append(example)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class _Shortener:
    """Encodes rows, shortens what is too long, drops what teaches nothing or the same again, and counts all of it."""

    def __init__(self, writer: Writer, encoder: ExampleEncoder, max_length: int, *, refuses_invalid: bool) -> None:
        self._writer, self._encoder, self._max_length = writer, encoder, max_length
        self._refuses_invalid = refuses_invalid
        self._earlier: set[bytes] = set()
        self.counts = Counts()
        self.notes: list[str] = []
        """Why the first invalid row was dropped."""

    def encoded(self, batch: Sequence[Located]) -> list[tuple[int, Encoded]]:
        """Return the examples of `batch`, each with the number of its row in the corpus, counted from 1."""
        written = []
        for item in batch:
            self.counts.rows += 1
            if (segments := self._segments(item)) is not None:
                written.append((self.counts.rows, item, segments))
        result: list[tuple[int, Encoded]] = []
        encoded = self._encoder.encode([segments for _, _, segments in written])
        for (number, item, _), example in zip(written, encoded, strict=True):
            if not example.learned:
                self.counts.unlearnable += 1
                continue
            key = hashlib.blake2b(repr((example.ids, example.spans)).encode(), digest_size=16).digest()
            if key in self._earlier:
                self.counts.duplicates += 1
                continue
            self._earlier.add(key)
            pieces = [piece for piece in self._shortened(item, example) if piece.learned]
            self.counts.unlearnable += not pieces
            result += [(number, piece) for piece in pieces]
        for _, example in result:
            self.counts.kept += 1
            self.counts.tokens += len(example.ids)
            self.counts.learned += example.learned
            self.counts.longest = max(self.counts.longest, len(example.ids))
            is_first = example.merged and example.spans[0][0] == 0
            self.counts.merged_first += is_first
            self.counts.merged += example.merged and not is_first
            self.counts.unended += example.is_unended
        return result

    def _segments(self, item: Located) -> list[Segment] | None:
        """Return the text of an example, or None if the row is invalid."""
        example = item.example
        if isinstance(example, Invalid):
            self._drop(example.reason)
            return None
        try:
            form = self._writer.form(example)
            segments = self._writer.segments(example)
        except HarnessError as error:
            raise HarnessError(f"{item.where}: {error}") from error
        except UnrenderableError as error:
            self._drop(f"{item.where}: {error}")
            return None
        self.counts.forms[form] = self.counts.forms.get(form, 0) + 1
        self.counts.joined += form == "lawgpt" and isinstance(example, Conversation) and bool(example.input)
        return segments

    def _drop(self, reason: str) -> None:
        if self._refuses_invalid:
            raise HarnessError(reason)
        if not self.counts.invalid:
            self.notes.append(f"the first invalid row is {reason.removesuffix(': correct or remove it')}")
        self.counts.invalid += 1

    def _shortened(self, item: Located, example: Encoded) -> list[Encoded]:
        """Return `example` in pieces of at most `max_length` tokens, or without what makes it too long."""
        if len(example.ids) <= self._max_length:
            return [example]
        if isinstance(item.example, Passage):
            self.counts.split += 1
            return list(_pieces(example, self._max_length))
        lost = 0
        if isinstance(item.example, Conversation):
            example, lost = self._without_oldest(item.example, example)
        piece = _piece(example, 0, self._max_length)
        if len(example.ids) <= self._max_length:
            piece = piece._replace(is_unended=example.is_unended)
        if piece.learned:  # else it is unlearnable
            self.counts.cut += len(example.ids) > self._max_length
            self.counts.shortened += lost > 0
            self.counts.exchanges += lost
        return [piece]

    def _without_oldest(self, conversation: Conversation, example: Encoded) -> tuple[Encoded, int]:
        """Return `conversation` without its oldest exchanges, as many as must go for it to fit, and their number."""
        first = 1 if conversation.has_system else 0
        lost = 0
        turns = conversation.turns
        while len(example.ids) > self._max_length and len(turns) - first > 2:
            # Up to the next question: a dialogue may have several answers in a row.
            rest = turns[first + 1 :]
            places_of_questions = [place for place, turn in enumerate(rest) if turn["role"] == "user"]
            if not places_of_questions:
                break
            turns = (*turns[:first], *rest[places_of_questions[0] :])
            try:
                segments = self._writer.segments(replace(conversation, turns=turns))
            except UnrenderableError:  # a template that writes the whole conversation, but not the rest of it
                break
            lost += 1
            (example,) = self._encoder.encode([segments])
        return example, lost


def _pieces(example: Encoded, max_length: int) -> Iterator[Encoded]:
    """Yield a document in pieces of at most `max_length` tokens.

    Each begins with the special tokens that it needs or, without any, with the last token of the piece before, because
    the first token of a text is not learned.
    """
    lead, overlap = example.lead, int(not example.lead)
    size = max_length - lead
    for start in range(lead, len(example.ids) - overlap, size - overlap) if size > overlap else ():
        piece = _piece(example, start, start + size)
        spans = [(first + lead, last + lead) for first, last in piece.spans]
        yield Encoded([*example.ids[:lead], *piece.ids], spans, piece.merged)


def _piece(example: Encoded, start: int, end: int) -> Encoded:
    """Return the tokens of `example` from `start` to `end`."""
    spans = [(max(a, start) - start, min(b, end) - start) for a, b in example.spans if b > start and a < end]
    return Encoded(example.ids[start:end], spans, example.merged)


class Store:
    """The examples in a file that `write` wrote."""

    def __init__(self, file: Path) -> None:
        import pyarrow as pa

        with pa.memory_map(os.fsencode(file)) as source:
            reader = pa.ipc.open_file(source)
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._parts = [(_flat(batch.column(0)), _flat(batch.column(1))) for batch in batches]
        self._rows = [batch.column(2).to_numpy(zero_copy_only=True) for batch in batches]
        sizes = [len(batch) for batch in batches]
        self._starts = np.cumsum([0, *sizes])
        lengths = [np.diff(ids[1]) for ids, _ in self._parts]
        self.lengths: Lengths = np.concatenate([*lengths, np.zeros(0)]).astype(np.int64)
        """Tokens of each example."""
        learned = [_learned(*spans) for _, spans in self._parts]
        self.learned: Lengths = np.concatenate([*learned, np.zeros(0)]).astype(np.int64)
        """Tokens of each example that are learned."""

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, place: int) -> tuple[Ids, Ids]:
        """Return the token ids of an example and its learned spans, two places each."""
        part, row = self._position(place)
        ids, spans = (values[offsets[row] : offsets[row + 1]] for values, offsets in self._parts[part])
        return ids, spans

    def row(self, place: int) -> int:
        """Return the number of the corpus's row, counted from 1, that an example is from."""
        part, row = self._position(place)
        return int(self._rows[part][row])

    def _position(self, place: int) -> tuple[int, int]:
        """Return the part of the file that holds an example, and its place there."""
        part = int(np.searchsorted(self._starts, place, side="right")) - 1
        return part, place - int(self._starts[part])


def _learned(spans: Ids, starts: Lengths) -> Lengths:
    """Return the number of learned tokens of each example, as `Encoded.learned` counts them.

    The spans of an example begin at its place in `starts`.
    """
    pairs = spans.astype(np.int64).reshape(-1, 2)
    totals = np.concatenate([np.zeros(1, np.int64), np.cumsum(pairs[:, 1] - np.maximum(pairs[:, 0], 1))])
    result: Lengths = np.diff(totals[starts // 2])
    return result


def _flat(column: Any) -> tuple[Ids, Lengths]:
    """Return the values of a column of lists, one after another, and where each list begins; nothing is copied."""
    return column.values.to_numpy(zero_copy_only=True), column.offsets.to_numpy(zero_copy_only=True)
