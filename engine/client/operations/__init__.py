"""Operations of the service, sent to a server as requests."""
