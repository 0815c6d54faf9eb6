"""Agents: the tools of the Model Context Protocol, in front of the same service as every other way in."""
