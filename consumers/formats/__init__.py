"""Pure decoders from message bytes to source events, shared by all consumers."""
