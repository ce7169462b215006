"""The error for a query without derivable lineage."""


class Unresolved(Exception):
    """The lineage of a query cannot be derived; the message gives the reason."""
