"""A mirror of Lawyer LLaMA's consultations with the real layout and an invented law."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

ARTICLES = (
    "《渡口法》第一条：渡船每年检验一次。",
    "《渡口法》第二条：行人依次上船。",
    "《渡口法》第三条：船工应当登记。",
    "《渡口法》第四条：冬天结冰的时候，渡口关闭。",
)
QUESTIONS = (
    {
        "query": "渡船多久检验一次？",
        "laws": list(ARTICLES[:3]),
        "response": "您好，依据《渡口法》第一条，每年检验一次。",
    },
    {
        "query": "结冰了还能过河吗 {{x}} ",
        "laws": [ARTICLES[3], ARTICLES[1], ARTICLES[0]],
        "response": "不能。依据《渡口法》第四条，渡口关闭。",
    },
    {"query": "船工要做什么？", "laws": list(ARTICLES[1:4]), "response": "请带身份证来登记。"},
)
CONVERSATIONS = (
    {
        "query": "渡船多久检验一次？",
        "laws": list(ARTICLES[:3]),
        "history": [
            "[客户] 渡船多久检验一次？",
            "[律师] 依据《渡口法》第一条，每年一次。",
            "[客户] 谁来检验？",
            "[律师] 乡镇的检验员。",
            "[律师] 还有什么问题吗？",
        ],
    },
    {
        "query": "结冰了怎么办？",
        "laws": [ARTICLES[3], ARTICLES[1], ARTICLES[0]],
        "history": ["[客户] 结冰了怎么办？", "[律师] 渡口关闭，见《渡口法》第四条。", "[客户] 谢谢。"],
    },
)
DATASET = "AndrewZhe/lawyer-llama"


def write(mirror: Path) -> Path:
    """Write the data sets below the folder `mirror` and return it."""
    configs = {
        "legal_counsel_with_article_v2": list(QUESTIONS),
        "legal_counsel_multi_turn_with_article_v2": list(CONVERSATIONS),
        "retrieval_articles": [{"text": text} for text in ARTICLES],
    }
    for name, rows in configs.items():
        file = mirror / DATASET / name / "train-00000-of-00001.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), file)
    files = {name: [{"split": "train", "path": f"{name}/train-*.parquet"}] for name in configs}
    listed = [{"config_name": name, "data_files": patterns} for name, patterns in files.items()]
    card = f"---\n{yaml.safe_dump({'configs': listed})}---\n"
    (mirror / DATASET / "README.md").write_text(card, encoding="utf-8")
    return mirror
