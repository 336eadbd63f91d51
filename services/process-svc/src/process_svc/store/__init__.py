"""All SQL of process-svc: rows in bulk by `unnest`, one statement a table and batch."""
