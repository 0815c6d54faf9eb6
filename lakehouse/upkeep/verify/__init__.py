"""Reading everything: whether each file, release and state is what the others say that it is."""
