"""Publication of events; retention of finished work, which moves to the history and expires."""
