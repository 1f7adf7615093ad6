"""Whatever answers lm-eval's requests."""
