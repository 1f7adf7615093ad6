"""Tasks that are files: the documents read, the files refused, and bits that are comparable between tokenizers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lm_eval.api.instance import Instance

import tolerances
from harness.backends.local import HarnessLM
from harness.checkpoints import loading
from harness.checkpoints.reference import parse
from harness.cli import main
from harness.errors import HarnessError
from harness.reports.report import read as read_report
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.catalogue import Catalogue
from harness.tasks.own_files import file_tasks, texts
from support import tiny

TEXTS = ["春天来了。\r\n花开了，", "a", "今天天气很好，我们去公园。" * 12, "𠮷野家😀"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("base"), context=64)


@pytest.fixture(scope="module")
def lm(base: Path) -> HarnessLM:
    return HarnessLM(loading.load(loading.locate(parse(str(base)))))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with TEXTS, in all supported formats."""
    folder = tmp_path / "corpus"
    (folder / "below").mkdir(parents=True)
    (folder / "a.txt").write_bytes(TEXTS[0].encode())
    rows = [json.dumps({"id": 1, "text": TEXTS[1]}), "", json.dumps({"content": TEXTS[2]}, ensure_ascii=False)]
    (folder / "b.jsonl").write_text("\n".join(rows), encoding="utf-8")
    pq.write_table(pa.table({"text": [TEXTS[3], None]}), folder / "below" / "c.parquet")
    (folder / "README.md").write_text("not a text of the corpus")
    return folder


def log_likelihood(lm: HarnessLM, text: str, stride: int | None) -> float:
    return lm.loglikelihood_sliding([Instance("loglikelihood_sliding", {}, (text, {"stride": stride}), 0)])[0]


def log_probabilities(lm: HarnessLM, ids: list[int]) -> torch.Tensor:
    """Return the log-probability of each of `ids` except the first, given all before it, by transformers' forward."""
    with torch.inference_mode():
        rows = lm.checkpoint.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return rows[range(len(ids) - 1), torch.tensor(ids[1:])]


# --- documents --------------------------------------------------------------------------------------------------------


def test_every_format_is_read_with_its_line_ends(corpus: Path) -> None:
    assert texts.read(corpus) == (TEXTS, ["not read: README.md", "1 of 5 texts are empty and left out"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b'{"text": "a"}\n{"text": ', "line 2, is not JSON"),
        ("x.jsonl", b'{"text": "a"}\n[1]', "line 2, is not a JSON object but [1]"),
        ("x.jsonl", b'{"question": "a"}', "line 1, has no text in a column text or content"),
        ("x.jsonl", b'{"text": 3}', "line 1, has no text"),
        ("x.txt", "\u4e2d".encode("gbk"), "is not UTF-8"),
        ("x.jsonl", b'{"text": "a\\u0000"}', "line 1: 'text' holds a NUL character"),
        ("x.txt", b"a\0", "line 1, holds a NUL character"),
        ("x.txt", b"", "holds no text"),
        ("x.parquet", b"PAR1", "cannot be read as parquet"),
        ("x.docx", b"", "supported are .txt, .jsonl, .parquet"),
    ],
)
def test_a_file_that_cannot_be_measured_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HarnessError) as error:
        file_tasks.build(f"ppl:{tmp_path / name}")
    assert message in str(error.value)
    assert name in str(error.value)


def test_byte_order_marks_are_no_characters_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "x.TXT").write_text("\ufeff春天来了。\n\ufeff花开了。", encoding="utf-8")
    (tmp_path / "x.jsonl").write_text('\ufeff{"text": "\\ufeff春天来了。\\n花开了。"}', encoding="utf-8")
    pq.write_table(pa.table({"Text": ["\ufeff春天来了。\n花开了。"]}), tmp_path / "x.parquet")
    for name, marks in [("x.TXT", "2 byte order marks"), ("x.jsonl", "1 byte order mark"), ("x.parquet", "1 byte")]:
        task = file_tasks.build(f"ppl:{tmp_path / name}")
        assert [document["text"] for document in task.documents] == ["春天来了。\n花开了。"]
        [note] = task.metadata.file_notes
        assert note.startswith(marks)


