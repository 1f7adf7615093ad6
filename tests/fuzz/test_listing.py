"""Every function of `harness` that reads a text or file from outside is fuzzed, or says here why it is not.

A reader is a public function or method that takes a text, bytes, a path or a JSON value, and that opens a file, parses
JSON, YAML or binary data, or matches patterns, itself or by a private function of its module. Functions of
`harness.metrics` are listed in `support.answer_readers`, which tests/metrics/test_linear_time.py checks.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import harness
from support.fuzz_readers import ERRORS, GROUPS

READING = {
    *("open", "read_text", "read_bytes", "pread", "read_json", "json_text", "json_file", "yaml_text", "yaml_file"),
    *("loads", "parse_json", "parse_row", "ParquetFile", "open_table", "read_parquet", "tar_members", "DictReader"),
    *("genops", "unpack", "match", "fullmatch", "search", "findall", "finditer"),
}
"""Functions that read or parse what came from outside."""
TAKEN = re.compile(r"\b(str|bytes|Path|File|Any|object|IO)\b")
"""Types of parameters that may hold what came from outside."""

NOT_FUZZED = {
    "backends.chat.ChatTemplate.ending": "what a template writes, which tests/backends/test_chat.py varies",
    "backends.journal_database.open_sound": "called by Journal.get",
    "backends.journal_database.open_to_write": "called by Journal.get",
    "backends.journal_database.read_log": "called by Journal.get",
    "backends.journal_errors.lock_holder": "what the operating system writes",
    "checkpoints.adapters.entries.require_matches_in": "a configuration that adapters.config.read has read",
    "checkpoints.adapters.limits.require_quick_patterns": "patterns, each tried in a child process for a bounded time",
    "checkpoints.chatglm.convert.module": "names of modules",
    "checkpoints.chatglm.convert.tensors": "names of tensors",
    "checkpoints.chatglm.recognition.generation": "called by recognition.recognize",
    "checkpoints.chatglm.vocabularies.Vocabulary6B.ids": "any text; tests/checkpoints/chatglm varies it",
    "checkpoints.chatglm.vocabularies.Vocabulary6B.index": "names of tokens",
    "checkpoints.chatglm.vocabularies.read_model": "sentencepiece's own reader",
    "checkpoints.chatglm.weights.names_in": "called by prefix.has_prefix",
    "checkpoints.configs.chatglm_layout": "calls chatglm.layout.read",
    "checkpoints.configs.read": "transformers' own reader, after limits.check_config",
    "checkpoints.contents.alone": "names of files, which it links",
    "checkpoints.contents.model_files": "names that checkpoints.index_files checks",
    "checkpoints.files.checkpoints_inside": "names of folders",
    "checkpoints.files.find": "a name of the hub, which it would fetch",
    "checkpoints.identity.content_of_base": "calls identity.configuration and hashes weights",
    "checkpoints.foreign_code.other_models": "a configuration that checkpoints.files.read_json has read",
    "checkpoints.foreign_code.failure": "an exception",
    "checkpoints.gguf.choose": "names of files",
    "checkpoints.gguf.tokenizer": "transformers' own reader, after gguf_header.read",
    "checkpoints.template_worker.receive": "what this process and its child write",
    "cli.options.Evaluation.options": "called for options that typer has read",
    "cli.outputs.write": "writes",
    "cli.views.samples.show_samples": "a report that reports.report.read has read",
    "common.atomic_write.remove_abandoned": "names of folders",
    "common.atomic_write.set_modes": "modes of files",
    "common.character_classes.predicate": "called by common.patterns.may_hang",
    "common.hashes.fresh_sha256": "hashes bytes, whatever they are",
    "common.parquet.open_table": "called by common.unpacking.check_parquet",
    "common.paths.unquoted": "a match that another reader found",
    "common.safe_load.settings_file": "called by verdicts.policy.read",
    "common.stamps.stamp": "attributes of a file",
    "common.stamps.version": "attributes of a file",
    "data.mirror.read": "falls back to the reader of `datasets` on any error",
    "data.sources.locate": "a task's YAML that tasks.yaml_files has read",
    "data.tables.read": "called by data.rows.read",
    "demo.model.train_tokenizer": "the demo's own texts",
    "leaderboard.chunks.Chunks.keep": "names of files",
    "leaderboard.site.build": "templates of this package",
    "leaderboard.texts.Texts.answers": "a report that reports.report.read has read, and a file that falls back to {}",
    "leaderboard.texts.Texts.questions": "a report that reports.report.read has read",
    "recorded.formats.own_reports.find_reports": "called by recorded.recordings.find",
    "recorded.lines.has_keys": "called by recorded.recordings.find",
    "recorded.lines.lines": "called by recorded.recordings.find",
    "recorded.questions.Questions.compare": "columns that recorded.recordings.find has read",
    "reports.baselines.save": "writes",
    "reports.report.Report.table": "pyarrow's own reader; tests/verification damages samples",
    "reports.sums.of_file": "hashes bytes, whatever they are",
    "reports.writer.ReportWriter.finish": "writes",
    "retrieval.articles.digest": "hashes bytes, whatever they are",
    "tasks.catalogue.Catalogue.expand": "names of tasks, which task_lists.split has read",
    "tasks.data_errors.data_error": "the message of a library",
    "tasks.own_files.choices.columns": "called by tasks.own_files.question_files.read",
    "tasks.own_files.choices.of": "called by tasks.own_files.question_files.read",
    "tasks.own_files.choices.places": "called by tasks.own_files.question_files.read",
    "tasks.own_files.layouts.recognise": "called by tasks.own_files.question_files.read",
    "tasks.scaffold.write": "writes",
    "tasks.understanding.UnderstoodRule.is_met": "the pattern is a task's, and its time is that of the task's filters",
    "tasks.yaml_files.Reader.read": "called by tasks.index.read",
    "training.chatglm_prefix.save": "writes",
    "training.existing.Existing.remove_progress": "a file that falls back to {}",
    "training.lineage.content_digest": "hashes bytes, whatever they are",
    "training.locks.locked": "opens a file and reads nothing of it",
    "training.recipe_mistakes.in_names": "called by training.recipe.load",
    "training.saving.save": "writes",
    "training.settings.checked": "called by training.recipe.load",
    "verdicts.stats.forms.by_document": "values of samples, which the caller catches",
    "verdicts.stats.forms.paired": "values of samples, which verdicts.pairs checks",
    "verification.verify.find": "names of folders",
}
"""Readers that the suite does not call: another one calls them, or no text from outside reaches them."""


def functions(module: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the functions and methods of a module by their qualified names."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{item.name}", item) for item in node.body if isinstance(item, ast.FunctionDef))


def names_in(function: ast.FunctionDef) -> set[str]:
    """Return the names that a function uses."""
    nodes = list(ast.walk(function))
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute)
    }


def is_private(name: str) -> bool:
    return any(part.startswith("_") for part in name.split("."))


def readers(module: ast.Module) -> Iterator[str]:
    """Yield the names of the public functions of a module that read something from outside."""
    uses = {name: names_in(function) for name, function in functions(module)}
    reading = {name for name, used in uses.items() if used & READING}
    while True:
        private = {name.rpartition(".")[2] for name in reading if is_private(name)}
        more = {name for name, used in uses.items() if used & private} - reading
        if not more:
            break
        reading |= more
    for name, function in functions(module):
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        types = " ".join(ast.unparse(argument.annotation) for argument in arguments if argument.annotation)
        if name in reading and not is_private(name) and TAKEN.search(types):
            yield name


def public_readers() -> set[str]:
    root = Path(harness.__file__).parent
    files = [file for file in root.rglob("*.py") if "metrics" not in file.relative_to(root).parts]
    return {
        f"{'.'.join(file.relative_to(root).with_suffix('').parts)}.{name}"
        for file in files
        for name in readers(ast.parse(file.read_text(encoding="utf-8")))
    }


def test_every_reader_is_fuzzed_or_says_why_not() -> None:
    fuzzed = {name.partition("[")[0] for group in GROUPS.values() for name in group.readers}
    expected = public_readers()
    assert expected - fuzzed - NOT_FUZZED.keys() == set(), "list it in support/fuzz_readers.py, or here why not"
    assert NOT_FUZZED.keys() - expected == set(), "remove what is no reader any more"
    assert NOT_FUZZED.keys() & fuzzed == set()
    assert ERRORS.keys() - fuzzed == set()


def test_a_new_reader_would_be_seen() -> None:
    source = (
        "def read(file: Path) -> str:\n    return _content(file)\ndef _content(file):\n    return file.read_text()\n"
    )
    assert list(readers(ast.parse(source))) == ["read"]
