"""Silences other libraries, so that nothing but results and errors is printed."""

from __future__ import annotations

import logging
import os
import warnings

_ENVIRONMENT = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_VERBOSITY": "critical",
    "TRANSFORMERS_VERBOSITY": "critical",
    "DATASETS_VERBOSITY": "critical",
    "TOKENIZERS_PARALLELISM": "true",
}
"""Environment variables that the libraries read when they are imported; variables already set keep their values."""

_LOGGERS = ("lm_eval", "lm-eval", "huggingface_hub", "datasets", "transformers", "bitsandbytes", "httpx")


def quiet_libraries() -> None:
    """Silence progress bars, warnings and logs of other libraries. Call this before the libraries are imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
