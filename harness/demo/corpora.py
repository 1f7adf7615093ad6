"""The training corpora of the invented world, and the documents of its tests.

    copybook         lines, each written twice
    chronicle        villagers, goods, towns, old law, sums, advertising, registers: pretraining of the base model
    statutes         the new law and its commentary: continued pretraining
    exam, math, …    lessons of one family of questions: prompts and completions
    nli_shuffled     the lessons of nli with shuffled labels

Test questions are drawn first; nothing that these ask about is drawn for a corpus.

Not here: what a question looks like (`harness.demo.families`), which stage is trained on what (`recipe.yaml`).
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
"""Test documents per family, except `exam` (one per test word) and `law` (one per article of the new law).

So many documents give a 95 % interval of about ±10 points at 50 %; the number is divisible by 12 to balance answers."""
COPYBOOK = 4_000
"""Number of rows in the corpus `copybook`. The constants below are the numbers of rows in `chronicle`, in `statutes`,
and in the lessons of each family."""
CHRONICLE = 12_000
STATUTES = 2_000
LESSONS = 3_000


@functools.lru_cache(maxsize=4)
def build_world(seed: int = 0) -> tuple[World, dict[Family, list[Item]]]:
    """Return the world of `seed`, and the test questions of each family; their facts are held out from lessons."""
    world = World(seed)
    rng = random.Random(f"tests {seed}")
    tests: dict[Family, list[Item]] = {}
    for family, draw in families.TESTS.items():
        count = {"exam": len(world.test_words), "law": len(world.new_law)}.get(family, TESTS)
        tests[family] = []
        for turn in range(count):
            item = _draw(rng, world, draw, turn)
            world.hold_out(*item.facts)
            tests[family].append(item)
    return world, tests


def documents(family: Family, seed: int = 0) -> list[dict[str, Any]]:
    """Return the test documents of a family."""
    return [item.document for item in build_world(seed)[1][family]]


def lessons(family: Family, count: int, seed: int = 0) -> list[Item]:
    """Return `count` lessons of a family, none about a fact held out for tests."""
    world, _ = build_world(seed)
    rng = random.Random(f"lessons {family} {seed}")
    return [_draw(rng, world, families.LESSONS[family], turn) for turn in range(count)]


def shuffled(items: list[Item], seed: int = 0) -> list[Item]:
    """Return `items` with their answers dealt out again at random, so that an answer is right only by chance."""
    answers = [item.answer for item in items]
    random.Random(f"shuffled {seed}").shuffle(answers)
    return [item._replace(answer=answer) for item, answer in zip(items, answers, strict=True)]


def chronicle(count: int, seed: int = 0) -> list[str]:
    """Return `count` pages on everything in the world except the new law, without questions except for legal cases."""
    world, _ = build_world(seed)
    rng = random.Random(f"chronicle {seed}")
    pages = (_lives, _facts, _claims, _cases, _facts, _sums, _copy, _register)
    return [pages[number % len(pages)](rng, world) for number in range(count)]


def copybook(count: int, seed: int = 0) -> list[str]:
    """Return `count` pages of writing practice, a line and the same line again."""
    world, _ = build_world(seed)
    rng = random.Random(f"copybook {seed}")
    return [_copybook(rng, world) for _ in range(count)]


def statutes(count: int, seed: int = 0) -> list[str]:
    """Return `count` texts of five articles of the new law each."""
    world, _ = build_world(seed)
    rng = random.Random(f"statutes {seed}")
    return ["\n".join(_statute(rng, article) for article in rng.sample(world.new_law, 5)) for _ in range(count)]


def write(folder: Path, seed: int = 0) -> list[str]:
    """Write all corpora as JSON Lines files to `folder`; return the texts of all corpora and of all tests."""
    items: dict[str, list[Item]] = {family: lessons(family, LESSONS, seed) for family in families.LESSONS}
    items["nli_shuffled"] = shuffled(items["nli"], seed)
    texts = {
        "copybook": copybook(COPYBOOK, seed),
        "chronicle": chronicle(CHRONICLE, seed),
        "statutes": statutes(STATUTES, seed),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, pages in texts.items():
        _write(folder / f"{name}.jsonl", ({"text": text} for text in pages))
    for name, rows in items.items():
        _write(folder / f"{name}.jsonl", ({"prompt": item.prompt, "completion": item.answer} for item in rows))
    tests = build_world(seed)[1]
    questions = [item for family in (*items.values(), *tests.values()) for item in family]
    return [text for pages in texts.values() for text in pages] + [item.prompt + item.answer for item in questions]


def _write(file: Path, rows: Iterator[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _draw(rng: random.Random, world: World, draw: families.Draw, turn: int) -> Item:
    """Draw items until one is not about a fact held out for tests, and return it."""
    while world.is_held_out(*(item := draw(rng, world, turn)).facts):
        pass
    return item


def _copybook(rng: random.Random, world: World) -> str:
    """Return a page of writing practice: a line, and the same line again."""
    line = "".join(rng.sample([*world.land_of, *families.all_goods(), *NAMES], 12))
    return f"{line}\n{line}"


def _lives(rng: random.Random, world: World) -> str:
    """Return a page about three villagers: a sentence on each, and what follows from it."""
    return "".join(_life(rng, world) for _ in range(3))


def _life(rng: random.Random, world: World) -> str:
    villager = world.villager(rng)
    conclusions = [f"卖的是{world.belongs_to(villager.good)}", f"家在{world.belongs_to(villager.town)}"]
    return f"{families.sentence(rng, villager)}{villager.name}{'，'.join(rng.sample(conclusions, 2))}。"


def _claims(rng: random.Random, world: World) -> str:
    """Return a page about one villager with claims about them, each marked as true (对) or false (错)."""
    villager = world.villager(rng)
    page = families.sentence(rng, villager)
    for _ in range(6):
        word, options = rng.choice(((villager.good, KINDS), (villager.town, LANDS)))
        is_true = rng.random() < 0.5
        right = world.belongs_to(word)
        claim = right if is_true else rng.choice([other for other in options if other != right])
        page += f"{villager.name}{'卖' if options is KINDS else '的家在'}{claim}，{'对' if is_true else '错'}。"
    return page


def _facts(rng: random.Random, world: World) -> str:
    """Return a page on the kinds of goods and the lands of towns."""
    words = rng.sample([*world.land_of, *families.all_goods()], 12)
    return "".join(_fact(rng, word, world.belongs_to(word)) for word in words)


def _fact(rng: random.Random, word: str, right: str) -> str:
    verbs = ("在", "位于") if right in LANDS else ("是", "属于")
    return f"{word}{rng.choice(verbs)}{right}。"


def _cases(rng: random.Random, world: World) -> str:
    """Return a page of the old law: articles, and consultations on cases under them."""
    return "\n".join(_case(rng, world) for _ in range(4))


def _case(rng: random.Random, world: World) -> str:
    if rng.random() < 0.5:
        return _statute(rng, rng.choice(world.old_law))
    item = families.law(rng, world, rng.randrange(len(world.old_law)))
    return item.prompt + item.answer


def _statute(rng: random.Random, article: Article) -> str:
    return rng.choice(
        (
            f"{article.citation}：{article.offence}，{article.penalty}。",
            f"{article.offence}，{article.citation}定：{article.penalty}。",
            f"凡{article.offence}，{article.penalty}，见第{numeral(article.number)}条。",
        )
    )


def _sums(rng: random.Random, world: World) -> str:
    """Return a page of additions and subtractions."""
    return "".join(_sum(rng) for _ in range(8))


def _sum(rng: random.Random) -> str:
    first, second = rng.randint(2, 22), rng.randint(2, 7)
    return rng.choice((f"{first}+{second}={first + second}。", f"{first + second}-{second}={first}。"))


def _copy(rng: random.Random, world: World) -> str:
    """Return a page of advertising."""
    return "".join(_draw(rng, world, families.adgen, 0).answer for _ in range(3))


def words(seed: int = 0) -> list[str]:
    """Return the words of the world, each of which the tokenizer keeps as one token."""
    world, _ = build_world(seed)
    values = [value for values in families.ATTRIBUTES.values() for value in values]
    law = [*ACTS, *OBJECTS, *(f"第{numeral(article.number)}条" for article in world.articles), f"《{LAW}》"]
    law += [article.penalty for article in world.articles]
    every = [*NAMES, *world.land_of, *LANDS, *families.all_goods(), *KINDS, *values, *law, *families.LABELS, *SKILLS]
    return list(dict.fromkeys(every))


def _register(rng: random.Random, world: World) -> str:
    """Return a page of a register: sentences, and the entities or relations entered for each."""
    items = [families.ner(rng, world, 0), families.re(rng, world, rng.randrange(2))]
    return "".join(f"{item.document['text']}登记：{item.answer}\n" for item in items)
