"""What `knockon doctor` looks at."""
