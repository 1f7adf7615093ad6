"""Backends: whatever answers lm-eval's requests."""
