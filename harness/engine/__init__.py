"""How requests are answered: token ids in, log-likelihoods and continuations out."""
