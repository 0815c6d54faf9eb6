"""dlt's view of `naming`: a file's columns have their names before dlt sees them, and it leaves them alone."""

from __future__ import annotations

from dlt.common.normalizers.naming import snake_case


class NamingConvention(snake_case.NamingConvention):
    """Names as they come. `snake_case` knows Latin letters only: two other words would become one."""

    def normalize_identifier(self, identifier: str) -> str:
        """The same."""
        return identifier
