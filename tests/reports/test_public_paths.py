"""Paths in reports: what identifies stays, what says whose machine it was goes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from harness.checkpoints.reference import parse
from harness.reports import public_paths, public_reports
from harness.reports.public_paths import data_set, in_text, reduced
from harness.reports.report import read
from harness.reports.writer import ReportWriter
from harness.runs.manifest import public_reference
from support.invented_reports import checkpoint, score, task_info


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A working directory in a home folder."""
    home = tmp_path / "home" / "alice smith"
    (home / "project").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "project")
    return home / "project"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B"),
        ("out/base", "out/base"),
        ("./out/base", "./out/base"),
        ("{here}/out/base", "out/base"),
        ("{home}/models/base", "…/base"),
        ("{home}", "…"),
        ("~", "…"),
        ("~/models/base", "…/base"),
        ("~nobody-here/models/base", "…/base"),
        ("../../bob/base", "…/base"),
        ("/data/bob/out/checkpoint-300", "…/out/checkpoint-300"),
        ("{home}/checkpoint-300", "…/checkpoint-300"),
        ("/data/bob/my models/base/", "…/base"),
        ("/", "…"),
        ("/model", "…/model"),
        ("file:///home/bob/x.jsonl", "…/x.jsonl"),
        (r"C:\Users\bob\models\base", "…/base"),
        ("{home}/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/0a1b2c", "Qwen/Qwen3-8B"),
        ("/home/bob/语料/模型", "…/模型"),
        ("/hub/models--o--n/snapshots/0a1b/checkpoint-100", "o/n/checkpoint-100"),
        ("/hub/models--gpt2/snapshots/0a1b", "gpt2"),
        ("/hub/datasets--o--n/snapshots/0a1b/data/en", "o/n/data/en"),
        ("/home/bob/models--qwen--v2/run7/checkpoint-10", "…/run7/checkpoint-10"),
        ("/home/bob", "…"),
        ("/home/bob/checkpoint-3", "…/checkpoint-3"),
        ("~nobody-here/checkpoint-3", "…/checkpoint-3"),
        (r"C:\Users\bob", "…"),
        (r"\\srv\share\models\base", "…/base"),
        ("file://localhost/home/bob/x", "…/x"),
        ("https://example.org/home/../data", "https://example.org/home/../data"),
    ],
)
def test_a_path_keeps_what_identifies(project, path, expected):
    typed = path.format(here=project, home=project.parent)
    assert reduced(typed) == expected
    assert reduced(reduced(typed)) == expected


@pytest.mark.parametrize("folder", ["/", "{home}/.."])
def test_a_working_directory_above_the_home_folder_reveals_nothing(project, monkeypatch, folder):
    monkeypatch.chdir(folder.format(home=project.parent))
    assert reduced(f"{project}/base") == "…/base"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the adapter says it was trained on /home/lin/autodl-tmp/llama, not on x", "… trained on …/llama, not on x"),
        ("'/home/bob/a.jsonl', line 3: wrong.", "'…/a.jsonl', line 3: wrong."),
        ("read /home/bob/a.jsonl.", "read …/a.jsonl."),
        ("in {home}/models/base and {here}/x", "in …/base and x"),
        ("see https://example.org/home/bob and hf://datasets/a/b", None),
        ("3 / 4 samples, and/or 50 km/h, 对/错, 1/2", None),
        ("the marks <think>/</think> and a route /v1/completions", None),
        (r"from D:\bob\x.jsonl", "from …/x.jsonl"),
    ],
)
def test_paths_in_a_text(project, text, expected):
    typed = text.format(here=project, home=project.parent)
    result = in_text(typed, [f"{project.parent}/models/base"])
    if expected is None:
        assert result == text
    else:
        assert result.endswith(expected.removeprefix("…") if "trained" in expected else expected)
        assert "bob" not in result
        assert "alice" not in result


@pytest.mark.parametrize("here", ["/data", "/ceval", "/home", "/model", "/home/al"])
@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/datasets/o/x/resolve/main/data/test.jsonl",
        "ceval/ceval-exam:law",
        "s3://bucket/home/x and hf://datasets/o/x/data",
        "github.com/org/model-card, org/data",
        "//cdn.example.org/data/home/x",
        "between 3/4 and ~5/10, 对/错/无/有",
        "POST /v1/chat/completions",
    ],
)
def test_what_is_no_path_stays_in_every_folder(monkeypatch, here, text):
    monkeypatch.setattr(public_paths.Path, "cwd", lambda: Path(here))
    monkeypatch.setenv("HOME", "/home/al")
    assert in_text(text, ["/model", "/data/x", here]) == text
    assert text.startswith("//") or data_set(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("trained on /gpfs/users/zhang/llama, not x", "trained on …/llama, not x"),
        ("trained on:/nas01/zhang/models/x", "trained on:…/x"),
        ("(/lustre/zhang/x.parquet)", "(…/x.parquet)"),
        ("/share/x /cpfs/x /home1/x /data1/x /disk1/x", "…/x …/x …/x …/x …/x"),
        (r"from \\zhang\share\x to y", "from …/x to y"),
        ("'/gpfs/zhang san/a (1), b/x' is not here", "'…/x' is not here"),
        ("zip://a.csv::/home/zhang/x.zip", "zip://a.csv::…/x.zip"),
        ("读取/home/zhang/语料。", "读取…/语料。"),
        ("in ../../zhang/x", "in …/x"),
        ("in /home//zhang/x and /nas//zhang///x/", "in …/x and …/x/"),
        ("/home/alice/zhang/x.json", "…/x.json"),
        ("the base /home/zhang san/a, b/[x] (1) is here", "the base …/[x] (1) is here"),
        ("/home/zhang san/a, b/[x] (1)/c.json and /home/zhang san/d", "…/c.json and …/d"),
    ],
)
def test_paths_of_any_machine_go(monkeypatch, text, expected):
    monkeypatch.setenv("HOME", "/home/al")
    assert in_text(text, ["/home/zhang san/a, b/[x] (1)"]) == expected


