"""Training examples: rows of a person's files → texts, pairs and conversations.

The layouts are those of `--tasks FILE` (`harness.tasks.own_files`): the question that is learned here is the prompt
that is asked there. A file of `{"text": …}` rows, a `.txt` file or a folder of such files holds documents, all of whose
text is learned.

A file is read twice, so that no more than one row of it is in memory: its layout depends on all its columns.

Not here: how a conversation becomes text (`harness.training.dialogues`), and token ids (`harness.training.encoding`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.common import places
from harness.data import rows
from harness.data.rows import Notes, Row
from harness.errors import HarnessError
from harness.tasks.own_files import layouts, question_files, texts
from harness.tasks.own_files.layouts import Document, Turn

_TEXT = "text"
_TURN_KEYS = ("from", "value", "role", "content")
"""The keys of a turn that are read."""
_LEARNED_KEYS = ("weight", "loss", "train")
"""Keys of a turn with which other trainers say whether it is learned."""


@dataclass(frozen=True)
class Passage:
    """A document, all of whose text is learned."""

    text: str


@dataclass(frozen=True)
class Completion:
    """A prompt and the text that follows it directly."""

    prompt: str
    text: str
    delimiter: str = ""
    """What is between both, unless the pair is written as a conversation."""


@dataclass(frozen=True)
class Conversation:
    """Turns (role and content) that end with an answer; a system prompt may be the first."""

    turns: tuple[Turn, ...]
    articles: tuple[str, ...] = ()
    """Articles of law that the last question ends with."""
    input: str = ""
    """The text that the last question ends with if a row states it apart from its instruction."""

    @property
    def has_system(self) -> bool:
        """Whether the first turn is a system prompt."""
        return self.turns[0]["role"] == "system"

    @property
    def system(self) -> str:
        """The content of the system prompt; empty if there is none."""
        return self.turns[0]["content"] if self.has_system else ""

    @property
    def exchanges(self) -> list[tuple[str, str]]:
        """Each question with its answer. Raises ValueError if questions and answers do not alternate."""
        if self.disorder:
            raise ValueError(f"{self.disorder}: correct or remove it, or use the tokenizer's template")
        contents = [turn["content"] for turn in self.turns[self.has_system :]]
        return list(zip(contents[::2], contents[1::2], strict=True))

    @property
    def disorder(self) -> str:
        """How its questions and answers do not alternate, as a sentence; empty if they do."""
        roles = [turn["role"] for turn in self.turns[self.has_system :]]
        if roles == ["user", "assistant"] * (len(roles) // 2):
            return ""
        return f"its questions and answers do not alternate ({_shortened(roles)})"

    @property
    def instruction(self) -> str:
        """The last question without its input and its articles."""
        question = next(turn["content"] for turn in reversed(self.turns) if turn["role"] == "user")
        if self.articles:
            question = question.removesuffix(layouts.quoted(self.articles)).removesuffix("\n")
        return question.removesuffix(self.input).removesuffix("\n") if self.input else question


def _shortened(roles: list[str]) -> str:
    return ", ".join(roles) if len(roles) <= 6 else f"{', '.join(roles[:3])} … {', '.join(roles[-3:])}"


Example = Passage | Completion | Conversation


@dataclass(frozen=True)
class Invalid:
    """A row that is no example."""

    reason: str
    """A sentence that names its place."""


@dataclass(frozen=True)
class Located:
    """An example and where it stands."""

    where: str
    """Its place in messages: `law.jsonl, line 3`."""
    example: Example | Invalid


def read(path: Path, notes: Notes, *, refuses_invalid: bool = True) -> Iterator[Located]:
    """Yield the examples of a file, or of a folder of documents, in order.

    Appends to `notes` what was decided about the file or left out of it. Raises HarnessError if the path is missing, is
    of no known kind or layout or holds nothing, or if a row is not an example (the message names its line). Without
    `refuses_invalid`, such a row is Invalid if the file's columns hold no choices or bare questions.
    """
    if not path.exists():
        raise HarnessError(f"there is no corpus {path}: correct the recipe's path")
    if path.is_dir() or path.suffix.lower() == ".txt":
        yield from _documents(path, notes)
        return
    if not rows.is_supported(path):
        kinds = ", ".join((*rows.READERS, ".txt"))
        raise HarnessError(f"the corpus {path} cannot be read: supported are {kinds}, and folders of documents")
    names, unread_keys = _columns(path)
    if not names:
        raise HarnessError(f"the corpus {path} is empty: there is nothing to learn from")
    layout = _layout(path, names)
    if layout is not None and (layout.is_bare_question or layout.choices):
        yield from _questions(path, notes)
        return
    columns = (*layout.columns, _TEXT) if layout is not None else texts.COLUMNS
    if unread := [name for name in names if name not in columns]:
        notes.sentences.append(f"columns not read: {', '.join(unread)}")
    if unread_keys:
        counted = ", ".join(f"{key} (in {count:,})" for key, count in unread_keys.items())
        notes.sentences.append(f"keys of turns not read: {counted}")
    for row in rows.read(path, notes):
        try:
            _require_learned(row)
            yield Located(row.where, _passage(row) if layout is None else _of_row(row, layout, notes))
        except HarnessError as error:
            if refuses_invalid:
                raise HarnessError(f"{error}, or set invalid_rows: drop for this corpus") from error
            yield Located(row.where, Invalid(str(error)))


def _columns(path: Path) -> tuple[list[str], dict[str, int]]:
    """Return the columns of a file that hold anything, and how many turns have each key that is not read."""
    names: dict[str, None] = {}
    keys: Counter[str] = Counter()
    for row in rows.read(path):
        names |= dict.fromkeys(row.names())
        for turn in _turns(row):
            ignored = [key for key, value in turn.items() if key not in (*_TURN_KEYS, *_LEARNED_KEYS) and value]
            keys.update(map(str, ignored))
    return list(names), dict(keys)


def _turns(row: Row) -> Iterator[Mapping[object, object]]:
    """Yield the turns of a row that holds a conversation."""
    for column in layouts.CONVERSATIONS:
        listed = row.get(column)
        if isinstance(listed, list):
            yield from (turn for turn in listed if isinstance(turn, Mapping))


def _require_learned(row: Row) -> None:
    """Raise HarnessError if an answer is marked as not to be learned, which no setting of a corpus expresses."""
    for turn in filter(layouts.is_answer, _turns(row)):
        for key in _LEARNED_KEYS:
            if turn.get(key) in (0, False):  # None is what tables hold where a turn has no mark
                raise row.error(
                    f"an answer has '{key}': {turn[key]}, so it is not to be learned, and answers are learned by "
                    "place: remove the mark and set learn: last_answer, or remove what follows the answers to learn"
                )


def _layout(path: Path, names: list[str]) -> layouts.Layout | None:
    """Return the layout of the columns `names`, or None if the file holds documents."""
    others = [name for name in names if name != _TEXT]
    try:
        return layouts.recognise(path, others)
    except HarnessError as error:
        if any(name in names for name in texts.COLUMNS):
            return None
        raise HarnessError(
            f"{path}: no known layout in the columns {', '.join(names)}: rename them, known are {_TEXT}, "
            f"{layouts.SUPPORTED}"
        ) from error


def _of_row(row: Row, layout: layouts.Layout, notes: Notes) -> Example:
    """Return the example of a row in a file with a layout, some of whose rows may be documents."""
    has_text = row.get(_TEXT) is not None
    if has_text and not any(row.get(name) is not None for name in layout.columns):
        return _passage(row)
    if has_text:
        raise row.error(f"it has a '{_TEXT}' beside {', '.join(layout.columns)}, so it may be either kind of example")
    document = layout.document(row)
    notes.several_answers += len(document["answers"]) > 1
    return _of_document(document)


def _of_document(document: Document) -> Example:
    answer = str(document["answer"])
    if turns := document.get("turns"):
        last = Turn(role="assistant", content=answer)
        return Conversation((*turns, last), tuple(document.get("articles", ())), str(document.get("input", "")))
    return Completion(str(document["prompt"]), answer)


def _passage(row: Row) -> Passage:
    """Return the document in `row`; an empty one teaches nothing, and is counted as such."""
    for column in texts.COLUMNS:
        if row.get(column) is not None:
            return Passage(row.text(column, needed=False))
    raise row.error(f"it has no '{_TEXT}'")


def _documents(path: Path, notes: Notes) -> Iterator[Located]:
    if path.is_dir():
        _require_documents(file for file in places.visible_below(path).files if rows.is_supported(file))
    is_empty = True
    for document in texts.iterate(path, notes):
        is_empty &= not document.text
        yield Located(document.where, Passage(document.text))
    if is_empty:
        raise HarnessError(f"the corpus {path} is empty: there is nothing to learn from")


def _require_documents(files: Iterable[Path]) -> None:
    """Raise HarnessError if a file of rows holds anything besides documents, since a folder is read for those only."""
    for file in files:
        if file.suffix.lower() not in texts.SUPPORTED:
            continue
        names, _ = _columns(file)
        others = [name for name in names if name not in texts.COLUMNS]
        answers = names and _layout(file, names) is not None
        if answers or (others and _has_layout(file, others)):
            raise HarnessError(
                f"{file} has the columns {', '.join(names)}, and of a folder only documents are read: name the file "
                "itself as a corpus"
            )


def _has_layout(file: Path, names: list[str]) -> bool:
    try:
        layouts.recognise(file, names)
    except HarnessError:
        return False
    return True


def _questions(path: Path, notes: Notes) -> Iterator[Located]:
    """Yield the questions of a test set with the cue behind which a run reads their answers."""
    content = question_files.read(path, ("contains",))
    notes.sentences += content.notes
    if content.unread:
        notes.sentences.append(f"columns not read: {', '.join(content.unread)}")
    for row, document in zip(rows.read(path), content.documents, strict=True):
        answer = document["answer"]
        notes.several_answers += len(document.get("answers", ())) > 1
        text = document["letters"][answer] if isinstance(answer, int) else str(answer)
        yield Located(row.where, Completion(str(document["prompt"]), text, content.delimiter))
