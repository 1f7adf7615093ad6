"""Information extraction: records, the formats they are written in, and their scores."""
