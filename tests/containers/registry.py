"""A registry on the loopback that serves one image (OCI distribution specification), and notes what is asked."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def registry(layout, name):
    """Serve the image of an OCI layout as `name:1`; yields its address and the manifests that were asked for."""
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            kind, _, what = self.path.removeprefix(f"/v2/{name}/").partition("/")
            if self.path == "/v2/":
                return self.answer(b"{}", "application/json")
            digest = manifest["digest"] if what == "1" else what
            blob = layout / "blobs" / digest.replace(":", "/")
            if kind not in ("manifests", "blobs") or not blob.is_file():
                return self.send_error(404)
            if kind == "manifests" and self.command == "GET":
                asked.append(what)
            return self.answer(
                blob.read_bytes(), manifest["mediaType"] if kind == "manifests" else "application/octet-stream"
            )

        do_HEAD = do_GET

        def answer(self, body, kind):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *words):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
