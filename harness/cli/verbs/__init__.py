"""The verbs, one short file each, which parses options, calls the library and prints."""
