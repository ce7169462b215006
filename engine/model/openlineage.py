"""What Knockon calls itself to OpenLineage, so that it knows its own events when they come back."""

PRODUCER = "urn:knockon:worker"
