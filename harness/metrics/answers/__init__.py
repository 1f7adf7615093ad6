"""What an answer says: a choice or a number."""