def test_a_name_longer_than_any_folders_is_text():
    text = f"/{'答案是' * 100}/b"
    assert in_text(text) == text


def test_half_a_surrogate_pair_names_no_folder():
    assert public_paths.reduced("~\ud800") == "…"


def test_texts_are_read_in_linear_time():
    for text in ("a." * 40_000, "/a" * 40_000, "'/" * 40_000, "\\\\a" * 20_000, "~/." * 30_000):
        started = time.process_time()
        in_text(text)
        assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("{here}/ds/mc", "…/mc"),
        ("{here}/ds/mc:law", "…/mc:law"),
        ("~/ds/mc", "…/mc"),
        ("../bob/mc", "…/mc"),
        ("/hub/datasets--o--n/snapshots/0a1b", "o/n"),
        ("ds/mc", "ds/mc"),
        ("json", "json"),
    ],
)
def test_the_name_of_a_data_set_does_not_depend_on_the_folder(project, monkeypatch, name, expected):
    name = name.format(here=project)
    for folder in (project, project.parent, Path("/")):
        monkeypatch.chdir(folder)
        assert data_set(name) == data_set(data_set(name)) == expected
        assert task_info("t", 1, dataset=name).dataset == expected


def test_a_reference_to_the_hubs_cache_is_no_name_on_the_hub():
    for step in ("100", "200"):
        path = f"/hub/models--o--n/snapshots/0a1b/checkpoint-{step}"
        assert public_paths.in_reference(path) == f"…/o/n/checkpoint-{step}"
        assert public_paths.is_reduced(public_paths.in_reference(path))


def test_every_path_of_a_recorded_reference_goes():
    text = '"/home/zhang san/a,name=b/base",tokenizer=/gpfs/zhang san/tok,name=x'
    assert public_reference(text) == "…/base,tokenizer=…/tok,name=x"
    assert public_reference(public_reference(text)) == public_reference(text)


def test_patterns_of_a_configuration_stay_and_its_files_go(tmp_path):
    manifest = read(_plain(tmp_path)).manifest
    config = {
        "filter_list": [{"filter": [{"regex_pattern": r"\\boxed\s/home/x/(.*)"}]}],
        "dataset_path": "/ds/mc",
        "dataset_kwargs": {"data_files": {"test": ["/q.jsonl", "https://example.org/home/x/q.jsonl"]}},
        "metadata": {"fetch": "copy /gpfs/bob/q.jsonl"},
    }
    result = public_reports.of_results({"configs": {"t": config}}, manifest)["configs"]["t"]
    assert result["filter_list"] == config["filter_list"]
    assert result["dataset_path"] == "…/mc"
    assert result["dataset_kwargs"]["data_files"] == {"test": ["…/q.jsonl", "https://example.org/home/x/q.jsonl"]}
    assert result["metadata"] == {"fetch": "copy …/q.jsonl"}


def test_a_reference_is_still_a_reference(project):
    typed = parse(f'"{project.parent}/a,name=b/base",adapter=/data/bob/lora,dtype=float16')
    assert str(typed.with_paths(reduced)) == "…/base,adapter=…/lora,dtype=float16"


def write(folder: Path, **options) -> Path:
    home = Path.home()
    model = checkpoint(
        "tiny",
        reference=f"{home}/my models/base,adapter={home}/my models/lora",
        base=f"{home}/my models/base",
        adapter=f"{home}/my models/lora",
    )
    with ReportWriter(folder, **options) as writer:
        manifest = read(_plain(folder.parent)).manifest.model_copy(
            update={"checkpoint": model, "notes": [f"the base {home}/my models/base replaces it"]}
        )
        arguments = {"data_files": {"test": f"{home}/my models/q.jsonl"}}
        configs = {"copa": {"dataset_kwargs": arguments, "doc_to_text": "open /home/bob/x"}}
        writer.finish(manifest, {"results": {}, "configs": configs})
    return folder


def _plain(root: Path) -> Path:
    from support.invented_reports import write_report

    return write_report(root / "plain", checkpoint(), {"copa": task_info("copa", 9)}, [score("copa", 0.5)]).folder


def test_a_report_names_nobody(tmp_path):
    folder = write(tmp_path / "report")
    text = "".join((folder / name).read_text() for name in ("manifest.json", "results.json"))
    assert "alice" not in text
    assert str(tmp_path) not in text
    info = read(folder).manifest.checkpoint
    assert (info.reference, info.base, info.adapter) == ("…/base,adapter=…/lora", "…/base", "…/lora")
    assert read(folder).manifest.notes == ["the base …/base replaces it"]
    config = json.loads((folder / "results.json").read_text())["configs"]["copa"]
    assert config == {"dataset_kwargs": {"data_files": {"test": "…/q.jsonl"}}, "doc_to_text": "open /home/bob/x"}


def test_paths_are_kept_on_request(tmp_path):
    folder = write(tmp_path / "report", keep_paths=True)
    assert read(folder).manifest.checkpoint.adapter == f"{Path.home()}/my models/lora"
    assert str(Path.home()) in (folder / "results.json").read_text()


def test_neither_a_home_folder_nor_a_working_directory_is_needed(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(public_paths.os.path, "expanduser", lambda path: path)
    assert reduced("/data/bob/base") == "…/base"
    assert reduced("~/base") == "…/base"
