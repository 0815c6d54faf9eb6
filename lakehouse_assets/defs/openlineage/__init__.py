"""What runs have read and written, told as OpenLineage events to an address or a file."""
