"""Backups of a whole lakehouse, and a lakehouse from a backup: a dump of the database, the files that it names."""
