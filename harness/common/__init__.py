"""What every room may use: progress, packaged files, slow imports. Knows nothing of the others."""
