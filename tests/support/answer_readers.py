"""How each function of `harness.metrics` that reads an answer is called with a text, by its name in the package."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from harness.metrics.answers import (
    choices,
    letter_doubts,
    letter_sets,
    letter_verdicts,
    number_tokens,
    numbers,
    numerals,
)
from harness.metrics.extraction import brackets, documents, iepile, kg2instruction, literals, parse, tuples
from harness.metrics.extraction.templates import FORMATS
from harness.metrics.law import citation_scores, citations, consultation, statutes, strict_citations
from harness.metrics.lawbench import framed, published, repaired, selective_charges, text
from harness.metrics.text import (
    copywriting,
    corpus_bleu,
    cuts,
    end_marks,
    lines,
    lm_eval_counts,
    ngrams,
    overlap,
    segmenter,
    surface,
)
from support.lawbench_references import REFERENCES

Reader = Callable[[str], object]


def or_none(function: Callable[[str], object], answer: str) -> object:
    try:
        return function(answer)
    except Exception:
        return None


def formats() -> dict[str, Reader]:
    """Return the parser of every kind, language and format."""
    return {
        f"{kind} {language} {format}": partial(
            lambda kind, language, format, answer: parse.parse_records(answer, kind, language, format, ["人名"]),
            kind,
            language,
            format,
        )
        for (kind, language), by_format in FORMATS.items()
        for format in by_format
        if language == "zh" or format in ("tuples", "json", "angles")
    }


OPTIONS = {"A": "甲", "B": "乙", "C": "丙", "D": "丁"}
ENTITIES = {"kind": "ner", "language": "zh", "format": "tuples", "types": ["人名"], "counts_upstream": True}
RELATIONS = {**ENTITIES, "kind": "re"}
EVENTS = {**ENTITIES, "kind": "ee", "counts_upstream": False}
LIBRARY = consultation.Library()
REFERENCE = "渡船应当靠岸，根据《民法典》第三条，赔偿1,200元。"
PROMPT = f"{published.SENTENCE_MARK}渡口己经关闭。"
PROVISION = {"given": ["《民法典》第三条：渡船应当靠岸"], "provided": [], "library": LIBRARY}


def against_reference(metric: Callable[[str, str], object]) -> Reader:
    return lambda answer: metric(answer, REFERENCE)


def for_documents(document: dict[str, object]) -> Reader:
    return lambda answer: documents.parse_answer(answer, document)


def scorers(by_task: dict[str, published.Scorer]) -> dict[str, Reader]:
    return {
        task: partial(lambda scorer, reference, answer: scorer(answer, reference), scorer, REFERENCES.get(task, "违约"))
        for task, scorer in by_task.items()
    }


CACHED = re.compile(r"rouge[2L].*")
"""Metrics that are computed together with another one."""

READERS: dict[str, Reader | dict[str, Reader]] = {
    "answers.choices.disc_law": choices.disc_law,
    "answers.choices.agieval_letters": choices.agieval_letters,
    "answers.choices.ceval_chatglm": lambda answer: choices.ceval_chatglm(answer, OPTIONS),
    "answers.choices.ceval_chatgpt": choices.ceval_chatgpt,
    "answers.choices.ceval_chatgpt_zero_shot": choices.ceval_chatgpt_zero_shot,
    "answers.choices.ceval_chatgpt_reasoned": choices.ceval_chatgpt_reasoned,
    "answers.choices.ceval_llama": choices.ceval_llama,
    "answers.letter_sets.read": lambda answer: letter_sets.read(answer, "ABCD"),
    "answers.letter_sets.is_denied": lambda answer: letter_sets.is_denied(
        answer, len(answer) // 2, len(answer) // 2 + 1
    ),
    "answers.letter_doubts.is_doubtful": lambda answer: letter_doubts.is_doubtful(
        answer, len(answer) // 2, len(answer) // 2 + 1, "ABCD"
    ),
    "answers.letter_doubts.is_taken_back": letter_doubts.is_taken_back,
    "answers.letter_doubts.last_correction": letter_doubts.last_correction,
    "answers.letter_verdicts.verdict_at_end": letter_verdicts.verdict_at_end,
    "answers.letter_verdicts.verdict_before": letter_verdicts.verdict_before,
    "answers.letter_verdicts.verdict_behind": letter_verdicts.verdict_behind,
    "answers.numbers.last_number": numbers.last_number,
    "answers.numbers.is_number": numbers.is_number,
    "answers.numbers.is_same_number": against_reference(numbers.is_same_number),
    "answers.number_tokens.tokens_of": number_tokens.tokens_of,
    "answers.numerals.chinese_decimals": numerals.chinese_decimals,
    "answers.numerals.chinese_value": lambda answer: numerals.chinese_value(
        [letter for letter in answer if letter in numerals.NUMERAL_LETTERS]
    ),
    "extraction.brackets.parse_brackets": lambda answer: brackets.parse_brackets(answer, "([{<").outermost_tuples("("),
    "extraction.documents.parse_answer": {
        "entities": for_documents(ENTITIES),
        "relations": for_documents(RELATIONS),
        "events": for_documents(EVENTS),
    },
    "extraction.iepile.parse_entities": iepile.parse_entities,
    "extraction.iepile.parse_relations": lambda answer: iepile.parse_relations(answer, is_repaired=True),
    "extraction.iepile.parse_events": iepile.parse_events,
    "extraction.kg2instruction.parse_entities": {
        "zh": lambda answer: kg2instruction.parse_entities(answer, "zh"),
        "en": lambda answer: kg2instruction.parse_entities(f"{answer}('Entity': , {{}}) Type", "en"),
    },
    "extraction.kg2instruction.parse_relations": {
        "zh": lambda answer: kg2instruction.parse_relations(answer, "zh"),
        "en": lambda answer: kg2instruction.parse_relations(f"{answer}'head': {{}} relation tail", "en"),
    },
    "extraction.literals.parse_dictionaries": lambda answer: list(literals.parse_dictionaries(answer)),
    "extraction.parse.parse_records": formats(),
    "extraction.tuples.parse_tuples": tuples.parse_tuples,
    "law.citation_scores.Quotations.quoted_articles": LIBRARY.quotations.quoted_articles,
    "law.citation_scores.cites_mistitled": lambda answer: citation_scores.cites_mistitled(
        answer, [], LIBRARY.quotations, LIBRARY.book
    ),
    "law.citations.cited_provisions": citations.cited_provisions,
    "law.citations.cited_articles": citations.cited_articles,
    "law.consultation.format_record": consultation.format_record,
    "law.consultation.answer_in_record": lambda answer: consultation.answer_in_record(
        consultation.format_record(answer)
    ),
    "law.consultation.scores": lambda answer: consultation.scores(answer, REFERENCE, **PROVISION),
    "law.statutes.title_key": statutes.title_key,
    "law.statutes.parse_entry": statutes.parse_entry,
    "law.statutes.split_articles": lambda answer: list(statutes.split_articles(answer, "民法典")),
    "law.strict_citations.parse_citations": strict_citations.parse_citations,
    "law.strict_citations.count_citations": lambda answer: strict_citations.count_citations(answer, []),
    "law.strict_citations.parse_numeral": strict_citations.parse_numeral,
    "lawbench.published.article_numbers": published.article_numbers,
    "lawbench.published.reference_entities": lambda answer: or_none(published.reference_entities, answer),
    "lawbench.published.character_f1": against_reference(published.character_f1),
    "lawbench.published.proofreading": lambda answer: published.proofreading(PROMPT, answer, "渡口已经关闭。"),
    "lawbench.repaired.proofreading": lambda answer: repaired.proofreading(PROMPT, answer, "渡口已经关闭。"),
    "lawbench.repaired.without_template": lambda answer: repaired.without_template(f"{PROMPT}{answer}"),
    "lawbench.published.SCORERS": scorers(published.SCORERS),
    "lawbench.repaired.REPAIRED_SCORERS": scorers(repaired.REPAIRED_SCORERS),
    "lawbench.framed.parts": lambda answer: framed.parts(f"{answer}罪名", "罪名", "类别"),
    "text.end_marks.without_end_marks": end_marks.without_end_marks,
    "text.end_marks.has_chat_marks": end_marks.has_chat_marks,
    "lawbench.selective_charges.named_charges": selective_charges.named_charges,
    "lawbench.text.with_arabic_numerals": text.with_arabic_numerals,
    "lawbench.text.parse_integer": lambda answer: text.parse_integer("9" * min(len(answer), 4_000)),
    "text.copywriting.attributes": copywriting.attributes,
    "text.copywriting.mentions": lambda answer: copywriting.mentions(answer, "类型#裙*颜色#白"),
    "text.copywriting.upstream": against_reference(copywriting.upstream),
    "text.copywriting.read_line": lambda answer: or_none(copywriting.read_line, answer),
    "text.corpus_bleu.bleu_zh_counts": against_reference(corpus_bleu.bleu_zh_counts),
    "text.corpus_bleu.chrf_counts": against_reference(corpus_bleu.chrf_counts),
    "text.corpus_bleu.tokens_zh": corpus_bleu.tokens_zh,
    "text.lm_eval_counts.bleu": lambda answer: lm_eval_counts.bleu([answer], [[REFERENCE]]),
    "text.lm_eval_counts.chrf": lambda answer: lm_eval_counts.chrf([answer], [[REFERENCE]]),
    "text.ngrams.shared": lambda answer: ngrams.shared(answer, REFERENCE, 4),
    "text.ngrams.shared_characters": against_reference(ngrams.shared_characters),
    "text.ngrams.runs": lambda answer: ngrams.runs(tuple(answer), 2),
    "text.overlap.METRICS": {
        name: against_reference(metric) for name, metric in overlap.METRICS.items() if not CACHED.fullmatch(name)
    },
    "text.cuts.characters": cuts.characters,
    "text.cuts.has_word": cuts.has_word,
    "text.cuts.jieba_words": cuts.jieba_words,
    "text.cuts.latin_words": cuts.latin_words,
    "text.cuts.unicode_words": cuts.unicode_words,
    "text.lines.first_line": lines.first_line,
    "text.lines.is_one_line": lines.is_one_line,
    "text.lines.trimmed": lines.trimmed,
    "text.overlap.coverage": lambda answer: overlap.coverage(answer, ["裙", "白"]),
    "text.segmenter.words": segmenter.words,
    "text.surface.empty": surface.empty,
    "text.surface.lengths": against_reference(surface.lengths),
    "text.surface.distinct": lambda answer: surface.distinct([tuple(answer)], 2),
}
"""How each function is called with an answer: by its name, or the name of the table that has it as a value."""

TABLES = {
    "lawbench.published": published.SCORERS,
    "lawbench.repaired": repaired.REPAIRED_SCORERS,
    "text.overlap": overlap.METRICS,
}
"""Tables whose functions are read under the table's name."""

