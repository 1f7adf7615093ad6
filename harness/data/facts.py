"""What is known of the data sets that lm-eval's own tasks ask, whose definitions do not say it.

The tasks in `tasks/` state it themselves, under `metadata`. Not here: where a copy is (`harness.data.sources`).
"""

from __future__ import annotations

from typing import NamedTuple


class Facts(NamedTuple):
    """What `metadata` of a definition would say."""

    source: str
    licence: str
    documents: str
    """The split that is asked, and its published size."""
    contamination: str


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
"""By data set of the hub, and by its configuration where these are data sets of their own."""


def facts(dataset: str, config: str | None) -> dict[str, str]:
    """Return what is known of a data set, nothing if that is nothing."""
    found = FACTS.get((dataset, config)) or FACTS.get((dataset, None))
    return found._asdict() if found else {}
