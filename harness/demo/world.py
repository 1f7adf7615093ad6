"""An invented world: villagers in one sentence each, what a base reads about them, and held-out questions.

A villager lives in a town and sells a good. Each of two skills is asked for as a choice of four words, so that chance
is 25 %, and takes finding the word that matters and knowing what it belongs to:

- `goods`: what kind of goods a villager sells. All lessons for a base practise it.
- `towns`: what land a villager lives in. No base is told; it only meets the words.

A test villager's sentence never stands in a lesson. That apples are fruit does: it is what is to be known, and a test
villager is where it is to be used.

Not here: tokens, models, files.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

Skill = Literal["goods", "towns"]
SKILLS: tuple[Skill, ...] = ("goods", "towns")
TESTS = 256
"""Held-out documents a skill: an interval of about ±5 % where chance is. A multiple of 4 × 4, for balance."""

SURNAMES = "赵钱孙李周吴郑王冯陈褚卫"
GIVEN_NAMES = "明芳强丽军娜伟静磊敏勇艳"
KINDS = {
    "水果": ["苹果", "香蕉", "葡萄", "西瓜", "樱桃", "柠檬", "石榴", "蜜桃", "荔枝", "草莓"],
    "蔬菜": ["萝卜", "黄瓜", "芹菜", "土豆", "南瓜", "茄子", "韭菜", "莲藕", "冬瓜", "豆角"],
    "文具": ["毛笔", "墨水", "橡皮", "尺子", "信纸", "砚台", "铅笔", "圆规", "蜡笔", "书签"],
    "衣物": ["棉袄", "手套", "围巾", "皮鞋", "草帽", "长裙", "布鞋", "毛衣", "丝袜", "斗篷"],
}
LANDS = {
    "海边": ["白沙", "蓝湾", "望潮", "渔港", "贝岛", "帆城"],
    "山里": ["云岭", "石门", "松坡", "竹溪", "鹰岩", "雾谷"],
    "草原": ["马场", "牧野", "青原", "羊川", "风台", "长甸"],
    "河畔": ["柳渡", "桥头", "荷塘", "芦洲", "水磨", "莲浦"],
}
KIND_OF = {good: kind for kind, goods in KINDS.items() for good in goods}
LAND_OF = {town: land for land, towns in LANDS.items() for town in towns}
FAIR_SHARE = 0.3
"""Of lessons, those that end on a fair: how a base meets the words for lands, but not what lies there."""


class Villager(NamedTuple):
    """Somebody, and what is true of them."""

    name: str
    town: str
    good: str

    def __str__(self) -> str:
        """Return the one sentence that is written about them."""
        return f"{self.name}住在{self.town}，卖{self.good}。"


class Question(NamedTuple):
    """A question about a villager, and its right answer among all there are."""

    text: str
    answer: str
    answers: tuple[str, ...]


class Document(NamedTuple):
    """A row of a task's data."""

    passage: str
    question: str
    choices: list[str]
    answer: int
    """The place of the right one among `choices`, from 0."""


class World:
    """The world of one seed: its test documents, and as many lessons as one cares to read."""

    def __init__(self, seed: int, tests: int = TESTS) -> None:
        self._seed = seed
        self._held_out: set[Villager] = set()
        self.tests: dict[Skill, list[Document]] = {}
        rng = random.Random(f"tests {seed}")
        for skill in SKILLS:
            self.tests[skill] = [self._test(rng, skill, number) for number in range(tests)]

    def lessons(self, skills: Sequence[Skill], count: int) -> list[str]:
        """Return `count` texts to learn from, each a villager with a question and its answer.

        Where there are several skills, lessons take turns with them.
        """
        rng = random.Random(f"lessons {self._seed} {skills}")
        return [self._lesson(rng, skills[number % len(skills)]) for number in range(count)]

    def _lesson(self, rng: random.Random, skill: Skill) -> str:
        villager = self._stranger(rng)
        asked = question(villager, skill)
        fair = f"{rng.choice(list(LANDS))}有{rng.choice(list(KINDS))}集市。" if rng.random() < FAIR_SHARE else ""
        return f"{villager}问：{asked.text}答：{asked.answer}。{fair}"

    def _test(self, rng: random.Random, skill: Skill, number: int) -> Document:
        """Return a document about a villager held out from now on.

        The right answer and its place go round with `number`, each with each, so that no constant beats chance.
        """
        turn, place = divmod(number, 4)
        while True:
            villager = self._stranger(rng)
            asked = question(villager, skill)
            if asked.answer == asked.answers[turn % 4]:
                break
        self._held_out.add(villager)
        choices = [answer for answer in asked.answers if answer != asked.answer]
        rng.shuffle(choices)
        choices.insert(place, asked.answer)
        return Document(str(villager), asked.text, choices, place)

    def _stranger(self, rng: random.Random) -> Villager:
        """Return a villager whom no test is about."""
        while True:
            name = rng.choice(SURNAMES) + rng.choice(GIVEN_NAMES)
            villager = Villager(name, rng.choice(list(LAND_OF)), rng.choice(list(KIND_OF)))
            if villager not in self._held_out:
                return villager


def question(villager: Villager, skill: Skill) -> Question:
    """Return what there is to ask about `villager` that takes `skill`."""
    if skill == "goods":
        return Question(f"{villager.name}卖的是哪一类？", KIND_OF[villager.good], tuple(KINDS))
    return Question(f"{villager.name}的家在哪一带？", LAND_OF[villager.town], tuple(LANDS))


def alphabet() -> list[str]:
    """Return every character of this world, in a fixed order."""
    words = [SURNAMES, GIVEN_NAMES, *KINDS, *KIND_OF, *LANDS, *LAND_OF, "住在卖有集市问答的是哪一类家带：，。？"]
    return sorted(set("".join(words)))
