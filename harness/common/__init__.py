"""What every other package may use: progress, packaged files, slow imports, atomic writes, validation and more."""
