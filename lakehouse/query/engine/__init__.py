"""From a statement to its answer: the guard, the workers, formats and limits. The same for every way in."""
