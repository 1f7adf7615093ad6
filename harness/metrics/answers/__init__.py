"""Reading answers: the choice or the number that an answer in words gives."""
