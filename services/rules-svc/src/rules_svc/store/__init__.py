"""All SQL of rules-svc: `batch` for the pipeline, `reads` for the HTTP door, `chores` for what time drives."""
