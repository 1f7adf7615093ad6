"""Records parsed from answers: what KnowLM writes is recovered where possible; any text is parsed in linear time."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.metrics.extraction import brackets, literals, parse, tuples
from harness.metrics.extraction.parse import parse_records
from harness.metrics.extraction.records import BRACKETS, Argument, Entity, Event, Relation, format_records
from harness.metrics.extraction.templates import FORMATS
from support.ie_records import ALL_FORMATS, record_of, steps

MODULES = (tuples, brackets, literals, parse)
QUOTED = ('""', "''", "“”", "‘’")
MARKERS = "头实体是|关系是|尾实体是|实体是|实体类型是|事件触发词是|事件类型是|事件论元是|论元角色是"
PAIRS = {"(": "(（)）", "[": "[【]】", "{": "{{}}", "<": "<＜>＞"}
TYPES = ["人物", "地点", "出生地", "组织-辞职"]

pieces = st.sampled_from(
    [
        *"甲乙AB无,，、()（）[]【】{}<>\"'“”‘’：:;；#\\\n\t .。",
        "NAN",
        "人物",
        "出生地",
        *MARKERS.split("|"),
        "'entity'",
        "(乙,丙)",
        "\u3000",
        "\x85",
        "😀",
    ]
)
items = st.lists(pieces, min_size=1, max_size=6).map("".join) | st.text(min_size=1, max_size=4)
types = st.sampled_from(TYPES) | items


def records(kind, item=items, record_type=types):
    record = {
        "ner": st.builds(Entity, item, record_type),
        "re": st.builds(Relation, item, record_type, item),
        "ee": st.builds(Event, item, record_type, st.lists(st.builds(Argument, item, item), max_size=3).map(tuple)),
    }[kind]
    return st.lists(record, max_size=4)


def item_groups(record):
    """Return a record's items in groups of those that formats write side by side."""
    return [(record.trigger, record.type), *record.arguments] if isinstance(record, Event) else [tuple(record)]


def is_item(item):
    return item == item.strip() and item not in ("", "NAN")


def are_paired(item, kinds):
    """Return whether the brackets of `kinds` in `item` are in pairs."""
    stack = []
    for mark in item:
        for kind in kinds:
            opening, closing = PAIRS[kind][:2], PAIRS[kind][2:]
            if mark in opening:
                stack.append(kind)
            elif mark in closing and (not stack or stack.pop() != kind):
                return False
    return not stack


def outside_brackets(item, kinds):
    """Return the text of `item` outside of brackets."""
    depth, outside = 0, ""
    for mark in item:
        depth += any(mark in PAIRS[kind][:2] for kind in kinds)
        outside += mark if depth == 0 else ""
        depth -= any(mark in PAIRS[kind][2:] for kind in kinds)
    return outside


def has_comma(item, kinds):
    return "," in outside_brackets(item, kinds)


def fits_brackets(record, format, language):
    kinds = {"(", "[", BRACKETS[format][0]}
    for group in item_groups(record):
        if not all(are_paired(item, kinds) for item in group):
            return False
        if not any(re.sub("[,，、]", "", outside_brackets(item, kinds)).strip() for item in group) or all(
            len(item) > 1 and item[0] + item[-1] in QUOTED for item in group
        ):
            return False
        if any(has_comma(item, kinds) for item in (group if isinstance(record, Relation) else group[1:])):
            return False
    return True


def fits_role_pairs(event, *, is_tuple):
    kinds = {"(", "["}
    if is_tuple and (any("#" in item or has_comma(item, kinds) for item in event[1:2]) or "#" in event.trigger):
        return False
    for name, role in event.arguments:
        if re.search("[#;；]", role) or re.search("[;；].*#", name, re.DOTALL):
            return False
        if is_tuple and (has_comma(role, kinds) or not (are_paired(role, kinds) and are_paired(name, kinds))):
            return False
    return True


def fits(record, kind, language, format):
    """Return whether the module promises to recover a record when it does not know the requested types."""
    all_items = [item for group in item_groups(record) for item in group]
    if not all(map(is_item, all_items)):
        return False
    if format == "json":
        return kind == "ner" or kind == "re" or language == "zh" or fits_role_pairs(record, is_tuple=False)
    if format in BRACKETS:
        if (kind, language) == ("ee", "en"):
            without_arguments = record._replace(arguments=())
            return fits_role_pairs(record, is_tuple=True) and fits_brackets(without_arguments, format, language)
        return fits_brackets(record, format, language)
    if any("\n" in item for item in all_items):
        return False
    if format == "sentences":
        return not any(re.search(f"[,，;；][ \t\u3000]*(?:{MARKERS})", item) for item in all_items)
    if isinstance(record, Relation):
        ends = (record.head, record.tail)
        are_plain = all(are_paired(item, "([") and not has_comma(item, "([") for item in ends)
        are_quoted = all(len(item) > 1 and item[0] + item[-1] in QUOTED for item in ends)
        return "：" not in record.relation and are_plain and not are_quoted
    return not any("：" in group[1] for group in item_groups(record))