NOT_ANSWERS: dict[str, str] = {
    "answers.letter_scores.exact_set": "letters that were read",
    "answers.letter_scores.partial_credit": "letters that were read",
    "answers.number_digits.Span.spells": "a word of the grammar",
    "answers.number_digits.exact": "digits, of which it bounds the number",
    "answers.number_tokens.is_wide": "digits of one token",
    "answers.numerals.english_value": "number words that last_number found",
    "answers.units.is_abbreviation": "a unit that last_number found",
    "answers.units.is_continued": "a unit that last_number found",
    "answers.units.is_one_quantity": "units that last_number found",
    "answers.units.is_same": "units that last_number found",
    "answers.units.is_unit": "letters of one token",
    "extraction.bio_tags.entities": "words and tags of the data",
    "extraction.brackets.primary_separators": "positions that parse_brackets found",
    "extraction.brackets.Group.field_spans": "positions that parse_brackets found",
    "extraction.brackets.Group.outermost_tuples": "the kind of a bracket",
    "extraction.documents.build_documents": "texts of the data",
    "extraction.documents.score_answer": "what parse_answer wrote",
    "extraction.iepile.corpus_counts": "records",
    "extraction.iepile.format_answer": "records",
    "extraction.kg2instruction.last_occurrences": "texts of the data",
    "extraction.records.format_records": "records",
    "extraction.templates.check_format": "the name of a format",
    "extraction.templates.instruction": "types of the data",
    "extraction.tuples.format_tuples": "records",
    "law.citation_scores.Quotations.is_misattributed": "called by cites_mistitled",
    "law.consultation.parse_turns": "conversations of the data",
    "lawbench.cherrant.count_edits": "its time is the product of both lengths; proofreading bounds the answer",
    "lawbench.cherrant.edits": "its time is the product of both lengths; proofreading bounds the answer",
    "lawbench.published.multiple_choice": "called by the scorers",
    "lawbench.published.single_choice": "called by the scorers",
    "lawbench.text.check_label": "labels of the data",
    "lawbench.text.letter_after": "references of the data",
    "lawbench.text.unframed": "references of the data",
    "stats.estimates.averages": "names of tasks",
    "text.corpus_bleu.signature": "the name of a metric",
    "text.lm_eval_counts.ter": "sacrebleu's own edit distance, of lm-eval's tasks",
    "text.overlap.best": "calls a metric",
    "text.cuts.choose": "references of the data",
    "text.overlap.bleu": "read as METRICS",
    "text.overlap.is_defined": "references of the data",
    "text.overlap.metrics_of": "references of the data",
    "text.overlap.rouge": "read as METRICS",
    "text.overlap.rouge_jieba": "read as METRICS",
    "text.overlap.rouge_of": "words of both texts, called by rouge_jieba",
    "text.ranking.hit_at": "names of documents",
    "text.ranking.recall_at": "names of documents",
    "text.ranking.reciprocal_rank_at": "names of documents",
}
"""Functions that take a text which is no answer, or whose caller is timed."""


def readers() -> Iterator[tuple[str, Reader]]:
    """Yield every function of READERS with its name, those of a table one by one."""
    for name, function in READERS.items():
        if isinstance(function, dict):
            yield from ((f"{name}[{key}]", member) for key, member in function.items())
        else:
            yield name, function
