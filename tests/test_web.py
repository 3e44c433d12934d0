import io
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from srzoo import web
from srzoo.cli import main
from srzoo.images import ImageError, read_image
from srzoo.web import DownloadError, fetch, without_password

RGB = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def served(answer):
    """A server that calls ``answer(path, connection)`` for each request; yields its address and the requests."""
    server = socket.create_server(("127.0.0.1", 0))

    def work():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(4096)
                requests.append(request.decode())
                with suppress(OSError):  # the reader went away
                    answer(request.split()[1].decode(), connection)

    requests: list[str] = []
    threading.Thread(target=work, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}", requests
    finally:
        server.close()


def response(body: bytes, status: str = "200 OK", **headers) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


ANSWERS = {
    "/x.png": response(png()),
    "/my%20photo.png": response(png(), Content_Length=len(png())),
    "/gr%C3%BC%C3%9Fe.png": response(png()),
    "/q.png?a=b%20c": response(png()),
    "/moved": response(b"", "302 Found", Location="/x.png"),
    "/y.png": response(b"", "404 Not Found"),
    "/evil": response(b"", "404 \x1b[31mEVIL"),
    "/short": response(png()[:50], Content_Length=len(png())),
    "/chunk": response(b"50\r\nabc", Transfer_Encoding="chunked"),
    "/chunks": response(b"zz\r\n", Transfer_Encoding="chunked"),
    "/status": b"HELLO\r\n\r\n",
    "/closed": b"",
    "/huge": response(b"", Content_Length=10**15),
    "/loop": response(b"", "302 Found", Location="/loop"),
    "/file": response(b"", "302 Found", Location="file:///etc/passwd"),
    "/ftp": response(b"", "302 Found", Location="ftp://127.0.0.1/x"),
    "/empty": response(b""),
    "/html": response(b"<html>"),
}


def answer(path, connection):
    connection.sendall(ANSWERS.get(path, response(b"", "404 Not Found")))
    if path == "/closed":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    "path", ["/x.png", "/my photo.png", "/my%20photo.png", "/grüße.png", "/q.png?a=b c", "/x.png#part", "/moved"]
)
def test_names_as_people_write_them(path):
    with served(answer) as (base, _):
        for address in (f"{base}{path}", f"HTTP{base[4:]}{path}"):
            assert (np.asarray(read_image(address)) == RGB).all()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/y.png", r"could not be downloaded \(Not Found\)"),
        ("/evil", r"\\x1b\[31mEVIL"),
        ("/short", f"50 of {len(png())} bytes"),
        ("/chunk", "IncompleteRead"),
        ("/chunks", "could not be downloaded"),
        ("/status", "BadStatusLine"),
        ("/closed", "could not be downloaded"),
        ("/huge", "1,000,000,000,000,000 bytes, expected at most 209,715,200"),
        ("/loop", "infinite loop|could not be downloaded"),
        ("/file", "file:///etc/passwd"),
        ("/ftp", "redirects to ftp"),
        ("/empty", "the file is empty"),
        ("/html", "not an image file"),
    ],
)
def test_a_download_that_fails_is_one_line_with_its_address(path, reason):
    with served(answer) as (base, _), pytest.raises(ImageError, match=rf"^{base}{path}: .*{reason}") as caught:
        read_image(f"{base}{path}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:9/my photo.png",
        "http:///x",
        "http://127.0.0.1:x/",
        "http://[::1/x.png",
        "https://",
        "http://a b/",
    ],
)
def test_an_address_that_leads_nowhere(address):
    with pytest.raises(ImageError, match="could not be downloaded"):
        read_image(address)


def test_limits_of_size_and_time():
    def endless(path, connection):
        connection.sendall(response(b""))
        while True:
            connection.sendall(bytes(1000))
            time.sleep(0.01 if path == "/drip" else 0)

    def silent(path, connection):
        for letter in response(png()).decode("latin-1"):
            connection.sendall(letter.encode("latin-1"))
            time.sleep(0.2)

    with served(endless) as (base, _), pytest.raises(DownloadError, match="more than 100,000 bytes"):
        fetch(base, max_bytes=100_000)
    for respond in (endless, silent):
        start = time.monotonic()
        with served(respond) as (base, _), pytest.raises(DownloadError, match="1 s, the limit"):
            fetch(f"{base}/drip", max_bytes=10**9, max_seconds=1)
        assert time.monotonic() - start < 10


def test_who_asks_and_passwords(monkeypatch):
    with served(answer) as (base, requests):
        fetch(f"{base}/x.png".replace("//", "//me:my%20secret@"))
    assert "User-Agent: srzoo" in requests[0] and "Authorization: Basic bWU6bXkgc2VjcmV0" in requests[0]
    assert without_password("http://me:secret@host/a@b.png") == "http://host/a@b.png"
    with pytest.raises(ImageError) as caught:
        read_image("http://me:secret@127.0.0.1:9/x.png")
    assert "secret" not in str(caught.value)


def test_a_redirection_to_another_machine_inside_is_refused():
    targets = ["http://localhost:{}/x.png", "http://10.0.0.1/", "http://169.254.169.254/latest", "http://[::1]/"]

    def redirect(path, connection):
        connection.sendall(response(b"", "302 Found", Location=targets[int(path[1:])].format(port)))

    with served(redirect) as (base, _):
        port = base.rpartition(":")[2]
        for i, target in enumerate(targets):
            host = urlsplit(target.replace("{}", port)).hostname
            with pytest.raises(DownloadError, match=f"redirects to {host}, inside a private network"):
                fetch(f"{base}/{i}")
    assert not web._is_inside("8.8.8.8")


def test_a_bad_address_does_not_stop_the_others(examples, tmp_path, capsys):
    with served(answer) as (base, _):
        bad = [f"{base}/chunk", "http://[::1/my photo.png", f"{base}/status"]
        paths = [str(examples / "street.png"), *bad, str(examples / "cyclist.png")]
        assert main(["segment", *paths, "--out", str(tmp_path)]) == 2
    assert len(list(tmp_path.iterdir())) == 4
    lines = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line.startswith("srzoo:")]
    assert [sum(address in line for line in lines) for address in bad] == [1, 1, 1]
    assert "3 of 5" in lines[-1]