@pytest.mark.parametrize(("kind", "language", "format"), ALL_FORMATS)
@settings(max_examples=settings.default.max_examples // 2, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_records_that_fit_a_format_are_recovered(kind, language, format, data):
    expected = [record for record in data.draw(records(kind)) if fits(record, kind, language, format)]
    text = format_records(expected, kind, language, format)
    assert parse_records(text, kind, language, format) == expected
    known_types = {record[1] for record in expected} | set(TYPES)
    assert parse_records(text, kind, language, format, known_types) == expected
    assert parse_records(f"\n{text}\n", kind, language, format) == expected


DIFFICULT = [
    *("甲,乙", "甲，乙", "甲(乙,丙)", "甲(乙(丙))丁", "(甲)乙", "[1]甲", "{甲}乙", "<甲>乙", "甲)乙(", "(甲", "甲]"),
    *(
        "NANA",
        "甲NAN",
        "(NAN)甲",
        "O'Dell",
        'a "b" c',
        "“甲”乙",
        "‘甲’",
        "\\n",
        "a\\'b",
        "甲：乙",
        "甲:乙",
        "甲#乙",
        "甲;乙",
        "甲\n乙",
    ),
    *("实体是甲", "关系是", "甲,实体类型是乙", "head", "'tail': 'x'", "无", "。", "😀"),
]


@pytest.mark.parametrize(("kind", "language", "format"), ALL_FORMATS)
def test_difficult_items_are_recovered_where_they_fit(kind, language, format):
    def record_with(item):
        if kind == "ner":
            return Entity(item, "地点")
        if kind == "re":
            return Relation(item, "首都", "乙")
        return Event("走", "离职", (Argument(item, "离职者"), Argument("甲", "时间")))

    fitting = [record for record in map(record_with, DIFFICULT) if fits(record, kind, language, format)]
    assert len(fitting) >= len(DIFFICULT) * 0.6
    for expected in (fitting, *([record] for record in fitting)):
        text = format_records(expected, kind, language, format)
        assert parse_records(text, kind, language, format) == expected
        assert parse_records(text, kind, language, format, ["地点", "首都", "离职"]) == expected


N, R, T, E = "ner", "re", "tuples", "ee"


@pytest.mark.parametrize(
    ("kind", "language", "format", "record"),
    [
        (N, "zh", T, Entity("甲(乙", "丙)丁")),
        (N, "zh", T, Entity("“甲”", "“地点”")),
        (N, "zh", T, Entity("(甲)", "[乙]")),
        (N, "zh", T, Entity("，", "、")),
        (N, "zh", T, Entity("甲", "地,点")),
        (N, "en", T, Entity("a(b", "c)d")),
        (R, "zh", T, Relation("甲,乙", "出生地", "丙")),
        (R, "en", "angles", Relation("a<b", "is", "c>d")),
        (R, "en", "braces", Relation("a{b", "is", "c}d")),
        (R, "en", "brackets", Relation("a", "is", "b, c")),
        (E, "zh", T, Event("辞职", "组织,辞职")),
        (E, "zh", T, Event("辞职", "组织-辞职", (Argument("甲", "离,职者"),))),
        (E, "en", T, Event("left", "Quit", (Argument("Ada", "Who#1"),))),
        (E, "en", T, Event("left", "Quit", (Argument("Ada; Bo#2", "Who"),))),
        (E, "en", T, Event("le#ft", "Quit", (Argument("Ada", "Who"),))),
        (E, "en", "json", Event("left", "Quit", (Argument("Ada", "Who;Whom"),))),
        (N, "zh", "sentences", Entity("甲\n乙", "地点")),
        (N, "zh", "sentences", Entity("甲,实体类型是乙", "地点")),
        (R, "zh", "sentences", Relation("甲；关系是乙", "出生地", "丙")),
        (E, "zh", "sentences", Event("辞职,事件类型是乙", "组织-辞职")),
        (N, "zh", "key_value", Entity("甲", "地：点")),
        (N, "zh", "key_value", Entity("甲\n乙", "地点")),
        (R, "zh", "key_value", Relation("甲,乙", "出生地", "丙")),
        (R, "zh", "key_value", Relation("“甲”", "出生地", "“乙”")),
        (E, "zh", "key_value", Event("辞职", "组织-辞职", (Argument("甲", "离：职者"),))),
        (N, "zh", "json", Entity(" 甲", "地点")),
        (N, "zh", "json", Entity("NAN", "地点")),
        (R, "en", "json", Relation("", "is", "b")),
    ],
)
def test_records_that_do_not_fit_a_format_are_not_recovered(kind, language, format, record):
    assert not fits(record, kind, language, format)
    assert parse_records(format_records([record], kind, language, format), kind, language, format) != [record]


def test_types_decide_which_commas_divide():
    relation = Relation("华盛顿,哥伦比亚特区", "首都", "美国,北美")
    text = format_records([relation], "re", "zh", "tuples")
    assert parse_records(text, "re") is None
    assert parse_records(text, "re", types=["首都", "国籍"]) == [relation]
    assert parse_records(text, "re", types=["首都", "哥伦比亚特区"]) is None


def test_every_answer_that_kg2instruction_writes_is_parsed(definitions):
    golden = json.loads((definitions / "extraction.json").read_text(encoding="utf-8"))["golden"]
    for case in golden:
        kind, language = case["task"], case["language"]
        complete = [items for items in case["records"] if all(items[:2]) and (kind != "re" or items[2])]
        expected = [record_of(kind, items) for items in complete]
        for requested in FORMATS[kind, language]:
            types = [*TYPES, "配偶", "财经-收购"]
            assert parse_records(case["text"], kind, language, requested, types) == expected, (case, requested)


@pytest.mark.parametrize(
    ("text", "kind", "format", "expected"),
    [
        ("", "ner", "tuples", []),
        ("输入中包含的实体是：\nNAN", "ner", "key_value", []),
        ("无。", "re", "tuples", []),
        ("[]", "ee", "json", []),
        ("我不知道", "ner", "tuples", None),
        ("(甲)", "ner", "tuples", None),
        ("(甲,地点", "ner", "tuples", None),
        ("(甲,地点),(乙,人", "ner", "tuples", [("甲", "地点")]),
        ("（甲，地点）、（乙，人物）", "ner", "tuples", [("甲", "地点"), ("乙", "人物")]),
        ('("甲", "地点")', "ner", "tuples", [("甲", "地点")]),
        ("(“甲”,地点)", "ner", "tuples", [("“甲”", "地点")]),
        ("(甲公司(乙,丙),地点)", "ner", "tuples", [("甲公司(乙,丙)", "地点")]),
        ("(NAN,地点),(乙,NAN)", "ner", "tuples", []),
        ("甲：地点\n乙：人物", "ner", "key_value", [("甲", "地点"), ("乙", "人物")]),
        ("- 地点：甲\n2. **人物**：乙\n", "ner", "tuples", [("甲", "地点"), ("乙", "人物")]),
        ("地点:甲\n", "ner", "key_value", [("甲", "地点")]),
        ("说明：没有\n地点：甲", "ner", "tuples", [("甲", "地点")]),
        ("实体是甲,实体类型是地点\n实体是乙,实体类型是人物", "ner", "sentences", [("甲", "地点"), ("乙", "人物")]),
        ("实体是甲\n实体是乙\n实体类型是人物", "ner", "sentences", [("乙", "人物")]),
        ('[{"entity": "甲", "entity_type": "地点"}, {"entity": "乙"', "ner", "json", [("甲", "地点")]),
        (
            "[{'entity': 'O'Dell', 'entity_type': '人物'}, {'entity': '乙', 'entity_type': '地点'}]",
            "ner",
            "json",
            [("乙", "地点")],
        ),
        ("```json\n{'Entity': '甲', 'Type': '地点'}\n```", "ner", "tuples", [("甲", "地点")]),
        ("{'entity': 1998, 'entity_type': '时间'}", "ner", "json", [("1998", "时间")]),
        ("{'entity': ['甲'], 'entity_type': '地点'}", "ner", "json", None),
        ("{'entity': None, 'entity_type': '地点'}", "ner", "json", []),
        ("(甲,出生地)", "re", "tuples", None),
        ("(甲,出生地,乙,丙)", "re", "tuples", [("甲", "出生地", "乙,丙")]),
        ("[甲, 出生地, 乙]", "re", "tuples", [("甲", "出生地", "乙")]),
        ("[(甲, 出生地, 乙), (丙, 出生地, 丁)]", "re", "brackets", [("甲", "出生地", "乙"), ("丙", "出生地", "丁")]),
        ("出生地：甲,乙\n出生地：丙,丁", "re", "tuples", [("甲", "出生地", "乙"), ("丙", "出生地", "丁")]),
        ("(辞职,组织-辞职,[])", "ee", "tuples", [("辞职", "组织-辞职", ())]),
        ("(辞职,组织-辞职,[(甲,离职者),(NAN,时间)])", "ee", "tuples", [("辞职", "组织-辞职", (("甲", "离职者"),))]),
        ("(辞职，组织-辞职，【（甲，离职者）】)", "ee", "tuples", [("辞职", "组织-辞职", (("甲", "离职者"),))]),
        ("(NAN,组织-辞职,[(甲,离职者)])", "ee", "tuples", []),
        ("(辞职,组织-辞职,[(甲,离职者),(乙", "ee", "tuples", None),
        ("(组织-辞职, 辞职, 离职者#甲; 时间#NAN)", "ee", "tuples", [("辞职", "组织-辞职", (("甲", "离职者"),))]),
        (
            "组织-辞职：辞职\n离职者：甲\n组织-辞职：离开",
            "ee",
            "key_value",
            [("辞职", "组织-辞职", (("甲", "离职者"),)), ("离开", "组织-辞职", ())],
        ),
        ("\t离职者：甲", "ee", "key_value", None),
        (
            "[{'event_trigger': '辞职', 'event_type': '组织-辞职', 'arguments': [{'argument': '甲', 'role': 1}, '']}]",
            "ee",
            "json",
            [("辞职", "组织-辞职", (("甲", "1"),))],
        ),
    ],
)
def test_an_answer(text, kind, format, expected):
    language = "zh" if format in FORMATS[kind, "zh"] else "en"
    assert parse_records(text, kind, language, format, TYPES) == expected


def test_a_format_that_knowlm_lacks_is_refused():
    with pytest.raises(HarnessError, match="no format 'sentences' for re in en"):
        parse_records("", "re", "en", "sentences")


anything = st.lists(pieces | st.text(max_size=3), max_size=30).map("".join)


@given(anything, st.sampled_from(ALL_FORMATS), st.none() | st.just(TYPES))
def test_any_text_can_be_parsed(text, requested, types):
    for record in parse_records(text, *requested, types) or []:
        for group in item_groups(record):
            assert all(item == item.strip() and item not in ("", "NAN") for item in group)


SHAPES = [
    *(
        "(",
        ")",
        "(,",
        "(甲,",
        "(甲,乙)",
        "((甲,乙),",
        "[(",
        "([",
        "(甲,乙,[",
        "(甲,乙,[(丙,丁)])",
        "<{[(",
        "(a, b, r#n;",
    ),
    *(
        "{",
        "{'",
        "{'entity':",
        "{'entity': '",
        "{'entity': '甲', 'entity_type': '乙'},",
        "[{'event_trigger': [",
        "\\",
        "'\\",
    ),
    *(
        "实体是",
        "实体是甲\n实体类型是乙\n",
        "\n关系是",
        "，头实体是",
        "甲：乙\n",
        "：",
        "\t",
        "\n",
        "#;",
        ";#",
        "甲",
        "NAN\n",
        " ",
    ),
]
SOME_FORMATS = [
    ("ner", "zh", "tuples"),
    ("re", "zh", "key_value"),
    ("re", "en", "angles"),
    ("ee", "zh", "sentences"),
    ("ee", "en", "tuples"),
]


@pytest.mark.parametrize("requested", SOME_FORMATS, ids="-".join)
def test_the_work_is_linear(requested):
    for shape in SHAPES:
        small, large = (
            steps(lambda text: parse_records(text, *requested, TYPES), shape * times, MODULES) for times in (20, 120)
        )
        # Linear work grows by a factor of 6, quadratic work by 36.
        assert 0 < large < 6 * 1.5 * small, shape


LONG = ["{", "{'", "{'entity': '", "\\", "'\\", "，头实体是", "#;", ";#", "\n", " ", "实体是"]


@pytest.mark.parametrize("requested", [("re", "zh", "key_value"), ("ee", "en", "tuples")], ids="-".join)
def test_100_kb_of_repetition_can_be_parsed(requested):
    for shape in LONG:
        parse_records(shape * (100_000 // len(shape)), *requested, TYPES)
