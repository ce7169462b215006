"""Client of an OpenID Connect provider: verification of tokens, and logins with a code."""
