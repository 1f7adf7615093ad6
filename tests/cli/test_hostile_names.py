"""Names, answers and errors with characters that a terminal obeys, printed by every verb that shows reports."""

from __future__ import annotations

import pytest

from harness.cli import main
from harness.reports.report import Manifest
from support.answered import Answers, report

HOSTILE = "\x1b[31m[red]名\u202e\u200b\x9b2J\u2028\r\n::error::ok"
OBEYED = set("\x1b\u202e\u200b\x9b\u2028\r")


@pytest.fixture
def reports(tmp_path):
    for number, values in enumerate(([1, 0, 1, 1], [0, 1, 1, 1])):
        texts = [f"{HOSTILE}{number}"] * 4
        columns = {"predictions": texts, "targets": texts, "responses": texts, "prompt": HOSTILE}
        written = report(tmp_path, "m", {"law": Answers(values, HOSTILE, **columns)}, day=number)
        manifest = written.manifest.model_dump()
        manifest["checkpoint"] |= {"name": HOSTILE, "reference": HOSTILE, "kind": HOSTILE, "fingerprint": str(number)}
        manifest["notes"] = [HOSTILE]
        (written.folder / "manifest.json").write_text(Manifest(**manifest).model_dump_json(), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "{reports}", "--all", "--samples", "all"],
        ["compare", "{reports}/m_00", "{reports}/m_01", "--samples"],
        ["compare", "{reports}/m_00", "{reports}/m_01"],
        ["gate", "{reports}/m_01", "--baseline", "{reports}/m_00"],
        ["baseline", "set", "{reports}/m_00", "--folder", "{reports}/baselines"],
        ["show", HOSTILE],
        ["show", "{reports}", f"--{HOSTILE}"],
        [HOSTILE],
        ["inspect", HOSTILE],
        ["gate", "{reports}/m_00", "--policy", HOSTILE],
        ["score", "--predictions", HOSTILE],
        ["train", HOSTILE],
        ["verify", "{reports}"],
        ["tasks", HOSTILE],
        ["journal", "stats", HOSTILE],
        ["export", "ceval-submission", HOSTILE, "-o", "x"],
        ["merge", HOSTILE, "-o", "x"],
        ["leaderboard", HOSTILE],
        ["retrieve", "--corpus", HOSTILE, "--questions", HOSTILE],
        ["run", "--model", HOSTILE, "--tasks", HOSTILE],
    ],
)
def test_no_verb_prints_what_a_terminal_obeys(reports, capsys, arguments):
    code = main([argument.replace("{reports}", str(reports)) for argument in arguments])
    assert code != 70
    output = "".join(capsys.readouterr())
    assert "名" in output
    assert not OBEYED & set(output)
    if "--samples" not in arguments:  # a document has the lines that it has
        assert "\n::error::" not in output


def test_a_document_for_a_file_is_unchanged(reports, capsys, tmp_path):
    file = tmp_path / "outcome.json"
    main(["gate", f"{reports}/m_01", "--baseline", f"{reports}/m_00", "--json", str(file)])
    capsys.readouterr()
    assert "\u202e" in file.read_text(encoding="utf-8")
