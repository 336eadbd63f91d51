"""A pytest plugin: Postgres, Kafka and waiting for what is eventual."""
