"""Runs a whole installation on one machine: embedded Postgres and Kafka, supervisor, checks."""
