"""The statistics behind a verdict: paired differences, their tests, intervals and sequential tests."""
