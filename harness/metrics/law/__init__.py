"""Citations of law: reading them, checking them, scoring them."""
