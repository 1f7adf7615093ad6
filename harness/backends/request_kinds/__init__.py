"""The kinds of requests that tasks make: from lm-eval's requests to token ids, and back from results to answers."""
