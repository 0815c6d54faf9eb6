"""Maintenance as assets, and the order of its steps."""
