"""Structs for the rows of named statements, by file of `sql/queries`."""
