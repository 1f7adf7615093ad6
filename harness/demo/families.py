"""Questions about the invented world: one family for each kind of task that `harness` scores.

A family draws an `Item`: a document as it stands in the task's data, the prompt and answer of a lesson, and the facts
that identify the question. The facts of a test question are held out: no lesson is about them. The training texts do
contain what is needed to answer it: that apples are food, for example, and what an article says.

| family | question | held out |
|---|---|---|
| exam | the kind of a good or the land of a town, by letter | the word, from exams |
| math | two sums in a story | the three numbers together |
| nli | whether one sentence follows from another | the villager |
| reading | what follows from a sentence, among four choices | the villager |
| adgen | advertising from attributes | the attributes together |
| law | the article for a case | the article, from consultations |
| ner, re | entities, and relations between them | the villager |

Not here: how many items are drawn and for what (`harness.demo.corpora`), how answers are scored (the tasks' YAML).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Literal, NamedTuple

from harness.demo.world import KINDS, LANDS, SKILLS, Villager, World, name, other_name
from harness.metrics.extraction.tuples import format_tuples

Family = Literal["exam", "math", "nli", "reading", "adgen", "law", "ner", "re"]
LETTERS = "ABCD"
LABELS = ("蕴含", "矛盾", "无关")
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "类型": KINDS["衣物"],
    "颜色": ("红色", "白色", "蓝色", "绿色", "黑色", "米色", "紫色", "灰色"),
    "材质": ("丝绸", "棉布", "羊毛", "亚麻", "牛皮", "竹木", "绒布", "锦缎"),
    "图案": ("碎花", "条纹", "云纹", "格子", "山水", "花鸟", "波点", "祥云"),
    "风格": ("清新", "典雅", "简约", "古朴", "活泼", "端庄", "大方", "秀气"),
}
_PHRASES: dict[str, tuple[str, ...]] = {
    "类型": ("这款{}人见人爱", "新到的{}值得一看", "一件好{}陪你四季"),
    "颜色": ("{}看着舒心", "一身{}十分耐看", "{}衬得人精神"),
    "材质": ("选用上好的{}", "{}摸着柔软", "以{}精心制成"),
    "图案": ("点缀{}图案", "配上{}更添趣味", "{}图案别致"),
    "风格": ("尽显{}气质", "风格{}不俗", "透着{}之美"),
}
ENGLISH_NAMES = ("Tom", "Mary", "Jack", "Lily", "Anna", "Ben")
ENGLISH_GOODS = ("apples", "pens", "books", "eggs", "cups", "hats")


class Item(NamedTuple):
    """A question and its answer."""

    prompt: str
    answer: str
    document: dict[str, Any]
    """The row of the task's data, from which the task's YAML renders the same prompt."""
    facts: tuple[Hashable, ...]
    """Facts that no lesson may be about if the item is a test."""


def exam(rng: random.Random, world: World, turn: int) -> Item:
    """Draw a question on a good's kind or a town's land, answered by letter; options are always in the same order."""
    words = [word for word in (*world.land_of, *all_goods()) if word not in world.test_words]
    return _exam(rng.choice(words), world)


def exam_test(rng: random.Random, world: World, turn: int) -> Item:
    """Return the question on the next of the words that are reserved for tests, which no lesson asks about."""
    return _exam(world.test_words[turn % len(world.test_words)], world)


def _exam(word: str, world: World) -> Item:
    right = world.belongs_to(word)
    options = LANDS if right in LANDS else tuple(KINDS)
    question = f"{word}在什么地方？" if right in LANDS else f"{word}属于哪一类？"
    letter = LETTERS[options.index(right)]
    row = {"question": question, **dict(zip(LETTERS, options, strict=True)), "answer": letter}
    lines = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=True))
    return Item(f"{question}\n{lines}\n答案：", letter, row, (("examined", word),))


def math(rng: random.Random, world: World, turn: int) -> Item:
    """Draw a story with two sums, in Chinese two times out of three, and its solution."""
    have, more, less = rng.randint(2, 15), rng.randint(2, 7), rng.randint(2, 7)
    less = min(less, have + more - 1)
    total = have + more
    left = total - less
    if turn % 3 == 2:
        who, other = rng.sample(ENGLISH_NAMES, 2)
        what = rng.choice(ENGLISH_GOODS)
        story = f"{who} has {have} {what}, buys {more} more and gives {other} {less}. How many are left?"
        solution = f"{have}+{more}={total}, {total}-{less}={left}. The answer is {left}."
    else:
        who = name(rng)
        what = rng.choice(all_goods())
        first = rng.choice(("又买了", "又收到"))
        story = f"{who}有{have}个{what}，{first}{more}个，送给{other_name(rng, who)}{less}个，还剩几个？"
        solution = f"{have}+{more}={total}，{total}-{less}={left}。答案是{left}。"
    row = {"question": story, "answer": solution}
    return Item(f"问：{story}\n答：", solution, row, (("sums", have, more, less),))


def nli(rng: random.Random, world: World, turn: int) -> Item:
    """Draw a sentence on a villager, and one that, by turns, follows from it, contradicts it or does neither."""
    villager = world.villager(rng)
    label = turn % 3
    about_goods = turn // 3 % 2 == 0
    right = world.belongs_to(villager.good if about_goods else villager.town)
    wrong = rng.choice([other for other in (KINDS if about_goods else LANDS) if other != right])
    claim = wrong if label else right
    second = f"{villager.name}卖{claim}。" if about_goods else f"{villager.name}的家在{claim}。"
    if label == 2:
        second = f"{villager.name}会{rng.choice(SKILLS)}。"
    first = sentence(rng, villager)
    row = {"premise": first, "hypothesis": second, "label": label}
    return Item(f"前提：{first}\n假设：{second}\n关系：", LABELS[label], row, (villager,))


def reading(rng: random.Random, world: World, turn: int) -> Item:
    """Draw a question on what a villager sells or where they live; the place of the right choice rotates by `turn`."""
    villager = world.villager(rng)
    passage = sentence(rng, villager)
    about_goods = turn // 4 % 2 == 0
    right = world.belongs_to(villager.good if about_goods else villager.town)
    question = f"{villager.name}{'卖的是哪一类' if about_goods else '的家在哪一带'}？"
    choices = [other for other in (KINDS if about_goods else LANDS) if other != right]
    rng.shuffle(choices)
    choices.insert(turn % 4, right)
    row = {"passage": passage, "question": question, "choices": choices, "answer": turn % 4}
    return Item(f"文章：{passage}\n问题：{question}\n答案：", right, row, (villager,))


def adgen(rng: random.Random, world: World, turn: int) -> Item:
    """Draw attributes of a garment, and advertising for it."""
    keys = rng.sample([key for key in ATTRIBUTES if key != "类型"], rng.randint(2, 4))
    values = {key: rng.choice(ATTRIBUTES[key]) for key in ("类型", *keys)}
    content = "*".join(f"{key}#{value}" for key, value in values.items())
    copy = advertisement(rng, values)
    row = {"content": content, "summary": copy}
    return Item(f"{content}\n广告：", copy, row, (("attributes", frozenset(values.items())),))


def advertisement(rng: random.Random, values: Mapping[str, str]) -> str:
    """Draw a copywriter's sentence that mentions all `values`, in their order."""
    return "，".join(rng.choice(_PHRASES[key]).format(value) for key, value in values.items()) + "。"


