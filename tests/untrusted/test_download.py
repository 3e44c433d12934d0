import contextlib
import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from srzoo.untrusted.download import DownloadError, download


class Hostile(BaseHTTPRequestHandler):
    def do_GET(self):
        with contextlib.suppress(OSError):
            getattr(self, self.path[1:].partition("?")[0])()

    def answer(self, code=200, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def good(self):
        self.answer(Content_Length="5")
        self.wfile.write(b"hello")

    def endless(self):
        self.answer()
        for _ in range(1000):
            self.wfile.write(b"x" * 4096)

    def announced(self):
        self.answer(Content_Length=str(10**15))

    def short(self):
        self.answer(Content_Length="100")
        self.wfile.write(b"hello")

    def slow(self):
        self.answer()
        for _ in range(100):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def headless(self):
        for _ in range(100):
            self.wfile.write(b"HTTP"[:1])
            time.sleep(0.05)

    def words(self):
        self.send_response(404, "\x1b[31mEVIL")
        self.end_headers()

    def same(self):
        self.answer(302, Location="/good")

    def inside(self):
        self.answer(302, Location=f"http://localhost:{self.server.server_port}/good")

    def metadata(self):
        self.answer(302, Location="http://169.254.169.254/latest")

    def file(self):
        self.answer(302, Location="file:///etc/passwd")

    def loop(self):
        self.answer(302, Location="/loop")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fetched(address: str, most: int = 100_000, seconds: float = 20) -> bytes:
    target = io.BytesIO()
    assert download(address, target, most, seconds) == len(target.getvalue())
    return target.getvalue()


def test_content_and_a_redirect_within_the_machine(server):
    assert fetched(f"{server}/good") == fetched(f"{server}/same") == b"hello"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("endless", "more than 100,000 bytes"),
        ("announced", "1,000,000,000,000,000 bytes, the limit is 100,000"),
        ("short", "5 of 100 bytes"),
        ("words", r"downloaded \(\\x1b\[31mEVIL\)"),
        ("inside", "private network"),
        ("metadata", "169.254.169.254/latest: .*private network"),
        ("file", "file:///etc/passwd"),
        ("loop", "could not be downloaded"),
    ],
)
def test_a_hostile_server_is_one_line(server, path, message):
    with pytest.raises(DownloadError, match=message) as raised:
        fetched(f"{server}/{path}")
    assert "\n" not in str(raised.value) and "\x1b" not in str(raised.value)


@pytest.mark.parametrize("path", ["slow", "headless"])
def test_the_limit_of_time_holds_for_a_byte_at_a_time(server, path):
    began = time.monotonic()
    with pytest.raises(DownloadError, match="not done within 0.5 s, the limit"):
        fetched(f"{server}/{path}", seconds=0.5)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://a/b", "http://[", "http:///x", "http://a b/", "x"])
def test_addresses_that_are_none(address):
    with pytest.raises((DownloadError, ValueError)):
        fetched(address)


def test_a_password_is_not_shown():
    with pytest.raises(DownloadError) as raised:
        fetched("http://user:secret@127.0.0.1:9/x")
    assert "secret" not in str(raised.value) and "127.0.0.1:9/x" in str(raised.value)
