"""The invented world: no test is leaked into a corpus, tasks and lessons agree, and stated bounds are right."""

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
SEEDS = (0, pytest.param(1, marks=pytest.mark.oracle))  # the demo writes the corpora of seed 0
# The column of a test document whose text must not stand in any corpus.
COLUMN: dict[str, str] = {
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
    """Every corpus as it is written, one row per line."""
    folder = tmp_path_factory.mktemp("corpora")
    corpora.write(folder, seed)
    return {file.stem: file.read_text(encoding="utf-8").replace("\\n", "|") for file in folder.glob("*.jsonl")}


@pytest.mark.parametrize("family", FAMILIES)
def test_no_test_sentence_stands_in_a_corpus(family, seed, texts):
    everything = "\n".join(texts.values())
    sentences = [document[COLUMN[family]] for document in corpora.documents(family, seed)]
    if family == "adgen":  # the attributes of a test may be the first ones of a lesson that has more
        sentences = [f'"{content}|' for content in sentences]
    assert len(sentences) >= 48
    assert not [sentence for sentence in sentences if sentence in everything]
    assert len(set(sentences)) == len(sentences)


def test_no_test_villager_stands_in_a_corpus(seed, texts):
    world, tests = corpora.build_world(seed)
    described = set()
    names = {
        begin + end for begin in "赵钱孙李周吴郑王冯陈褚卫" for end in "明芳强丽军娜伟静"
    }  # not taken from the library, so that a world without names would fail
    word = re.compile("|".join((*names, *world.land_of, *families.all_goods())))
    for corpus, text in texts.items():
        if corpus == "copybook":  # it lists words, and says nothing about anybody
            continue
        for line in text.splitlines():
            for clause in re.split(r"[。|]|登记|徒弟", line):
                matches = set(word.findall(clause))
                towns, goods = matches & set(world.land_of), matches & set(families.all_goods())
                described |= {(name, town, good) for name in matches & names for town in towns for good in goods}
    assert len(described) > 5_000
    held_out = {fact for family in ("nli", "reading", "ner", "re") for item in tests[family] for fact in item.facts}
    assert len(held_out) == 4 * corpora.TESTS
    assert not held_out & described


def test_no_test_word_is_asked_about_in_an_exam_of_a_corpus(seed, texts):
    trained = set(re.findall(r'"prompt": "(..)(?:在什么地方|属于哪一类)', texts["exam"]))
    tested = {document["question"][:2] for document in corpora.documents("exam", seed)}
    assert len(trained) == len(tested) == 80
    assert not trained & tested
    for name, text in texts.items():
        assert name == "exam" or not re.search("在什么地方|属于哪一类", text)


def test_no_test_sums_stand_in_a_corpus(seed, texts):
    trained = set()
    for prompt in re.findall(r'"prompt": "(.*?)"', texts["math"]):
        trained.add(tuple(map(int, re.findall(r"\d+", prompt))))
    tested = {tuple(map(int, re.findall(r"\d+", row["question"]))) for row in corpora.documents("math", seed)}
    assert all(len(numbers) == 3 for numbers in trained | tested)
    assert len(tested) == corpora.TESTS
    assert not trained & tested


def test_the_new_law_stands_only_in_the_statutes(seed, texts):
    world, _ = corpora.build_world(seed)
    tested = {
        strict_citations.parse_citations(document["answer"])[0].article for document in corpora.documents("law", seed)
    }
    assert tested == {article.number for article in world.new_law}
    cited = {name: set(re.findall("第([一二三四五六七八九十]+)条", text)) for name, text in texts.items()}
    new, old = ({numeral(article.number) for article in law} for law in (world.new_law, world.old_law))
    assert cited["chronicle"] == cited["law"] == old
    assert cited["statutes"] == new
    assert not [name for name in texts if name != "statutes" and cited[name] & new]
    answers = [document["answer"] for document in corpora.documents("law", seed)]
    assert not [answer for answer in answers if any(answer in text for text in texts.values())]


def test_no_test_attributes_are_advertised(seed, texts):
    values = re.compile("|".join(value for listed in ATTRIBUTES.values() for value in listed))
    copies = [copy for name in ("chronicle", "adgen") for copy in re.split('[。"]', texts[name])]
    trained = {frozenset(values.findall(copy)) for copy in copies}
    tested = {frozenset(values.findall(document["content"])) for document in corpora.documents("adgen", seed)}
    assert len(trained) > 2_000
    assert not trained & tested


@pytest.mark.parametrize("family", FAMILIES)
def test_a_task_renders_the_prompts_of_its_lessons(family):
    # The YAML renders the prompt and target that the family's code writes.
    task = Catalogue().load([f"demo_{family}"]).tasks[f"demo_{family}"].lm_eval
    _, tests = corpora.build_world()
    assert len(task.eval_docs) == len(tests[family])
    for document, item in zip(task.eval_docs, tests[family], strict=True):
        assert task.doc_to_text(document) == item.prompt
        target = task.doc_to_target(document)
        choices = task.doc_to_choice(document) if task.OUTPUT_TYPE == "multiple_choice" else None
        assert (choices[target] if choices else target) == item.answer


def test_answers_are_right():
    """Derived from each document alone."""
    world, tests = corpora.build_world()
    for item in tests["exam"]:
        word, options = item.document["question"][:2], {letter: item.document[letter] for letter in "ABCD"}
        right = world.land_of.get(word) or next(kind for kind, goods in KINDS.items() if word in goods)
        assert options[item.document["answer"]] == right
    for item in tests["math"]:
        have, more, less = map(int, re.findall(r"\d+", item.document["question"]))
        assert last_number(item.answer) == have + more - less > 0
    for item in tests["nli"]:
        first, second = item.document["premise"], item.document["hypothesis"]
        true = {kind for kind, goods in KINDS.items() if any(good in first for good in goods)}
        true |= {land for town, land in world.land_of.items() if town in first}
        claims = {word for word in (*KINDS, *world.land_of.values()) if word in second}
        assert LABELS[item.document["label"]] == ("无关" if not claims else "蕴含" if claims <= true else "矛盾")
    for item in tests["reading"]:
        true = {kind for kind, goods in KINDS.items() if any(good in item.document["passage"] for good in goods)}
        true |= {land for town, land in world.land_of.items() if town in item.document["passage"]}
        assert [choice for choice in item.document["choices"] if choice in true] == [item.answer]
    for item in tests["law"]:
        (article,) = strict_citations.parse_citations(item.answer)
        assert world.articles[article.article - 1].act in item.document["question"]
        assert world.articles[article.article - 1].object in item.document["question"]
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


def test_stated_chance_and_ceiling_are_the_scores_of_another_answer_and_of_the_right_one():
    _, tests = corpora.build_world()
    rng = random.Random("writer")
    by_family = {
        "math": lambda answer, item: float(last_number(answer) == last_number(item.answer)),
        "adgen": lambda answer, item: METRICS["rougeL_jieba"](answer, item.answer),
        "law": lambda answer, item: (
            strict_citations.count_citations(answer, strict_citations.parse_citations(item.answer)).f1
        ),
        "ner": lambda answer, item: count_matches(parse_tuples(answer) or [], parse_tuples(item.answer) or []).f1,
        "re": lambda answer, item: count_matches(parse_tuples(answer) or [], parse_tuples(item.answer) or []).f1,
    }
    for family, score in by_family.items():
        items = tests[family]
        metadata = Catalogue().config(f"demo_{family}")["metadata"]
        scored = [score(items[i - step].answer, item) for step in range(1, 20) for i, item in enumerate(items)]
        assert metadata["chance"] == pytest.approx(sum(scored) / len(scored), abs=0.005), family
        answers = [item.answer for item in items]
        if family == "adgen":
            pairs = [dict(pair.split("#") for pair in item.document["content"].split("*")) for item in items]
            answers = [families.advertisement(rng, values) for values in pairs]
        best = sum(score(answer, item) for answer, item in zip(answers, items, strict=True)) / len(items)
        assert metadata["ceiling"] == pytest.approx(best, abs=0.04 if family == "adgen" else 0), family


def test_a_seed_determines_a_world():
    for draw in (corpora.chronicle, corpora.statutes, corpora.copybook):
        assert draw(20, 3) == draw(20, 3) != draw(20, 4)
    assert World(3).land_of == World(3).land_of != World(4).land_of
    assert corpora.lessons("nli", 9, 3) == corpora.lessons("nli", 9, 3)


def test_shuffling_labels_keeps_their_frequencies():
    items = corpora.lessons("nli", 600)
    shuffled = corpora.shuffled(items)
    assert Counter(item.answer for item in items) == Counter(item.answer for item in shuffled)
    right = sum(item.answer == other.answer for item, other in zip(items, shuffled, strict=True))
    assert 150 < right < 250
