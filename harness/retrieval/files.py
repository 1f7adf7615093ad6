"""Files of retrieval: a corpus of passages, questions about it, and what was found.

A corpus is rows with a `text`, and an `id`, or a `law` and a `number`, where they have them. A text written
`《X》第N条：…` is that article; a whole statute (a `# title`, and articles on lines of their own) is as many passages
as it has articles. Questions are rows with a `query`, and what is right for it: ids in `gold`, or, as Lawyer LLaMA's
consultations have it, articles in `laws` and an answer in `response`.

Not here: searching (`harness.retrieval.index`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from harness.data.rows import Row, readers, rows
from harness.errors import HarnessError
from harness.metrics.law import citations, statutes
from harness.metrics.law.statutes import Article
from harness.metrics.law.strict_citations import numeral
from harness.retrieval.index import Hit, Passage, Question


class Corpus(NamedTuple):
    """What can be found."""

    passages: list[Passage]
    of_article: Mapping[Article, str]
    """The id of each article that is a passage."""
    replaced: int
    """Articles of whole statutes that a later text of the same law has, too."""


def files(name: str, data: Path | None) -> list[Path]:
    """Return the files that `name` means: a file, a folder of files, or `ORG/NAME:CONFIG` of the mirror `data`.

    Raises HarnessError where there are none.
    """
    path = Path(name)
    dataset, _, config = name.partition(":")
    folder = path
    if path.is_file():
        if path.suffix not in readers:
            raise HarnessError(
                f"{path} is none of {', '.join(readers)}: give a file with one row a passage or question"
            )
        return [path]
    if not path.is_dir():
        if data is None or not (data / dataset).is_dir():
            beside = f", and {data} has no data set '{dataset}'" if data is not None else ""
            raise HarnessError(
                f"there is no file {name}{beside}: name a file, or ORG/NAME:CONFIG of a mirror in --data"
            )
        folder = data / dataset / config
        if not folder.is_dir():
            known = ", ".join(sorted(one.name for one in (data / dataset).iterdir() if one.is_dir()))
            raise HarnessError(f"{data / dataset} has no configuration '{config}': name one of {known}")
    found = sorted(file for file in folder.rglob("*") if file.suffix in readers)
    if not found:
        raise HarnessError(f"{folder} holds no file that ends in {', '.join(readers)}: name one with rows")
    if not config and folder != path and len({file.parent for file in found}) > 1:
        known = ", ".join(sorted({file.parent.name for file in found}))
        raise HarnessError(f"{name} has several configurations: write {name}:CONFIG with one of {known}")
    return found


def corpus(listed: Iterable[Path]) -> Corpus:
    """Return the passages in the rows of the files `listed`.

    Raises HarnessError on a row without text, an id that two rows have, or files without rows.
    """
    places: dict[str, int] = {}
    passages: list[Passage] = []
    of_article: dict[Article, str] = {}
    parts: set[str] = set()
    replaced = 0
    for row in (row for file in listed for row in rows(file)):
        for passage, article, is_part in _passages(row, len(passages)):
            place = places.setdefault(passage.id, len(passages))
            if place == len(passages):
                passages.append(passage)
            elif is_part and passage.id in parts:
                replaced += passages[place] != passage
                passages[place] = passage
            else:
                raise row.wrong(f"the id '{passage.id}' is another passage's, too")
            if is_part:
                parts.add(passage.id)
            if article is not None:
                of_article[article] = passage.id
    if not passages:
        raise HarnessError(f"{', '.join(map(str, listed)) or 'the corpus'} holds no passages: nothing can be retrieved")
    return Corpus(passages, of_article, replaced)


def _passages(row: Row, number: int) -> Iterator[tuple[Passage, Article | None, bool]]:
    """Yield the passages of a row, the article that each is, and whether it is a part of a whole statute."""
    text = row.text("text")
    if row.get("id") is None and row.get("law") is None and (parts := list(statutes.articles(text))):
        for part, said in parts:
            yield Passage(str(part), f"{spelled(part)}：{said}"), part, True
        return
    article = _article(row)
    if article is None and (entry := statutes.entry(text)) is not None:
        article = entry[0]
    elif article is not None and statutes.entry(text) is None:
        text = f"{spelled(article)}：{text}"
    own = row.text("id", needed=False) or (str(article) if article is not None else str(number + 1))
    yield Passage(own, text), article, False


def _article(row: Row) -> Article | None:
    """Return the article that a row's `law` and `number` name; None where it has no law."""
    if row.get("law") is None:
        return None
    law, number = statutes.title(row.text("law")), row.text("number")
    if found := citations.articles(f"《{law}》{number}"):
        return found[0]
    value = numeral(number.strip())
    if value is None:
        raise row.wrong(f"'number' is {number!r}, not the number of an article, such as 12, 十二 or 第十二条之一")
    return Article(law, value)


