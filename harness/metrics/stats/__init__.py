"""Statistics of per-sample values: means with intervals, and agreement between raters."""