def law(rng: random.Random, world: World, turn: int) -> Item:
    """Draw a case under the old law, to be answered with the article that applies."""
    return _law(rng, world, turn % len(world.old_law))


def law_test(rng: random.Random, world: World, turn: int) -> Item:
    """Draw a case under the next article of the new law."""
    return _law(rng, world, len(world.old_law) + turn % len(world.new_law))


def _law(rng: random.Random, world: World, index: int) -> Item:
    article = world.articles[index]
    who = name(rng)
    case = f"{who}{article.act}了{other_name(rng, who)}的{article.object}，按律怎样处置？"
    answer = f"{article.offence}，依照{article.citation}，{article.penalty}。"
    row = {"question": case, "answer": answer}
    return Item(f"咨询：{case}\n答复：", answer, row, (("consulted", article.number),))


def ner(rng: random.Random, world: World, turn: int) -> Item:
    """Draw a sentence, to be answered with all people, towns and goods in it."""
    villager = world.villager(rng)
    text = sentence(rng, villager)
    kinds = {"name": "人名", "town": "地名", "good": "物名"}
    spans = sorted((text.index(value), value, kinds[key]) for key, value in villager._asdict().items())
    entities = [[word, kind] for _, word, kind in spans]
    answer = format_tuples(map(tuple, entities))
    row = {"text": text, "entities": entities, "answer": answer}
    return Item(f"抽取实体：{text}\n结果：", answer, row, (villager,))


def re(rng: random.Random, world: World, turn: int) -> Item:
    """Draw a text, to be answered with its relations: who lives where, who sells what, who is whose apprentice."""
    villager = world.villager(rng)
    text = sentence(rng, villager)
    triples = [[villager.name, "住在", villager.town], [villager.name, "出售", villager.good]]
    if turn % 2:
        apprentice = other_name(rng, villager.name)
        text += f"徒弟是{apprentice}。"
        triples.append([villager.name, "徒弟", apprentice])
    answer = format_tuples(map(tuple, triples))
    row = {"text": text, "triples": triples, "answer": answer}
    return Item(f"抽取关系：{text}\n结果：", answer, row, (villager,))


def sentence(rng: random.Random, villager: Villager) -> str:
    """Draw a sentence about a villager."""
    who, town, good = villager
    return rng.choice((f"{who}住在{town}，卖{good}。", f"{town}的{who}卖{good}。", f"卖{good}的{who}家在{town}。"))


def all_goods() -> list[str]:
    """Return the goods of all kinds."""
    return [good for goods in KINDS.values() for good in goods]


Draw = Callable[[random.Random, World, int], Item]
LESSONS: dict[Family, Draw] = {
    "exam": exam,
    "math": math,
    "nli": nli,
    "reading": reading,
    "adgen": adgen,
    "law": law,
    "ner": ner,
    "re": re,
}
"""How each family draws a lesson; `turn` counts the lessons of the family."""
TESTS: dict[Family, Draw] = {**LESSONS, "exam": exam_test, "law": law_test}
"""How each family draws a test; for exam and law, words and articles are reserved for tests."""
