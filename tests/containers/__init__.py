"""The compose file and the image on a real Docker engine: `make containers`.

`docker` finds an engine or starts a private engine, `standins` builds images for machines without
access to a registry, `stack` drives Compose, and `scenario` is the test. `make test` runs none of
these modules.
"""
