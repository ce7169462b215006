"""The environment of a command: session, servers, consumers, and waiting for results."""
