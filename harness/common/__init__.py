"""Process plumbing that every other room may use: progress, packaged files, slow imports, atomic writes, validation."""
