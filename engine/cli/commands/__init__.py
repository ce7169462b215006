"""The commands, one module each; modules with an underscore are shared."""
