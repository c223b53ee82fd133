"""A web server in a thread, with the faults that real ones have."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Site:
    """What a server serves, how it fails, and what it was asked for.

    Args:
        files: path -> content.
        cut: each answer breaks off after this many bytes; 0 never.
        ranges: it knows the header Range.
        fail: number of first requests that it answers with 503.
    """

    files: dict[str, bytes]
    cut: int = 0
    ranges: bool = True
    fail: int = 0
    url: str = ""
    starts: list[int] = field(default_factory=list)  # first byte of every answer


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve until the end of the block."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, site)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


def _answer(handler: http.server.BaseHTTPRequestHandler, site: Site) -> None:
    if site.fail:
        site.fail -= 1
        handler.send_error(503)
        return
    content = site.files.get(handler.path.lstrip("/"))
    if content is None:
        handler.send_error(404)
        return
    etag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
    wanted = handler.headers.get("Range") if site.ranges else None
    if handler.headers.get("If-Range", etag) != etag:
        wanted = None
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
    if wanted and start >= len(content):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(content)}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    site.starts.append(start)
    handler.send_response(206 if wanted else 200)
    if wanted:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content) - start))
    handler.send_header("ETag", etag)
    handler.end_headers()
    body = content[start:]
    handler.wfile.write(body[: site.cut] if site.cut else body)
