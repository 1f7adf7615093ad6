"""Citations of law: parsing them, checking them, scoring them."""
