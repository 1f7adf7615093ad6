"""KnowLM's instructions for extracting entities, relations and events, and the answer formats they describe.

Templates and formats are those of zjunlp/DeepKE@97a191b, kg2instruction/{ner,re,ee}_template.py in its InstructKGC,
except those for English relations. These 14 templates and 5 formats are from zjunlp/KnowLM, examples/ie_prompt.py; its
first and third templates are DeepKE's two. Misspellings are upstream's. As in upstream's prompts, types are listed as
Python prints a list.

For Chinese entities in the format `key_value`, two descriptions were published: the one used here, with the entity
first, and one that agrees with what upstream's converter writes. `parse` accepts both.

Not here: answers, which `records` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from harness.errors import HarnessError

Kind = Literal["ner", "re", "ee"]
"""What is extracted: entities (ner), triples of head, relation and tail (re), events with arguments (ee)."""
Language = Literal["zh", "en"]
Format = Literal["tuples", "sentences", "key_value", "json", "brackets", "braces", "angles"]

PREFIXES: Mapping[Kind, str] = {
    "ner": "输入中包含的实体是：\n",
    "re": "输入中包含的关系三元组是：\n",
    "ee": "输入中包含的事件是：\n",
}
"""The prefix of every Chinese answer, by kind."""

TEMPLATES: Mapping[tuple[Kind, Language], tuple[str, ...]] = {
    ("ner", "zh"): (
        "已知候选的实体类型列表：{s_schema}，请你根据实体类型列表，从以下输入中抽取出可能存在的实体。"
        "请按照{s_format}的格式回答。",
        "我将给你个输入，请根据实体类型列表：{s_schema}，从输入中抽取出可能包含的实体，并以{s_format}的形式回答。",
        "我希望你根据实体类型列表从给定的输入中抽取可能的实体，并以{s_format}的格式回答，实体类型列表={s_schema}。",
        "给定的实体类型列表是{s_schema}\n根据实体类型列表抽取，在这个句子中可能包含哪些实体？"
        "你可以先别出实体, 再判断实体类型。请以{s_format}的格式回答。",
    ),
    ("ner", "en"): (
        "Identify the entities and types in the following text and where entity type list {s_schema}. "
        "Please provide your answerin the form of {s_format}.",
        "From the given text, extract the possible entities and types . The types are {s_schema}. "
        "Please format your answerin the form of {s_format}.",
    ),
    ("re", "zh"): (
        "已知候选的关系列表：{s_schema}，请你根据关系列表，从以下输入中抽取出可能存在的头实体与尾实体，"
        "并给出对应的关系三元组。请按照{s_format}的格式回答。",
        "我将给你个输入，请根据关系列表：{s_schema}，从输入中抽取出可能包含的关系三元组，并以{s_format}的形式回答。",
        "我希望你根据关系列表从给定的输入中抽取可能的关系三元组，并以{s_format}的格式回答，关系列表={s_schema}。",
        "给定的关系列表是{s_schema}\n根据关系列表抽取关系三元组，在这个句子中可能包含哪些关系三元组？"
        "请以{s_format}的格式回答。",
    ),
    ("re", "en"): (
        "Identify the head entities (subjects) and tail entities (objects) in the following text and "
        "provide the corresponding relation triples from relation list {s_schema}. Please provide your "
        "answer as a list of relation triples in the form of {s_format}.",
        "Identify the subjects and objects in the text that are related, and provide the corresponding "
        "relation triples from relation {s_schema} in the format of {s_format}.",
        "From the given text, extract the possible head entities (subjects) and tail entities "
        "(objects) and give the corresponding relation triples. The relations are {s_schema}. Please "
        "format your answer as a list of relation triples in the form of {s_format}.",
        "Your task is to identify the head entities (subjects) and tail entities (objects) in the "
        "following text and extract the corresponding relation triples, the possible relation list is "
        "{s_schema}. Your answer should include relation triples, with each triple formatted as "
        "{s_format}.",
        "Given the text, extract the possible head entities (subjects) and tail entities (objects) and "
        "provide the corresponding relation triples, the possible relation list is {s_schema}. Format "
        "your answer as a list of relation triples in the form of {s_format}.",
        "Your goal is to identify the head entities (subjects) and tail entities (objects) in the text "
        "and give the corresponding relation triples. The given relation list is {s_schema}. Please "
        "answer with a list of relation triples in the form of {s_format}.",
        "Please extract the possible head entities (subjects) and tail entities (objects) from the "
        "text and provide the corresponding relation triples from candidate relation list {s_schema}. "
        "Your answer should be in the form of a list of relation triples: {s_format}.",
        "Your task is to extract the possible head entities (subjects) and tail entities (objects) in "
        "the given text and give the corresponding relation triples. The relations are {s_schema}. "
        "Please answer using the format of a list of relation triples: {s_format}.",
        "Given the {s_schema}, identify the head entities (subjects) and tail entities (objects) and "
        "provide the corresponding relation triples. Your answer should consist of relation triples, "
        "with each triple formatted as {s_format}",
        "Please find the possible head entities (subjects) and tail entities (objects) in the text "
        "based on the relation list {s_schema} and give the corresponding relation triples. Please "
        "format your answer as a list of relation triples in the form of {s_format}.",
        "Given relation list {s_schema}, extract the possible subjects and objects from the text and "
        "give the corresponding relation triples in the format of {s_format}.",
        "Extract the entities involved in the relationship described in the text and provide the "
        "corresponding triples in the format of {s_format}, the possible relation list is {s_schema}.",
        "Given relation list {s_schema}, provide relation triples for the entities and their "
        "relationship in the text, using the format of {s_format}.",
        "Extract the entities and their corresponding relationships from the given relationships are "
        "{s_schema} and provide the relation triples in the format of {s_format}.",
    ),
    ("ee", "zh"): (
        "已知候选的事件类型列表：{s_schema1}，论元角色列表：{s_schema2}，"
        "请你根据事件类型列表和论元角色列表，从以下输入中抽取出可能存在的事件。"
        "请按照{s_format}的格式回答。",
        "我将给你个输入，请根据事件类型列表：{s_schema1}，论元角色列表：{s_schema2}，"
        "从输入中抽取出可能包含的事件，并以{s_format}的形式回答。",
        "我希望你根据事件类型列表和论元角色列表从给定的输入中抽取可能的事件，并以{s_format}的格式回答，"
        "事件类型列表={s_schema1}，论元角色列表={s_schema2}。",
        "给定的事件类型列表是{s_schema1}，"
        "论元角色列表是{s_schema2}\n根据事件类型列表和论元角色列表抽取，在这个句子中可能包含哪些事件？"
        "请以{s_format}的格式回答。",
    ),
    ("ee", "en"): (
        "Identify the event information in the following text and provide the corresponding triples "
        "from event type list {s_schema1} and role list {s_schema2}. Please provide your answer as a "
        "list of triples in the form of {s_format}.",
        "From the given text, extract the possible event information and give the corresponding "
        "triples. The event types are {s_schema1} and the role list are {s_schema2}. Please format "
        "your answer as a list of triples in the form of {s_format}.",
    ),
}
"""Instructions, by template number. `{s_schema}` is a list of types; for events, `{s_schema1}` is the list of event
types and `{s_schema2}` the list of roles."""

FORMATS: Mapping[tuple[Kind, Language], Mapping[Format, str]] = {
    ("ner", "zh"): {
        "tuples": '"(实体,实体类型)"',
        "sentences": '"实体是\n实体类型是\n\n"',
        "key_value": '"实体：实体类型\n"',
        "json": "JSON字符串[{'entity':'', 'entity_type':''}, ]",
    },
    ("ner", "en"): {"tuples": "(Entity, Type)", "json": "{'Entity':'', 'Type':''}"},
    ("re", "zh"): {
        "tuples": '"(头实体,关系,尾实体)"',
        "sentences": '"头实体是\n关系是\n尾实体是\n\n"',
        "key_value": '"关系：头实体,尾实体\n"',
        "json": "JSON字符串[{'head':'', 'relation':'', 'tail':''}, ]",
    },
    ("re", "en"): {
        "json": "{'head':'', 'relation':'', 'tail':''}",
        "tuples": "(Subject, Relation, Object)",
        "brackets": "[Subject, Relation, Object]",
        "braces": "{head, relation, tail}",
        "angles": "<head, relation, tail>",
    },
    ("ee", "zh"): {
        "tuples": '"(事件触发词,事件类型,[(事件论元,论元角色)])"',
        "sentences": '"事件触发词是,事件类型是\n\t事件论元是,论元角色是\n"',
        "key_value": '"事件类型：事件触发词\n\t论元角色：事件论元\n"',
        "json": "JSON字符串[{'event_trigger':'', 'event_type':'', 'arguments':['argument':'', 'role':'']}, ]",
    },
    ("ee", "en"): {
        "tuples": "(Type, Trigger, Role1#Name; Role2#Name)",
        "json": "{'Type':'', 'Trigger':'','Arguments':'Role1#Name; Role2#Name'}",
    },
}
"""The description of each format, as instructions quote it."""


def instruction(
    kind: Kind,
    language: Language,
    format: Format,
    types: Sequence[str],
    *,
    template: int = 0,
    roles: Sequence[str] = (),
) -> str:
    """Return the instruction to extract records of `types` and to answer in `format`.

    For events, `types` are event types, and `roles` are the roles of their arguments. Raises HarnessError if KnowLM has
    no such template or format.
    """
    templates = TEMPLATES[kind, language]
    if not 0 <= template < len(templates):
        raise HarnessError(
            f"KnowLM has no template {template} for {kind} in {language}: choose 0 to {len(templates) - 1}"
        )
    s_format = FORMATS[kind, language][check_format(kind, language, format)]
    schema = {"s_schema": list(types), "s_schema1": list(types), "s_schema2": list(roles)}
    return templates[template].format(s_format=s_format, **schema)


def check_format(kind: Kind, language: Language, format: Format) -> Format:
    """Return `format`. Raises HarnessError if KnowLM does not have it for this kind and language."""
    formats = FORMATS[kind, language]
    if format not in formats:
        raise HarnessError(
            f"KnowLM has no format '{format}' for {kind} in {language}: choose one of {', '.join(formats)}"
        )
    return format
