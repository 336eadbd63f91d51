"""What every service calls: pipeline, inbox, outbox, relay, Kafka, database, supervision, telemetry."""
