"""The invented world: what its tests keep to themselves, that its tasks ask what its lessons teach, and its bounds."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import get_args

import pytest

from harness.demo import corpora, families
from harness.demo.families import ATTRIBUTES, LABELS, Family
from harness.demo.world import KINDS, World, numeral
from harness.metrics.answers.numbers import last_number
from harness.metrics.extraction.tuples import count_matches, parse_tuples
from harness.metrics.law import strict_citations
from harness.metrics.text.overlap import METRICS
from harness.tasks.catalogue import Catalogue

FAMILIES: tuple[Family, ...] = get_args(Family)
SEEDS = (0, 1)
# What a test is about, as it stands in the test's own prompt.
SENTENCE: dict[str, str] = {
    "exam": "question",
    "math": "question",
    "nli": "premise",
    "reading": "passage",
    "adgen": "content",
    "law": "question",
    "ner": "text",
    "re": "text",
}


@pytest.fixture(scope="module", params=SEEDS)
def seed(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def texts(seed, tmp_path_factory) -> dict[str, str]:
    """Every corpus as it is written, each row a line: what any stage can learn from."""
    folder = tmp_path_factory.mktemp("corpora")
    corpora.write(folder, seed)
    return {file.stem: file.read_text(encoding="utf-8").replace("\\n", "|") for file in folder.glob("*.jsonl")}


@pytest.mark.parametrize("family", FAMILIES)
def test_no_test_sentence_is_learned_from(family, seed, texts):
    everything = "\n".join(texts.values())
    asked = [document[SENTENCE[family]] for document in corpora.documents(family, seed)]
    if family == "adgen":  # a few attributes may be the beginning of more
        asked = [f'"{content}|' for content in asked]
    assert len(asked) >= 48
    assert not [sentence for sentence in asked if sentence in everything]
    assert len(set(asked)) == len(asked)


def test_no_test_villager_is_learned_from(seed, texts):
    made, tests = corpora.build_world(seed)
    told = set()
    names = {
        begin + end for begin in "赵钱孙李周吴郑王冯陈褚卫" for end in "明芳强丽军娜伟静"
    }  # written out anew, so that a world without names would show
    word = re.compile("|".join((*names, *made.land_of, *families.all_goods())))
    for corpus, text in texts.items():
        if corpus == "copybook":  # which lists words, and tells nothing of anybody
            continue
        for line in text.splitlines():
            for clause in re.split(r"[。|]|登记|徒弟", line):
                found = set(word.findall(clause))
                for name in found & names:
                    told |= {(name, town, good) for town in found & set(made.land_of) for good in found & set(_goods())}
    assert len(told) > 5_000
    held = {fact for family in ("nli", "reading", "ner", "re") for item in tests[family] for fact in item.facts}
    assert len(held) == 4 * corpora.TESTS
    assert not held & told


def test_no_test_word_is_asked_about_in_an_exam(seed, texts):
    asked = set(re.findall(r'"prompt": "(..)(?:在什么地方|属于哪一类)', texts["exam"]))
    tested = {document["question"][:2] for document in corpora.documents("exam", seed)}
    assert len(asked) == len(tested) == 80
    assert not asked & tested
    for name, text in texts.items():
        assert name == "exam" or not re.search("在什么地方|属于哪一类", text)


def test_no_test_sums_are_learned_from(seed, texts):
    learned = set()
    for prompt in re.findall(r'"prompt": "(.*?)"', texts["math"]):
        learned.add(tuple(map(int, re.findall(r"\d+", prompt))))
    tested = {tuple(map(int, re.findall(r"\d+", row["question"]))) for row in corpora.documents("math", seed)}
    assert all(len(three) == 3 for three in learned | tested)
    assert len(tested) == corpora.TESTS
    assert not learned & tested


def test_no_new_article_is_consulted_on_or_read_by_a_base(seed, texts):
    made, _ = corpora.build_world(seed)
    tested = {strict_citations.citations(document["answer"])[0].article for document in corpora.documents("law", seed)}
    assert tested == {article.number for article in made.new_law}
    cited = {name: set(re.findall("第([一二三四五六七八九十]+)条", text)) for name, text in texts.items()}
    new, old = ({numeral(article.number) for article in law} for law in (made.new_law, made.old_law))
    assert cited["chronicle"] == cited["law"] == old
    assert cited["statutes"] == new
    assert not [name for name in texts if name != "statutes" and cited[name] & new]
    answers = [document["answer"] for document in corpora.documents("law", seed)]
    assert not [answer for answer in answers if any(answer in text for text in texts.values())]


def test_no_test_attributes_are_advertised(seed, texts):
    values = re.compile("|".join(value for listed in ATTRIBUTES.values() for value in listed))
    copies = [copy for name in ("chronicle", "adgen") for copy in re.split('[。"]', texts[name])]
    learned = {frozenset(values.findall(copy)) for copy in copies}
    tested = {frozenset(values.findall(document["content"])) for document in corpora.documents("adgen", seed)}
    assert len(learned) > 2_000
    assert not learned & tested


@pytest.mark.parametrize("family", FAMILIES)
def test_a_task_asks_as_its_lessons_do(family):
    # The YAML's prompt and target are what the family's code writes.
    task = Catalogue().load([f"demo_{family}"]).tasks[f"demo_{family}"].lm_eval
    _, tests = corpora.build_world()
    assert len(task.eval_docs) == len(tests[family])
    for document, item in zip(task.eval_docs, tests[family], strict=True):
        assert task.doc_to_text(document) == item.prompt
        target = task.doc_to_target(document)
        choices = task.doc_to_choice(document) if task.OUTPUT_TYPE == "multiple_choice" else None
        assert (choices[target] if choices else target) == item.answer


def test_answers_are_right():
    """Found anew from each document alone."""
    made, tests = corpora.build_world()
    for item in tests["exam"]:
        word, options = item.document["question"][:2], {letter: item.document[letter] for letter in "ABCD"}
        right = made.land_of.get(word) or next(kind for kind, goods in KINDS.items() if word in goods)
        assert options[item.document["answer"]] == right
    for item in tests["math"]:
        have, more, less = map(int, re.findall(r"\d+", item.document["question"]))
        assert last_number(item.answer) == have + more - less > 0
    for item in tests["nli"]:
        first, second = item.document["premise"], item.document["hypothesis"]
        true = {kind for kind, goods in KINDS.items() if any(good in first for good in goods)}
        true |= {land for town, land in made.land_of.items() if town in first}
        claimed = {word for word in (*KINDS, *made.land_of.values()) if word in second}
        assert LABELS[item.document["label"]] == ("无关" if not claimed else "蕴含" if claimed <= true else "矛盾")
    for item in tests["reading"]:
        true = {kind for kind, goods in KINDS.items() if any(good in item.document["passage"] for good in goods)}
        true |= {land for town, land in made.land_of.items() if town in item.document["passage"]}
        assert [choice for choice in item.document["choices"] if choice in true] == [item.answer]
    for item in tests["law"]:
        (article,) = strict_citations.citations(item.answer)
        assert made.articles[article.article - 1].act in item.document["question"]
        assert made.articles[article.article - 1].object in item.document["question"]
    for item in tests["ner"]:
        assert all(entity in item.document["text"] for entity, _ in parse_tuples(item.answer))
        assert sorted(kind for _, kind in parse_tuples(item.answer)) == ["人名", "地名", "物名"]
    for item in tests["re"]:
        assert all(
            head in item.document["text"] and tail in item.document["text"]
            for head, _, tail in parse_tuples(item.answer)
        )


def test_a_constant_answer_is_at_chance():
    for family, key in (("exam", "answer"), ("nli", "label"), ("reading", "answer")):
        shares = Counter(document[key] for document in corpora.documents(family))
        assert max(shares.values()) == min(shares.values()), family


def test_stated_chance_and_ceiling_are_what_another_answer_and_the_worlds_own_writer_score():
    _, tests = corpora.build_world()
    rng = random.Random("writer")
    by_family = {
        "math": lambda said, item: float(last_number(said) == last_number(item.answer)),
        "adgen": lambda said, item: METRICS["rougeL_jieba"](said, item.answer),
        "law": lambda said, item: strict_citations.citation_counts(said, strict_citations.citations(item.answer)).f1,
        "ner": lambda said, item: count_matches(parse_tuples(said) or [], parse_tuples(item.answer) or []).f1,
        "re": lambda said, item: count_matches(parse_tuples(said) or [], parse_tuples(item.answer) or []).f1,
    }
    for family, score in by_family.items():
        items = tests[family]
        metadata = Catalogue().config(f"demo_{family}")["metadata"]
        scored = [score(items[i - step].answer, item) for step in range(1, 20) for i, item in enumerate(items)]
        assert metadata["chance"] == pytest.approx(sum(scored) / len(scored), abs=0.005), family
        own = [item.answer for item in items]
        if family == "adgen":
            pairs = [dict(pair.split("#") for pair in item.document["content"].split("*")) for item in items]
            own = [families.advertisement(rng, values) for values in pairs]
        best = sum(score(said, item) for said, item in zip(own, items, strict=True)) / len(items)
        assert metadata["ceiling"] == pytest.approx(best, abs=0.04 if family == "adgen" else 0), family


def test_a_seed_makes_a_world():
    for draw in (corpora.chronicle, corpora.statutes, corpora.copybook):
        assert draw(20, 3) == draw(20, 3) != draw(20, 4)
    assert World(3).land_of == World(3).land_of != World(4).land_of
    assert corpora.lessons("nli", 9, 3) == corpora.lessons("nli", 9, 3)


def test_shuffled_labels_are_as_many_of_each():
    items = corpora.lessons("nli", 600)
    shuffled = corpora.shuffled(items)
    assert Counter(item.answer for item in items) == Counter(item.answer for item in shuffled)
    right = sum(item.answer == other.answer for item, other in zip(items, shuffled, strict=True))
    assert 150 < right < 250


def _goods() -> list[str]:
    return [good for goods in KINDS.values() for good in goods]
