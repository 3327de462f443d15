"""See `analysis.choice`."""

from var_studio.analysis.choice import NoRowError, RowOf, query_of, read

__all__ = ["NoRowError", "RowOf", "query_of", "read"]
