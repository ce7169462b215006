"""Publication of events; retention of finished work, and of versions that are no longer current."""
