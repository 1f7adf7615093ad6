"""design.md's tolerances, stated once; no test has its own."""

from __future__ import annotations

FP32_LOGLIKELIHOOD = 1e-4
"""Absolute difference of a request's log-likelihood, any batch and order, against batch size 1."""
