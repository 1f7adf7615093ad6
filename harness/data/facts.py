"""Facts about the data sets of lm-eval's own tasks, whose definitions do not state such facts.

The tasks in `tasks/` state these facts themselves, under `metadata`. Not here: where copies of the data are
(`harness.data.sources`).
"""

from __future__ import annotations

from typing import NamedTuple


class Facts(NamedTuple):
    """The entries that a definition would have under `metadata`."""

    source: str
    """Where the data set was published."""
    licence: str
    documents: str
    """The evaluated split and its published size."""
    contamination: str
    """How likely it is that models were trained on the documents."""


_JEC_QA = "past bar examinations, which are public on the web; most of LawBench's 1-2 are among the KD half"

FACTS: dict[tuple[str, str | None], Facts] = {
    ("cais/mmlu", None): Facts(
        "hendrycks/test (arXiv 2009.03300)",
        "MIT",
        "test, 14,042",
        "the test split is public since 2020 and known to be in web corpora",
    ),
    ("openai/gsm8k", None): Facts(
        "openai/grade-school-math (arXiv 2110.14168)",
        "MIT",
        "test, 1,319",
        "the test split is public since 2021 and known to be in web corpora",
    ),
    ("haonan-li/cmmlu", None): Facts(
        "haonan-li/CMMLU (arXiv 2306.09212)",
        "CC BY-NC-SA 4.0",
        "test, 11,582 (the paper says 11,528)",
        "exam questions taken from the web; the test answers are public since 2023",
    ),
    ("nyu-mll/glue", "mrpc"): Facts(
        "Dolan and Brockett 2005, as in GLUE (arXiv 1804.07461)",
        "Microsoft Research's own",
        "validation, 408",
        "the labelled validation split is public since 2018",
    ),
    ("nyu-mll/glue", "sst2"): Facts(
        "Socher et al. 2013, as in GLUE (arXiv 1804.07461)",
        "not stated",
        "validation, 872",
        "film reviews of the web; the labelled validation split is public since 2018",
    ),
    ("baber/piqa", None): Facts(
        "arXiv 1911.11641", "AFL 3.0", "validation, 1,838", "the labelled validation split is public since 2020"
    ),
    ("allenai/sciq", None): Facts("arXiv 1707.06209", "CC BY-NC 3.0", "test, 1,000", "public since 2017, answers too"),
    ("hails/agieval-jec-qa-kd", None): Facts(
        "AGIEval (arXiv 2304.06364), from JEC-QA (arXiv 1911.12011)",
        "MIT for AGIEval; not stated for the questions",
        "test, 1,000",
        _JEC_QA,
    ),
    ("hails/agieval-jec-qa-ca", None): Facts(
        "AGIEval (arXiv 2304.06364), from JEC-QA (arXiv 1911.12011)",
        "MIT for AGIEval; not stated for the questions",
        "test, 999 (a mirror may hold 1,000)",
        _JEC_QA,
    ),
}
"""Facts by (hub name, configuration) of a data set; the configuration None stands for all configurations."""


def facts(dataset: str, config: str | None) -> dict[str, str]:
    """Return the facts about a data set by their names; empty if there are none."""
    entry = FACTS.get((dataset, config)) or FACTS.get((dataset, None))
    return entry._asdict() if entry else {}
