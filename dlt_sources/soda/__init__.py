"""A dlt resource for any dataset of any open-data portal that speaks SODA."""
