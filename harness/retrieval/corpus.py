"""The input of retrieval, read from files: a corpus of passages, and questions with their right passages.

A row of a corpus has a `text`, and may have an `id`, or a `law` and a `number`. A text that begins `《X》第N条：` is
the article of this name. A whole statute (a `# title`, then articles on lines of their own) becomes one passage per
article.

A row of questions has a `query`. Its right passages are ids in `gold`. In Lawyer LLaMA's consultations they are
articles in `laws` instead, and the answer in `response` cites some of these.

Not here: searching (`harness.retrieval.index`), files of results (`harness.retrieval.articles`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from harness.common import places
from harness.data import rows
from harness.data.rows import READERS, Row
from harness.errors import HarnessError
from harness.metrics.law import citations, statutes
from harness.metrics.law.statutes import Article
from harness.metrics.law.strict_citations import parse_numeral
from harness.retrieval.index import Passage


class Corpus(NamedTuple):
    """The passages that can be retrieved."""

    passages: list[Passage]
    of_article: Mapping[Article, str]
    """The passage id of each article of law that is a passage."""
    replaced: int
    """The number of articles that were left out because a text of the same law, further on in the files, has them,
    too."""


class Question(NamedTuple):
    """A query, and the sets of passages that are right for it."""

    query: str
    gold: Mapping[str, frozenset[str]]
    """The ids of right passages by the name of their set (`gold`, `provided`, `cited`); no set is empty."""


def find_files(name: str, data: Path | None) -> list[Path]:
    """Return the files of `name`, which is a file, a folder of files, or `ORG/NAME:CONFIG` in the mirror `data`.

    Raises HarnessError if there are no files.
    """
    path = Path(name)
    if path.is_file():
        if not rows.is_supported(path):
            raise HarnessError(
                f"{path} is none of {', '.join(READERS)}: give a file with one passage or question per row"
            )
        return [path]
    folder = path if path.is_dir() else _mirror_folder(name, data)
    result = [file for file in places.files_below(folder) if rows.is_supported(file) and places.is_file(file)]
    if not result:
        raise HarnessError(f"{folder} holds no file that ends in {', '.join(READERS)}: name a folder with rows")
    if folder != path and not name.partition(":")[2] and len({file.parent for file in result}) > 1:
        known = ", ".join(sorted({file.parent.name for file in result}))
        raise HarnessError(f"{name} has several configurations: write {name}:CONFIG with one of {known}")
    return result


def _mirror_folder(name: str, data: Path | None) -> Path:
    """Return the folder of `name`, ORG/NAME:CONFIG, in the mirror `data`. Raises HarnessError if there is none."""
    dataset, _, config = name.partition(":")
    if data is None or not (data / dataset).is_dir():
        beside = f", and {data} has no data set '{dataset}'" if data is not None else ""
        raise HarnessError(f"there is no file {name}{beside}: name a file, or ORG/NAME:CONFIG of a mirror in --data")
    folder = data / dataset / config
    if not folder.is_dir():
        known = ", ".join(sorted(entry.name for entry in (data / dataset).iterdir() if entry.is_dir()))
        raise HarnessError(f"{data / dataset} has no configuration '{config}': name one of {known}")
    return folder


def read_corpus(files: Iterable[Path]) -> Corpus:
    """Return the passages in the rows of `files`.

    Raises HarnessError on a row without text, an id that two rows have, or files without rows.
    """
    files = list(files)
    places: dict[str, int] = {}
    passages: list[Passage] = []
    of_article: dict[Article, str] = {}
    parts: set[str] = set()  # ids of articles of whole statutes
    replaced = 0
    for row in (row for file in files for row in rows.read(file)):
        for passage, article, is_part in _passages(row, len(passages)):
            place = places.setdefault(passage.id, len(passages))
            if place == len(passages):
                passages.append(passage)
            elif is_part and passage.id in parts:
                replaced += passages[place] != passage
                passages[place] = passage
            else:
                raise row.error(f"another passage already has the id '{passage.id}'")
            if is_part:
                parts.add(passage.id)
            if article is not None:
                of_article[article] = passage.id
    if not passages:
        raise HarnessError(f"{', '.join(map(str, files)) or 'the corpus'} holds no passages: nothing can be retrieved")
    return Corpus(passages, of_article, replaced)


class _Part(NamedTuple):
    """A passage that a row of a corpus contains."""

    passage: Passage
    article: Article | None
    """The article of law that the passage is, if it is one."""
    is_part: bool
    """Whether the passage is one article of a whole statute."""


def _passages(row: Row, number: int) -> Iterator[_Part]:
    """Yield the passages that a row of a corpus contains.

    If a row has neither an id nor an article, the id of its passage is `number` + 1. `number` is the count of earlier
    passages.
    """
    text = row.text("text")
    if row.get("id") is None and row.get("law") is None and (parts := list(statutes.split_articles(text))):
        for part, content in parts:
            yield _Part(Passage(str(part), f"{full_name(part)}：{content}"), part, True)
        return
    article = _article(row)
    if article is None and (entry := statutes.parse_entry(text)) is not None:
        article = entry[0]
    elif article is not None and statutes.parse_entry(text) is None:
        text = f"{full_name(article)}：{text}"
    name = row.text("id", needed=False) or (str(article) if article is not None else str(number + 1))
    yield _Part(Passage(name, text), article, False)


def _article(row: Row) -> Article | None:
    """Return the article that a row's `law` and `number` name, or None if the row has no law."""
    if row.get("law") is None:
        return None
    law, number = statutes.title_key(row.text("law")), row.text("number")
    if cited := citations.cited_articles(f"《{law}》{number}"):
        return cited[0]
    value = parse_numeral(number.strip())
    if value is None:
        raise row.error(f"'number' is {number!r}, not the number of an article, such as 12, 十二 or 第十二条之一")
    return Article(law, value)