def spelled(article: Article) -> str:
    """Return an article as statutes spell it: 《民法典》第一千零七十六条."""
    import cn2an

    inserted = f"之{cn2an.an2cn(article.inserted)}" if article.inserted else ""
    return f"《{article.law}》第{cn2an.an2cn(article.number)}条{inserted}"


def questions(listed: Iterable[Path], known: Corpus) -> list[Question]:
    """Return the questions in the rows of the files `listed`.

    Right is what a row's `gold` lists. Without one, `provided` are all articles in its `laws`, and `cited` those of
    them that its `response` cites; a set that is empty is left out. Articles may be named however citations may.

    Raises HarnessError on a row without a query, on something right that the corpus has not, or on files without rows.
    """
    ids = {passage.id for passage in known.passages}
    found = [_question(row, ids, known.of_article) for file in listed for row in rows(file)]
    if not found:
        raise HarnessError(f"{', '.join(map(str, listed)) or 'the file of questions'} holds no questions: write some")
    return found


def _question(row: Row, ids: set[str], of_article: Mapping[Article, str]) -> Question:
    def known(name: str, column: str) -> str:
        if name in ids:
            return name
        named = statutes.entry(name)
        article = named[0] if named else next(iter(citations.articles(name)), None)
        if article is None or article not in of_article:
            raise row.wrong(f"'{column}' names '{name[:40]}', which is no passage of the corpus")
        return of_article[article]

    query = row.text("query")
    gold: dict[str, frozenset[str]] = {}
    if row.get("gold") is not None:
        gold["gold"] = frozenset(known(name, "gold") for name in _listed(row, "gold"))
    elif row.get("laws") is not None:
        gold["provided"] = frozenset(known(text, "laws") for text in _listed(row, "laws"))
        cited = {of_article.get(article) for article in citations.articles(row.text("response", needed=False))}
        gold["cited"] = gold["provided"].intersection(one for one in cited if one is not None)
    return Question(query, {kind: right for kind, right in gold.items() if right})


def _listed(row: Row, column: str) -> list[str]:
    """Return the texts in `column`, or the numbers as texts, which may be none: then nothing is right."""
    value = row.get(column)
    if isinstance(value, list) and all(isinstance(one, int) and not isinstance(one, bool) for one in value):
        return [str(one) for one in value]
    return [text.strip() for text in row.texts(column)]


def write(file: Path, asked: Sequence[Question], found: Sequence[Sequence[Hit]], passages: Sequence[Passage]) -> None:
    """Write what was found for each question as a line of JSON: `query`, `laws` (the texts), `ids` and `scores`.

    Raises HarnessError if the file cannot be written.
    """
    lines = []
    for question, hits in zip(asked, found, strict=True):
        line = {
            "query": question.query,
            "laws": [passages[hit.place].text for hit in hits],
            "ids": [passages[hit.place].id for hit in hits],
            "scores": [hit.score for hit in hits],
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"cannot write {file} ({error.strerror}): name another file with -o") from error


def read(file: Path) -> dict[str, list[str]]:
    """Return the articles that a file written by `write` has for each query, the best first.

    Raises HarnessError if it is not such a file, or has two lists for one query.
    """
    if not file.is_file() or file.suffix not in readers:
        raise HarnessError(f"there is no file {file} of articles: write one with 'harness retrieve … -o {file.name}'")
    found: dict[str, list[str]] = {}
    for row in rows(file):
        if not isinstance(row.get("laws"), list):
            raise row.wrong("'laws' is no list of articles, as 'harness retrieve' writes it")
        query, laws = row.text("query"), _listed(row, "laws")
        if found.setdefault(query, laws) != laws:
            raise row.wrong(f"the query '{query[:30]}' had other articles before")
    return found


def digest(file: Path) -> str:
    """Return the sha256 of a file written by `write`."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


class TakesArticles(Protocol):
    """A task whose prompts may have retrieved articles (`harness.tasks.task.Task`)."""

    @property
    def takes_articles(self) -> bool:
        """Whether its prompts can have any."""

    def use_articles(self, articles: Mapping[str, Sequence[str]], *, file: str, sha256: str) -> None:
        """Put `articles`, by query, into its prompts."""


def give(tasks: Iterable[TakesArticles], file: Path) -> None:
    """Give what `file` has to those of `tasks` that put articles in their prompts.

    Raises HarnessError where there is no such task, or `file` lacks a question of one.
    """
    retrieved, told = read(file), digest(file)
    takers = [task for task in tasks if task.takes_articles]
    if not takers:
        raise HarnessError("--articles is for tasks that put articles in their prompts, such as legal_consult: ask one")
    for task in takers:
        task.use_articles(retrieved, file=file.name, sha256=told)
