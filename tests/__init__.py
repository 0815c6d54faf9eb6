"""The tests."""

import os

# GNU readline leaves a width of 80 to the processes that the test run starts: a console that is made there keeps it.
os.environ.pop("COLUMNS", None)
