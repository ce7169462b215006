"""The demo: a year of flights is built once, three changes come in, and the result is checked."""
