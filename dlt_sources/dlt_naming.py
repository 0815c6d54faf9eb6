"""Lakes keep the name of the module that names their columns; those of an earlier version have this one."""

from dlt_sources.landing.dlt_naming import NamingConvention

__all__ = ["NamingConvention"]
