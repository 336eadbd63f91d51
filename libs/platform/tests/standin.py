"""A service with nothing in it but health: what a supervisor sees of one. `python standin.py [crash]`."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = os.environ.get("KERNEL_PROCESS_SVC_URLS", "").encode()
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    if "crash" in sys.argv:
        sys.exit("the stand-in gives up")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    HTTPServer(("127.0.0.1", int(os.environ["KERNEL_HTTP_PORT"])), Health).serve_forever()
