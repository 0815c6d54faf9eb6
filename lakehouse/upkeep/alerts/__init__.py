"""Messages when something breaks, and one when it is well again: into the log, and to a webhook where one is set."""
