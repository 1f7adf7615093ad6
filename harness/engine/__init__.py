"""The engine: token ids in, log-likelihoods and continuations out."""
