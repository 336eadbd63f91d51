"""Event logs for process mining, written as they are read: CSV, XES and OCEL 2.0."""
