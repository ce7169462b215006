"""Metrics, liveness and readiness of a running process.

`metrics` defines counters, gauges and histograms; `pulse` tracks the progress of each loop;
`backlog_gauges` reads an org's backlog from the database. `app` serves all of them over HTTP.
"""
