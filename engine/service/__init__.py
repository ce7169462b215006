"""Operations for people and programs, used by the command line and HTTP.

`queries` read and `commands` write; modules are named after nouns. Every operation takes the caller
first, checks the caller's role, runs in one transaction unless the docstring gives a reason, and
returns a value for conversion to JSON by `msgspec.to_builtins`.
"""
