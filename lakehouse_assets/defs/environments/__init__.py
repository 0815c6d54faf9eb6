"""Environments: made, promoted, compared and dropped, as jobs and as functions."""
