"""`lakehouse doctor`: small checks, each of one thing that a person would hunt for an hour. They change nothing."""
