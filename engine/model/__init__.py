"""Value types of the domain model."""
