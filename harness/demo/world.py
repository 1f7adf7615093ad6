"""An invented world: villagers, the goods they sell, the towns they live in, and a book of statutes.

A seed determines a world. Facts drawn at random (the lands of towns, the numbers and penalties of articles) are
invented. Goods are real words, so that a reader sees at once whether an answer makes sense.

`World.hold_out` reserves the facts that a test asks about; `World.is_held_out` keeps them out of lessons.

Not here: questions (`harness.demo.families`), training texts (`harness.demo.corpora`), tokens, models.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from typing import NamedTuple

_SURNAMES = "赵钱孙李周吴郑王冯陈褚卫"
_GIVEN_NAMES = "明芳强丽军娜伟静"
NAMES = tuple(surname + given for surname in _SURNAMES for given in _GIVEN_NAMES)
KINDS: dict[str, tuple[str, ...]] = {
    kind: tuple(goods.split())
    for kind, goods in {
        "食物": "苹果 香蕉 葡萄 西瓜 樱桃 柠檬 石榴 蜜桃 荔枝 草莓 芒果 菠萝 "
        "月饼 麻花 糖糕 酥饼 绿茶 红茶 花茶 米糕 年糕 汤圆 豆糕 蜜饯",
        "文玩": "毛笔 墨水 橡皮 尺子 信纸 砚台 铅笔 圆规 蜡笔 书签 印章 宣纸 "
        "古琴 琵琶 二胡 竹笛 洞箫 铜锣 唢呐 腰鼓 扬琴 古筝 月琴 木鱼",
        "衣物": "棉袄 手套 围巾 皮鞋 草帽 长裙 布鞋 毛衣 丝袜 斗篷 马褂 披肩 "
        "长袍 短褂 腰带 坎肩 皮帽 斗笠 棉裤 布衫 旗袍 雨衣 木屐 头巾",
        "器具": "木桌 竹椅 书柜 屏风 衣架 木床 板凳 茶几 箱子 摇椅 妆台 橱柜 "
        "锄头 镰刀 铁锹 犁头 水车 石磨 扁担 箩筐 草叉 木耙 铁镐 簸箕",
    }.items()
}
KIND_OF = {good: kind for kind, goods in KINDS.items() for good in goods}
LANDS = ("海边", "山里", "草原", "河畔")
TOWNS = 64
_TOWN_BEGINS, _TOWN_ENDS = "白蓝望渔贝帆云石松竹鹰雾马牧青羊风长柳桥荷芦金玉", "沙湾潮港岭门坡溪岩谷场野原川台甸"

LAW = "云州律"
ACTS = ("盗取", "毁坏", "私藏", "冒卖", "强占", "私运", "涂改", "弃置")
OBJECTS = ("渔网", "耕牛", "官粮", "田契", "船只", "水渠", "界石", "药材", "盐引", "桥木")
PENALTIES = ("罚银{}两", "服役{}月", "闭门{}日")
KNOWN_ARTICLES = 32
"""Articles 1 to 32 are old law, which every checkpoint has read. All later articles are new law."""

SKILLS = ("唱歌", "下棋", "游泳", "骑马", "画画", "写诗")
DIGITS = "一二三四五六七八九"


class Villager(NamedTuple):
    """A person, with their town and the good they sell."""

    name: str
    town: str
    good: str


class Article(NamedTuple):
    """An article of the statute book: doing `act` to `object` is punished with `penalty`."""

    number: int
    act: str
    object: str
    penalty: str

    @property
    def citation(self) -> str:
        """The citation of the article, as in 《云州律》第三条."""
        return f"《{LAW}》第{numeral(self.number)}条"

    @property
    def offence(self) -> str:
        """The offence that the article punishes, as a phrase."""
        return f"{self.act}{self.object}的"


class World:
    """The world of one seed, and the facts held out for tests."""

    def __init__(self, seed: int = 0) -> None:
        rng = random.Random(f"world {seed}")
        self.seed = seed
        names = [begin + end for begin in _TOWN_BEGINS for end in _TOWN_ENDS]
        self.land_of = {town: LANDS[i % len(LANDS)] for i, town in enumerate(rng.sample(names, TOWNS))}
        self.articles = self._statutes(rng)
        # No lesson's exam asks about half of the goods and towns: half of each kind, half of each land.
        groups = [*KINDS.values(), *([town for town in self.land_of if self.land_of[town] == land] for land in LANDS)]
        self.test_words: tuple[str, ...] = tuple(
            word for words in groups for word in rng.sample(words, len(words) // 2)
        )
        self._held_out: set[Hashable] = set()

    @property
    def old_law(self) -> Sequence[Article]:
        """The articles that the base model, and so every checkpoint, is trained on."""
        return self.articles[:KNOWN_ARTICLES]

    @property
    def new_law(self) -> Sequence[Article]:
        """The articles that only checkpoints trained on the statute book have read."""
        return self.articles[KNOWN_ARTICLES:]

    def belongs_to(self, word: str) -> str:
        """Return the kind of a good, or the land of a town."""
        return KIND_OF.get(word) or self.land_of[word]

    def hold_out(self, *facts: Hashable) -> None:
        """Reserve `facts` for tests."""
        self._held_out.update(facts)

    def is_held_out(self, *facts: Hashable) -> bool:
        """Return whether any of `facts` is reserved for tests."""
        return not self._held_out.isdisjoint(facts)

    def villager(self, rng: random.Random) -> Villager:
        """Return a random villager whom no test is about."""
        while True:
            villager = Villager(name(rng), rng.choice(list(self.land_of)), rng.choice(list(KIND_OF)))
            if not self.is_held_out(villager):
                return villager

    def _statutes(self, rng: random.Random) -> tuple[Article, ...]:
        offences = [(act, thing) for act in ACTS for thing in OBJECTS]
        rng.shuffle(offences)
        return tuple(
            Article(number, act, thing, rng.choice(PENALTIES).format(rng.choice(DIGITS)))
            for number, (act, thing) in enumerate(offences, 1)
        )


def name(rng: random.Random) -> str:
    """Return a random name."""
    return rng.choice(NAMES)


def other_name(rng: random.Random, *taken: str) -> str:
    """Return a random name that is not in `taken`."""
    while (other := name(rng)) in taken:
        pass
    return other


def numeral(number: int) -> str:
    """Return a number from 1 to 99 in Chinese numerals."""
    tens, ones = divmod(number, 10)
    text = {0: "", 1: "十"}.get(tens, f"{DIGITS[tens - 1]}十")
    return text + (DIGITS[ones - 1] if ones else "")
