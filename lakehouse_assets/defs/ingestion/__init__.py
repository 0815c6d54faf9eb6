"""Raw tables: sources and landed files as assets, and the loads that fill them."""
