"""The statistics under a verdict: differences, their tests, intervals and bets."""
