"""Rows of files and data sets, and where they lie; no lm-eval, no torch."""
