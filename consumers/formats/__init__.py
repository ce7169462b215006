"""Bytes in, source events out: pure, so that every way in shares them."""
