"""The landing zone: which files lie there, in which versions, and what became of each."""
