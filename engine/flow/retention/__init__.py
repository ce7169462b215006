"""Retention of finished work: moved to the history, and dropped from it after some time."""
