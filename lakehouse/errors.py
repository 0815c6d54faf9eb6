"""What a user can act on, as one kind of error."""

from __future__ import annotations


class LakehouseError(Exception):
    """The message is whole sentences for a user: what is wrong, where, why, and what to do. Commands print it and end.

    `exit_code` is theirs: 1 it failed, 2 the command line or a setting is wrong.
    """

    exit_code = 1