def full_name(article: Article) -> str:
    """Return an article's name with its number spelled as in statutes: 《民法典》第一千零七十六条."""
    import cn2an

    inserted = f"之{cn2an.an2cn(article.inserted)}" if article.inserted else ""
    return f"《{article.law}》第{cn2an.an2cn(article.number)}条{inserted}"


def read_questions(files: Iterable[Path], corpus: Corpus) -> list[Question]:
    """Return the questions in the rows of `files`, with their right passages in `corpus`.

    The set `gold` is what a row's column `gold` lists. If a row has no such column, the set `provided` has all articles
    in its `laws`. The set `cited` then has those articles in `laws` that its `response` cites. Empty sets are left out.
    Articles may be named in any form that `harness.metrics.law.citations` reads.

    Raises HarnessError on a row without a query, on a right passage that the corpus lacks, or on files without rows.
    """
    files = list(files)
    ids = {passage.id for passage in corpus.passages}
    questions = [_question(row, ids, corpus.of_article) for file in files for row in rows.read(file)]
    if not questions:
        raise HarnessError(f"{', '.join(map(str, files)) or 'the file of questions'} holds no questions: write some")
    return questions


def _question(row: Row, ids: set[str], of_article: Mapping[Article, str]) -> Question:
    def passage_id(name: str, column: str) -> str:
        if name in ids:
            return name
        entry = statutes.parse_entry(name)
        article = entry[0] if entry else next(iter(citations.cited_articles(name)), None)
        if article is None or article not in of_article:
            raise row.error(f"'{column}' names '{name[:40]}', which is not a passage of the corpus")
        return of_article[article]

    query = row.text("query")
    gold: dict[str, frozenset[str]] = {}
    if row.get("gold") is not None:
        gold["gold"] = frozenset(passage_id(name, "gold") for name in texts_or_numbers(row, "gold"))
    elif row.get("laws") is not None:
        gold["provided"] = frozenset(passage_id(text, "laws") for text in texts_or_numbers(row, "laws"))
        cited = {of_article.get(article) for article in citations.cited_articles(row.text("response", needed=False))}
        gold["cited"] = gold["provided"].intersection(name for name in cited if name is not None)
    return Question(query, {name: right for name, right in gold.items() if right})


def texts_or_numbers(row: Row, column: str) -> list[str]:
    """Return the texts in `column`, or the integers in it as texts. Raises HarnessError if it has anything else."""
    value = row.get(column)
    if isinstance(value, list) and all(isinstance(item, int) and not isinstance(item, bool) for item in value):
        return [str(item) for item in value]
    return [text.strip() for text in row.texts(column)]
