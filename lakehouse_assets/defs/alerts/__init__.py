"""Sensors that say when something fails, is late, or is well again."""
