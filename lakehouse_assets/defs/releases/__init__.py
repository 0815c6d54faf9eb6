"""Published tables as assets, and the release that makes them readers' truth at once."""