def test_a_path_without_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="there is no file or folder"):
        file_tasks.source(f"ppl:{tmp_path / 'nowhere'}")
    with pytest.raises(HarnessError, match=r"holds no \.txt, \.jsonl, \.parquet file to read: name another folder"):
        file_tasks.build(f"ppl:{tmp_path}")
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(HarnessError, match="has no column text or content, only body"):
        file_tasks.build(f"ppl:{tmp_path}")


def test_a_nul_character_in_parquet_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b\0"]}), tmp_path / "x.parquet")
    with pytest.raises(HarnessError, match="row 2, holds a NUL character"):
        texts.read(tmp_path / "x.parquet")


def test_hidden_files_and_folders_of_a_folder_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / ".corpus"  # named by the user, so it counts as visible
    for name in ("a.txt", "deep/b.txt", "._a.txt", ".c.jsonl", ".git/d.txt", "deep/.ipynb_checkpoints/b.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() if name[0] != "." else b"\0")
    assert texts.read(folder) == (["a.txt", "deep/b.txt"], ["not read: 2 hidden files and 2 hidden folders"])
    assert texts.read(folder / "deep") == (["deep/b.txt"], ["not read: 1 hidden folder"])
    for name in ("a.txt", "deep/b.txt"):
        (folder / name).unlink()
    (folder / "x.md").write_text("x")
    with pytest.raises(HarnessError, match=r"file to read, only x\.md and 2 hidden files and 2 hidden folders: name"):
        texts.read(folder)


# --- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("stride", [None, 1, 7, 64, 1000])
def test_each_token_is_predicted_once_in_its_first_window(lm: HarnessLM, text: str, stride: int | None) -> None:
    """Compare with brute force: for every token, the window that ends with the token's stride."""
    ids = [lm.encoder.start(), *lm.tokenizer(text, add_special_tokens=False)["input_ids"]]
    size, step, total, at = lm.max_length, min(stride or 32, 64), 0.0, 1
    while at < len(ids):
        end = min(len(ids), size + 1 if at == 1 else at + step)
        window = ids[max(0, end - 1 - size) : end]
        assert len(window) <= size + 1
        total += float(log_probabilities(lm, window)[-(end - at) :].sum())
        at = end
    tolerance = tolerances.FP32_LOGLIKELIHOOD * max(1, len(ids) / 8)
    assert log_likelihood(lm, text, stride) == pytest.approx(total, abs=tolerance)


def test_with_a_stride_of_one_every_token_sees_a_whole_context(lm: HarnessLM) -> None:
    ids = [lm.encoder.start(), *lm.tokenizer(TEXTS[2], add_special_tokens=False)["input_ids"]]
    assert len(ids) > lm.max_length + 5
    expected = [float(log_probabilities(lm, ids[max(0, i - lm.max_length) : i + 1])[-1]) for i in range(1, len(ids))]
    tolerance = tolerances.FP32_LOGLIKELIHOOD * len(ids) / 8
    assert log_likelihood(lm, TEXTS[2], 1) == pytest.approx(math.fsum(expected), abs=tolerance)


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_run_reports_bits_per_character_and_per_byte(base: Path, lm: HarnessLM, corpus: Path, tmp_path: Path) -> None:
    options = Options(tasks=(f"ppl:{corpus}",), output=tmp_path / "out", stride=16)
    [report] = run([parse(str(base))], options)
    bits = [-log_likelihood(lm, text, 16) / math.log(2) for text in TEXTS]
    scores = {score.metric: score for score in report.manifest.scores}
    assert scores["bits_per_character"].value == pytest.approx(sum(bits) / sum(map(len, TEXTS)))
    assert scores["bits_per_byte"].value == pytest.approx(sum(bits) / sum(len(text.encode()) for text in TEXTS))
    for score in scores.values():
        assert (score.task, score.n, score.higher_is_better) == ("ppl_corpus", 4, False)
        assert score.low < score.value < score.high
    assert scores["bits_per_character"].primary
    assert report.manifest.protocol.stride == 16
    assert "ppl_corpus: windows of 64 tokens, moving by 16" in report.manifest.notes
    assert "ppl_corpus: not read: README.md" in report.manifest.notes
    assert list(report.samples("ppl_corpus")["prompt"]) == TEXTS


def test_the_prompt_hash_depends_on_the_windows(base: Path, corpus: Path, tmp_path: Path) -> None:
    def prompt_hash(key: str = "", **changes: int) -> str:
        [report] = run([parse(f"{base}{key}")], Options(tasks=(f"ppl:{corpus}",), output=tmp_path / "out", **changes))
        return report.manifest.tasks["ppl_corpus"].prompt_hash

    assert prompt_hash() == prompt_hash(stride=32)
    assert len({prompt_hash(), prompt_hash(stride=16), prompt_hash(",max_length=48")}) == 3


def test_a_limit_below_one_is_a_share_of_the_documents(base: Path, tmp_path: Path, capsys) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text("\n".join(json.dumps({"question": f"a{place}", "answer": place}) for place in range(5)))
    arguments = ["run", "--model", str(base), "--tasks", str(file), "--max-gen-toks", "4", "-o", str(tmp_path / "out")]
    assert main([*arguments, "--limit", "0.5"]) == 0
    assert "limit 0.5 of each task" in " ".join(capsys.readouterr().out.split())
    [folder] = [path.parent for path in (tmp_path / "out").glob("*/manifest.json")]
    report = read_report(folder)
    assert (report.manifest.protocol.limit, report.manifest.tasks["q.jsonl"].documents) == (0.5, 3)
    assert main([*arguments, "--limit", "0.5", "--dry-run"]) == 0
    assert main([*arguments, "--limit", "1.5"]) == 2
    assert "'1.5' is neither a number of documents" in " ".join(capsys.readouterr().err.split())
    lines = "\n".join(json.dumps({"id": place, "prediction": str(place)}) for place in range(3))
    (tmp_path / "answers.jsonl").write_text(lines)
    scored = ["score", "--predictions", str(tmp_path / "answers.jsonl"), "--task", str(file), "-o", str(tmp_path / "s")]
    assert main([*scored, "--limit", "0.5"]) == 0
    assert "100.0 %" in capsys.readouterr().out


def test_texts_can_be_described_and_forecast(base: Path, corpus: Path, capsys) -> None:
    assert main(["tasks", f"ppl:{corpus}"]) == 0
    assert "Bits per character of corpus" in capsys.readouterr().out
    assert main(["run", "--dry-run", "--model", str(base), "--tasks", f"ppl:{corpus}"]) == 0
    assert "ppl_corpus" in capsys.readouterr().out


def test_two_files_of_one_name_are_refused(base: Path, tmp_path: Path, capsys) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.txt").write_text("text")
    tasks = f"ppl:{tmp_path}/a/x.txt,ppl:{tmp_path}/b/x.txt"
    assert main(["run", "--model", str(base), "--tasks", tasks, "--output", str(tmp_path / "out")]) == 2
    assert "would be called ppl_x, as another task is: rename one of the files" in capsys.readouterr().err


def test_a_file_with_the_name_of_another_task_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("text")
    (tmp_path / "x.yaml").write_text("task: ppl_x\ndataset_path: a/b\noutput_type: generate_until\n")
    with pytest.raises(HarnessError, match="would be called ppl_x, as another task is: rename the file"):
        Catalogue([tmp_path]).load([f"ppl:{tmp_path / 'x.txt'}", "ppl_x"])


def test_two_spellings_of_one_path_are_one_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    assert Catalogue().expand(["ppl:x.txt", "ppl:./x.txt", f"ppl:{tmp_path}/x.txt", "gsm8k"]) == ["ppl:x.txt", "gsm8k"]


def test_a_text_that_is_none_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1]}), tmp_path / "x.parquet")
    with pytest.raises(HarnessError, match=r"x\.parquet, row 1, has no text in its column text"):
        file_tasks.build(f"ppl:{tmp_path / 'x.parquet'}")
