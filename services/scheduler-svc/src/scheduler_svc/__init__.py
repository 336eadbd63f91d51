"""scheduler-svc: owns queues and ready items; decides who goes first, on which candidates."""
