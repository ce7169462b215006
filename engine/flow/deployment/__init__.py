"""Deployment of DAG versions, and of changes that are previewed before they are applied.

Contains deploys in response to discovered datasets, and the ingestion of the event of an applied
plan.
"""
