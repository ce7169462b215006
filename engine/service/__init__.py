"""Operations for people and programs: the only way of the command line and HTTP to the engine.

`queries` read and `commands` write; each module is named after the noun that it is about. Each
operation takes the caller first, checks the caller's role, runs in one transaction unless its
docstring states why not, and returns a value that `msgspec.to_builtins` converts to JSON.
"""
