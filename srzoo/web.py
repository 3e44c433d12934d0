"""Files from the web, within limits of size and time."""

from __future__ import annotations

import base64
import http
import http.client
import io
import ipaddress
import socket
import threading
import urllib.error
import urllib.request
from typing import IO
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from .messages import one_line, visible

MAX_BYTES = 200 << 20
MAX_SECONDS = 120
_SILENCE_S = 30  # without a byte
_CHUNK = 1 << 16
_KEPT = "!$&'()*+,;=:@/~%"  # signs of a path or query that are not quoted; "%" as it may be quoted already


class DownloadError(ValueError):
    """Raised for an address that cannot be downloaded; the message is the reason alone, without the address."""


def is_address(source: object) -> bool:
    """Whether this is an ``http://`` or ``https://`` address."""
    return isinstance(source, str) and source[:8].lower().startswith(("http://", "https://"))


def parts_of(address: str) -> SplitResult:
    """The parts of an address, whose path is all of it where it is no valid one, as `download` then tells."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", address, "", "")


def without_password(address: str) -> str:
    """An address without the user's name and password, for messages."""
    scheme, found, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{found}{host.rpartition('@')[2]}{slash}{path}"


def fetch(address: str, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS) -> bytes:
    """The content of an address; arguments and errors are those of `download`."""
    content = io.BytesIO()
    download(address, content, max_bytes, max_seconds)
    return content.getvalue()


def download(address: str, file: IO[bytes], max_bytes: int, max_seconds: float, start: int = 0) -> int:
    """Write the content of an address to a file.

    Blanks and letters beyond ASCII may be in it unquoted; a user's name and password go into a header. Any machine may
    be named, as the user chose it, but a redirection to another one in a private network is not followed.

    Args:
        address: ``http://`` or ``https://``.
        file: to write to.
        max_bytes: larger files are refused.
        max_seconds: for everything, from the look-up of the host to the last byte.
        start: number of bytes that the file already has, which are not asked for again. A server that cannot send the
            rest alone sends everything, and the file is emptied first.

    Returns:
        The number of bytes of the whole.

    Raises:
        DownloadError: there is no such file, it is larger, it takes longer, or the transfer broke.
    """
    if not is_address(address):
        raise DownloadError("expected an address that starts with http:// or https://")
    outcome: list[int | BaseException] = []
    stop = threading.Event()

    def work() -> None:
        try:
            outcome.append(_copy(address, file, max_bytes, stop, start))
        except BaseException as error:  # raised in the caller's thread
            outcome.append(error)

    # In a thread, because neither the look-up of a host nor the reading of headers has a limit for the whole of it.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join(max_seconds)
    finally:
        stop.set()
    found = outcome[0] if outcome else DownloadError(f"not complete after {max_seconds:g} s, the limit")
    if isinstance(found, BaseException):
        raise found
    return found


def _copy(address: str, file: IO[bytes], max_bytes: int, stop: threading.Event, start: int) -> int:
    try:
        request = _request(address)
        if start:
            request.add_header("Range", f"bytes={start}-")
        opener = urllib.request.build_opener(_Redirections(urlsplit(request.full_url).hostname))
        with opener.open(request, timeout=_SILENCE_S) as response:
            if start and response.headers.get("Content-Range", "").partition("-")[0] != f"bytes {start}":
                start = 0
                file.seek(0)
                file.truncate()
            return _content(response, file, max_bytes, stop, start)
    except DownloadError:
        raise
    except urllib.error.HTTPError as error:
        if start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # the file there is another one
            file.seek(0)
            file.truncate()
            return _copy(address, file, max_bytes, stop, 0)
        raise DownloadError(visible(str(error.reason or error.code), 100)) from error
    except urllib.error.URLError as error:
        raise DownloadError(visible(str(error.reason), 200)) from error
    except TimeoutError as error:
        raise DownloadError(f"no answer for {_SILENCE_S} s") from error
    except MemoryError as error:
        raise DownloadError("not enough memory") from error
    except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
        raise DownloadError(f"{type(error).__name__}: {one_line(error)}") from error


def _request(address: str) -> urllib.request.Request:
    scheme, place, path, query, _ = urlsplit(address)
    user, _, place = place.rpartition("@")
    host, colon, port = place.partition(":") if not place.startswith("[") else (place, "", "")
    host = host if host.isascii() else host.encode("idna").decode()
    path, query = quote(path, safe=_KEPT), quote(query, safe=_KEPT + "?[]|")
    request = urllib.request.Request(urlunsplit((scheme.lower(), f"{host}{colon}{port}", path or "/", query, "")))
    # The default, Python-urllib, is refused by some servers.
    request.add_header("User-Agent", "srzoo (image reader)")
    if user:  # not sent on by a redirection
        token = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _content(
    response: http.client.HTTPResponse, file: IO[bytes], max_bytes: int, stop: threading.Event, start: int
) -> int:
    stated = response.headers.get("Content-Length", "")
    expected = int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 20 else None
    if expected is not None and start + expected > max_bytes:
        raise DownloadError(f"{start + expected:,} bytes, expected at most {max_bytes:,}")
    count = start
    # read1 returns what has arrived, so that the loop ends soon after the caller has stopped waiting.
    while not stop.is_set() and (part := response.read1(_CHUNK)):
        count += len(part)
        if count > max_bytes:
            raise DownloadError(f"more than {max_bytes:,} bytes, the limit")
        file.write(part)
    if expected is not None and count < start + expected and not response.chunked:
        raise DownloadError(f"the transfer ended after {count:,} of {start + expected:,} bytes")
    return count


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follows a redirection within a machine, or to one in the public network.

    A server could else make this one ask machines that only it can reach, such as a cloud's metadata service.
    """

    def __init__(self, host: str | None):
        self._host = host

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        target = urlsplit(newurl)
        if target.scheme not in ("http", "https"):
            raise DownloadError(f"it redirects to {target.scheme}:, expected http or https")
        if target.hostname != self._host and _is_inside(target.hostname):
            raise DownloadError(f"it redirects to {visible(str(target.hostname), 100)}, inside a private network")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_inside(host: str | None) -> bool:
    """Whether a host is this machine, or in its network, rather than in the web."""
    try:
        found = socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False  # a proxy may know it
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return not all(address.is_global for address in addresses)
