"""dlt's view of `naming`: a file's columns have their names before dlt sees them, and it leaves them alone.

dlt keeps this module's name in every lake: where it moves, the old name must go on leading here.
"""

from __future__ import annotations

from dlt.common.normalizers.naming import snake_case


class NamingConvention(snake_case.NamingConvention):
    """Names as they come. `snake_case` knows Latin letters only: two other words would become one."""

    def normalize_identifier(self, identifier: str) -> str:
        """The same."""
        return identifier
