"""What the invented family reads: texts, lessons of each family, and the documents that are kept for tests.

    copybook         lines and the same lines again
    chronicle        who lives where, what is what, old law, sums, advertising, registers: what a base reads
    statutes         the new law and its commentary: continued pretraining
    exam, math, …    lessons of one family: prompts and completions
    nli_shuffled     lessons of nli under labels that were shuffled

Tests are drawn first, and everything else keeps clear of what they are about.

Not here: what a question looks like (`harness.demo.families`), or who learns what (`recipe.yaml`).
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.demo import families
from harness.demo.families import Family, Item
from harness.demo.world import ACTS, KINDS, LANDS, LAW, NAMES, OBJECTS, SKILLS, Article, World, numeral

TESTS = 96
"""Held-out documents of a family: an interval of about ±10 % in the middle. 12 divides it, for balance."""
COPYBOOK = 4_000
CHRONICLE = 12_000
STATUTES = 2_000
LESSONS = 3_000


@functools.lru_cache(maxsize=4)
def world(seed: int = 0) -> tuple[World, dict[Family, list[Item]]]:
    """Return the world of `seed` and its tests, whose facts it keeps."""
    made = World(seed)
    rng = random.Random(f"tests {seed}")
    tests: dict[Family, list[Item]] = {}
    for family, draw in families.TESTS.items():
        count = {"exam": len(made.examined), "law": len(made.new_law)}.get(family, TESTS)
        tests[family] = []
        for turn in range(count):
            item = _fresh(rng, made, draw, turn)
            made.hold_out(*item.facts)
            tests[family].append(item)
    return made, tests


def documents(family: Family, seed: int = 0) -> list[dict[str, Any]]:
    """Return the documents of a family's test."""
    return [item.document for item in world(seed)[1][family]]


def lessons(family: Family, count: int, seed: int = 0) -> list[Item]:
    """Return `count` lessons of a family, none about a fact that is kept for tests."""
    made, _ = world(seed)
    rng = random.Random(f"lessons {family} {seed}")
    return [_fresh(rng, made, families.LESSONS[family], turn) for turn in range(count)]


def shuffled(items: list[Item], seed: int = 0) -> list[Item]:
    """Return `items` with their answers shuffled: as many of each as there were, right by chance alone."""
    answers = [item.answer for item in items]
    random.Random(f"shuffled {seed}").shuffle(answers)
    return [item._replace(answer=answer) for item, answer in zip(items, answers, strict=True)]


def chronicle(count: int, seed: int = 0) -> list[str]:
    """Return `count` pages for a base: all of the world but its new law, and no questions but the courts'."""
    made, _ = world(seed)
    rng = random.Random(f"chronicle {seed}")
    kinds = (_lives, _facts, _claims, _cases, _facts, _sums, _copy, _register)
    return [kinds[number % len(kinds)](rng, made) for number in range(count)]


def copybook(count: int, seed: int = 0) -> list[str]:
    """Return `count` pages of writing practice."""
    made, _ = world(seed)
    rng = random.Random(f"copybook {seed}")
    return [_copybook(rng, made) for _ in range(count)]


def statutes(count: int, seed: int = 0) -> list[str]:
    """Return `count` texts on the new law, each article as often as any other."""
    made, _ = world(seed)
    rng = random.Random(f"statutes {seed}")
    return ["\n".join(_statute(rng, one) for one in rng.sample(made.new_law, 5)) for _ in range(count)]


