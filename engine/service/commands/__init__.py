"""Commands, which write in one transaction unless the docstring gives a reason."""
