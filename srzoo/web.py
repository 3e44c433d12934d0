"""Files from the web, within limits of size and time."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import socket
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from .messages import one_line, printable

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


def without_password(address: str) -> str:
    """An address without the user's name and password, for messages."""
    scheme, found, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{found}{host.rpartition('@')[2]}{slash}{path}"


def fetch(address: str, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS) -> bytes:
    """The content of an address.

    Blanks and letters beyond ASCII may be in it unquoted; a user's name and password go into a header. A redirection
    from a public address into the own network is not followed.

    Args:
        address: ``http://`` or ``https://``.
        max_bytes: larger files are refused.
        max_seconds: for everything, from the look-up of the host to the last byte.

    Raises:
        DownloadError: there is no such file, it is larger, it takes longer, or the transfer broke.
    """
    outcome: list[bytes | DownloadError] = []
    deadline = time.monotonic() + max_seconds

    def work() -> None:
        try:
            outcome.append(_read(address, max_bytes, deadline))
        except DownloadError as error:
            outcome.append(error)

    # In a thread, because neither the look-up of a host nor the reading of headers has a limit for the whole of it.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(max_seconds)
    found = outcome[0] if outcome else DownloadError(f"not complete after {max_seconds:g} s, the limit")
    if isinstance(found, DownloadError):
        raise found
    return found


def _read(address: str, max_bytes: int, deadline: float) -> bytes:
    try:
        opener = urllib.request.build_opener(_Redirections)
        with opener.open(_request(address), timeout=_SILENCE_S) as response:
            return _content(response, max_bytes, deadline)
    except DownloadError:
        raise
    except urllib.error.HTTPError as error:
        raise DownloadError(printable(str(error.reason or error.code), 100)) from error
    except urllib.error.URLError as error:
        raise DownloadError(printable(str(error.reason), 200)) from error
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


def _content(response: http.client.HTTPResponse, max_bytes: int, deadline: float) -> bytes:
    stated = response.headers.get("Content-Length", "")
    expected = int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 20 else None
    if expected is not None and expected > max_bytes:
        raise DownloadError(f"{expected:,} bytes, expected at most {max_bytes:,}")
    content = bytearray()
    while part := response.read1(_CHUNK):
        content += part
        if len(content) > max_bytes:
            raise DownloadError(f"more than {max_bytes:,} bytes, the limit")
        if time.monotonic() > deadline:
            raise DownloadError("too slow")
    if expected is not None and len(content) < expected and not response.chunked:
        raise DownloadError(f"the transfer ended after {len(content):,} of {expected:,} bytes")
    return bytes(content)


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follows redirections to the web, but not from there into the own network."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        target = urlsplit(newurl)
        if target.scheme not in ("http", "https"):
            raise DownloadError(f"it redirects to {target.scheme}:, expected http or https")
        if _is_inside(target.hostname) and not _is_inside(urlsplit(req.full_url).hostname):
            raise DownloadError(f"it redirects to {printable(str(target.hostname), 100)}, inside the own network")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_inside(host: str | None) -> bool:
    """Whether a host is this machine, or in its network, rather than in the web."""
    try:
        found = socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False  # a proxy may know it
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return not all(address.is_global for address in addresses)
