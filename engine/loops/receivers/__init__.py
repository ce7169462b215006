"""Receivers of events: each module sends one event, and raises KnockonError if it fails."""
