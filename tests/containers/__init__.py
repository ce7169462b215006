"""The compose file and the image on a real Docker engine: `make containers`.

`docker` finds an engine or starts a private one, `standins` builds images where no registry is
reachable, `stack` drives Compose, and `scenario` is the test. Nothing here runs with `make test`.
"""
