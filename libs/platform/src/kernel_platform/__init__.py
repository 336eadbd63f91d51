"""Runs a whole installation on one machine: Postgres, Kafka, topics, databases, the services, one supervisor.

For the `kernel` command, plain blocking functions in `kernel_platform.control`:
    up(services=None, on_progress=print) -> status      everything ready on return; UpError says why not
        services={"process-svc": 2} replicas; on_progress(text) is told each step; idempotent
    down(on_progress=print) -> bool                     stops all; whether there was anything to stop
    status() -> dict                                    {"ready", "gateway", "kafka", "postgres", "services"} as api.md has it
    run_foreground(workload, services=None, on_progress=print, exit_after=False) -> exit code
        workload(status) runs once all is ready; then it stays until Ctrl-C; what it started it stops
and `kernel_platform.issuer.mint(Home.default(), ["admin"], operator=None, tenant="main", ttl=3600) -> token`.
All take `home=Home(path)` too; `Home.default()` is $KERNEL_HOME, else `.kernel` in the checkout. Logs lie in `home.logs`,
one file a process; the supervisor is `python -m kernel_platform.daemon`.
"""
