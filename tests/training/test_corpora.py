"""Corpora: what of a folder counts, and what identifies it."""

from __future__ import annotations

from pathlib import Path

from harness.data.rows import Notes
from harness.training import corpora, examples, store
from harness.training.dialogues import Writer
from harness.training.encoding import ExampleEncoder
from support import training_rows

WORDS = training_rows.byte_level()


def documents(folder: Path, **contents: str) -> Path:
    folder.mkdir()
    for name, text in contents.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def test_empty_texts_of_a_folder_are_counted_like_those_of_a_file(tmp_path):
    folder = documents(tmp_path / "folder", a="", b="hey", c=" \n")
    (tmp_path / "rows.jsonl").write_text('{"text": ""}\n{"text": "hey"}\n{"text": " \\n"}\n', encoding="utf-8")
    for path in (folder, tmp_path / "rows.jsonl"):
        notes = Notes()
        encoder = ExampleEncoder(WORDS, ())
        writer = Writer(None, "answers", WORDS)
        counts = store.write(tmp_path / "rows.arrow", examples.read(path, notes), writer, encoder, 99, notes.all)
        assert (counts.rows, counts.kept, counts.unlearnable, counts.notes) == (3, 1, 2, [])


def test_hidden_files_are_no_part_of_a_folder_s_content(tmp_path):
    folder = documents(tmp_path / "folder", a="one", b="two")
    before = corpora.content_hash(folder)
    (folder / "._a.txt").write_bytes(b"\0\5")
    (folder / ".git").mkdir()
    (folder / ".git/c.txt").write_text("three")
    assert corpora.content_hash(folder) == before
    (folder / "d.txt").write_text("four")
    assert corpora.content_hash(folder) != before
