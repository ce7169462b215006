"""Health checks of the database, of an org's work, and of its sources."""
