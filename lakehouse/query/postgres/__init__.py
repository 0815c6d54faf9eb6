"""The query service for PostgreSQL's clients: their protocol, version 3, in front of the same engine."""
