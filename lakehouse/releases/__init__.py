"""Releases: what an environment's readers get. All served tables, taken at one snapshot, after their checks."""