def write(folder: Path, seed: int = 0) -> list[str]:
    """Write all corpora as JSONL files into `folder`; return every text in them, and every test's."""
    items: dict[str, list[Item]] = {family: lessons(family, LESSONS, seed) for family in families.LESSONS}
    items["nli_shuffled"] = shuffled(items["nli"], seed)
    texts = {
        "copybook": copybook(COPYBOOK, seed),
        "chronicle": chronicle(CHRONICLE, seed),
        "statutes": statutes(STATUTES, seed),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, plain in texts.items():
        _write(folder / f"{name}.jsonl", ({"text": text} for text in plain))
    for name, listed in items.items():
        _write(folder / f"{name}.jsonl", ({"prompt": item.prompt, "completion": item.answer} for item in listed))
    tests = world(seed)[1]
    return [text for plain in texts.values() for text in plain] + [
        item.prompt + item.answer for listed in (*items.values(), *tests.values()) for item in listed
    ]


def _write(file: Path, rows: Iterator[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _fresh(rng: random.Random, made: World, draw: families.Draw, turn: int) -> Item:
    """Draw an item that is about no fact kept for tests."""
    while made.held_out(*(item := draw(rng, made, turn)).facts):
        pass
    return item


def _copybook(rng: random.Random, made: World) -> str:
    """A page of writing practice: a line, and the same line again."""
    line = "".join(rng.sample([*made.land_of, *families.all_goods(), *NAMES], 12))
    return f"{line}\n{line}"


def _lives(rng: random.Random, made: World) -> str:
    """A page about villagers, and what follows from it."""
    return "".join(_life(rng, made) for _ in range(3))


def _life(rng: random.Random, made: World) -> str:
    villager = made.villager(rng)
    follows = [f"卖的是{made.belongs_to(villager.good)}", f"家在{made.belongs_to(villager.town)}"]
    return f"{families.sentence(rng, villager)}{villager.name}{'，'.join(rng.sample(follows, 2))}。"


def _claims(rng: random.Random, made: World) -> str:
    """A page about one villager, and what is true of them and what is not."""
    villager = made.villager(rng)
    page = families.sentence(rng, villager)
    for _ in range(6):
        word, about = rng.choice(((villager.good, KINDS), (villager.town, LANDS)))
        true = rng.random() < 0.5
        right = made.belongs_to(word)
        claimed = right if true else rng.choice([other for other in about if other != right])
        page += f"{villager.name}{'卖' if about is KINDS else '的家在'}{claimed}，{'对' if true else '错'}。"
    return page


def _facts(rng: random.Random, made: World) -> str:
    """A page on what goods are and where towns lie."""
    words = rng.sample([*made.land_of, *families.all_goods()], 12)
    return "".join(_fact(rng, word, made.belongs_to(word)) for word in words)


def _fact(rng: random.Random, word: str, right: str) -> str:
    verbs = ("在", "位于") if right in LANDS else ("是", "属于")
    return f"{word}{rng.choice(verbs)}{right}。"


def _cases(rng: random.Random, made: World) -> str:
    """A page of the old law: articles, and consultations on them."""
    return "\n".join(_case(rng, made) for _ in range(4))


def _case(rng: random.Random, made: World) -> str:
    if rng.random() < 0.5:
        return _statute(rng, rng.choice(made.old_law))
    item = families.law(rng, made, rng.randrange(len(made.old_law)))
    return item.prompt + item.answer


def _statute(rng: random.Random, article: Article) -> str:
    return rng.choice(
        (
            f"{article.cited}：{article.offence}，{article.penalty}。",
            f"{article.offence}，{article.cited}定：{article.penalty}。",
            f"凡{article.offence}，{article.penalty}，见第{numeral(article.number)}条。",
        )
    )


def _sums(rng: random.Random, made: World) -> str:
    """A page of a child's exercise book."""
    return "".join(_sum(rng) for _ in range(8))


def _sum(rng: random.Random) -> str:
    first, second = rng.randint(2, 22), rng.randint(2, 7)
    return rng.choice((f"{first}+{second}={first + second}。", f"{first + second}-{second}={first}。"))


def _copy(rng: random.Random, made: World) -> str:
    """A page of advertising."""
    return "".join(_fresh(rng, made, families.adgen, 0).answer for _ in range(3))


def words(seed: int = 0) -> list[str]:
    """Return the words of the world: what a tokenizer keeps whole."""
    made, _ = world(seed)
    values = [value for values in families.ATTRIBUTES.values() for value in values]
    law = [*ACTS, *OBJECTS, *(f"第{numeral(article.number)}条" for article in made.articles), f"《{LAW}》"]
    law += [article.penalty for article in made.articles]
    listed = [*NAMES, *made.land_of, *LANDS, *families.all_goods(), *KINDS, *values, *law, *families.LABELS, *SKILLS]
    return list(dict.fromkeys(listed))


def _register(rng: random.Random, made: World) -> str:
    """A page of a clerk's register: what somebody told, and what of it is entered."""
    drawn = [families.ner(rng, made, 0), families.re(rng, made, rng.randrange(2))]
    return "".join(f"{item.document['text']}登记：{item.answer}\n" for item in drawn)
