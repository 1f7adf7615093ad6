"""KnowLM's instructions and answers, compared with its templates and the output of its converters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.metrics.extraction.records import Entity, Event, Relation, format_records, type_of
from harness.metrics.extraction.templates import FORMATS, TEMPLATES, instruction
from support.ie_records import ALL_FORMATS, FORMATS_BY_NUMBER, record_of


@pytest.fixture(scope="module")
def published(definitions: Path) -> dict:
    return json.loads((definitions / "extraction.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def english_relations(definitions: Path) -> dict:
    return json.loads((definitions / "knowlm_re_en.json").read_text(encoding="utf-8"))


def test_answers_are_byte_for_byte_what_kg2instruction_writes(published):
    golden = published["golden"]
    assert len(golden) == 40
    for case in golden:
        kind, language = case["task"], case["language"]
        records = [record_of(kind, items) for items in case["records"]]
        assert (
            format_records(records, kind, language, FORMATS_BY_NUMBER[kind, language][case["format"]]) == case["text"]
        )


def test_templates_and_formats_are_the_published_ones(published, english_relations):
    for (kind, language), templates in TEMPLATES.items():
        upstream_templates, upstream_formats = (
            published["templates"][kind][language],
            published["s_format"][kind][language],
        )
        if (kind, language) == ("re", "en"):
            assert list(templates) == english_relations["templates"]
            assert list(FORMATS[kind, language].values()) == english_relations["s_format"]
            assert (upstream_templates, upstream_formats) == (
                [templates[0], templates[2]],
                [FORMATS[kind, language][f] for f in ("tuples", "json")],
            )
        else:
            assert list(templates) == upstream_templates
            assert list(FORMATS[kind, language].values()) == upstream_formats


def test_every_template_takes_every_format():
    assert len(ALL_FORMATS) == 4 + 2 + 4 + 5 + 4 + 2
    for kind, language, format in ALL_FORMATS:
        for number, template in enumerate(TEMPLATES[kind, language]):
            prompt = instruction(kind, language, format, ["甲{x}", "乙"], template=number, roles=["丙"])
            head, _, _ = template.partition("{s_schema1}" if kind == "ee" else "{s_schema}")
            assert prompt.startswith(head.replace("{s_format}", FORMATS[kind, language][format]) + "['甲{x}', '乙']")
            assert ("['丙']" in prompt) == (kind == "ee")
            assert FORMATS[kind, language][format] in prompt
            assert "{s_" not in prompt


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("tuples", "(Ada, wrote, Notes),(Bo, wrote, NAN)"),
        ("brackets", "[Ada, wrote, Notes],[Bo, wrote, NAN]"),
        ("braces", "{Ada, wrote, Notes},{Bo, wrote, NAN}"),
        ("angles", "<Ada, wrote, Notes>,<Bo, wrote, NAN>"),
    ],
)
def test_english_formats_that_knowlm_describes_but_does_not_write(format, text):
    assert format_records([Relation("Ada", "wrote", "Notes"), Relation("Bo", "wrote", " ")], "re", "en", format) == text


def test_english_events_as_json_which_upstream_cannot_write():
    text = format_records([Event("left", "Quit", ())], "ee", "en", "json")
    assert text == "[{'Type': 'Quit', 'Trigger': 'left', 'Arguments': 'NAN#NAN'}]"


def test_formats_and_templates_that_knowlm_lacks_are_refused():
    with pytest.raises(HarnessError, match="no format 'braces' for ner in en: choose one of tuples, json"):
        format_records([Entity("a", "b")], "ner", "en", "braces")
    with pytest.raises(HarnessError, match="no template 4 for ner in zh: choose 0 to 3"):
        instruction("ner", "zh", "tuples", ["甲"], template=4)


def test_the_type_of_each_kind_of_record():
    assert [type_of(record) for record in (Entity("a", "b"), Relation("a", "b", "c"), Event("a", "b"))] == [
        "b",
        "b",
        "b",
    ]
