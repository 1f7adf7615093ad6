"""Runs: checkpoints × tasks → reports. `sweep` runs several checkpoints, `run` one, `estimate` forecasts the cost."""
