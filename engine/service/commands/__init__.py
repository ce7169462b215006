"""Commands: each writes in one transaction, unless its docstring gives the reason against it."""
