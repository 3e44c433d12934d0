"""Downloads: with a limit of size and of time, and no redirect into a private network."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import threading
import urllib.request
from typing import IO
from urllib.parse import urlsplit, urlunsplit

from ..messages import visible

_CHUNK = 1 << 16
_READ_S = 30  # for one read


class DownloadError(OSError):
    """Raised when a download fails; the message is one line with the address, without a password in it."""


def download(address: str, file: IO[bytes], most: int, seconds: float) -> int:
    """Download a file over HTTP.

    Args:
        address: starts with ``http://`` or ``https://``. Any machine may be named here, since the user chose it.
        file: where the content is written to.
        most: number of bytes at most.
        seconds: time at most.

    Returns:
        The number of bytes.

    Raises:
        DownloadError: it cannot be reached, is larger, takes longer, or ends early; or it redirects to another machine
            in a private network, or to another protocol.
    """
    shown, stop, outcome = _without_password(address), threading.Event(), []
    if urlsplit(address).scheme not in ("http", "https"):
        raise DownloadError(f"{shown}: expected an address that starts with http:// or https://")

    def fetch() -> None:
        try:
            outcome.append(_fetch(address, shown, file, most, stop))
        except BaseException as error:  # raised in the caller's thread
            outcome.append(error)

    # A server can take its time for the name, the headers and each byte, so only another thread can keep the limit.
    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:
        stop.set()
    if not outcome:
        raise DownloadError(f"{shown}: not done within {seconds:g} s, the limit; download it another way")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _fetch(address: str, shown: str, file: IO[bytes], most: int, stop: threading.Event) -> int:
    opener = urllib.request.build_opener(_Redirects(urlsplit(address).hostname))
    count = 0
    try:
        with opener.open(address, timeout=_READ_S) as response:
            announced = response.headers.get("Content-Length", "")
            expected = int(announced) if announced.isdecimal() and len(announced) < 20 else None
            if expected is not None and expected > most:
                raise DownloadError(f"{shown}: {expected:,} bytes, the limit is {most:,}")
            # read1 returns what has arrived, so that the loop ends soon after the caller has stopped waiting.
            while not stop.is_set() and (chunk := response.read1(_CHUNK)):
                count += len(chunk)
                if count > most:
                    raise DownloadError(f"{shown}: more than {most:,} bytes, the limit")
                file.write(chunk)
    except DownloadError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: an address that is none
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"{shown}: could not be downloaded ({visible(str(reason) or repr(reason), 200)})"
        ) from error
    if expected is not None and count < expected:
        raise DownloadError(f"{shown}: the connection ended after {count:,} of {expected:,} bytes; try again")
    return count


def _without_password(address: str) -> str:
    """An address for messages: without user and password, and visible in one line."""
    try:
        parts = urlsplit(address)
        address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    except ValueError:
        pass
    return visible(address, 200)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect within a machine, or to one in the public network.

    A server could else make this one ask machines that only it can reach, such as a cloud's metadata service.
    """

    def __init__(self, host: str | None):
        self._host = host

    def redirect_request(self, request, fp, code, msg, headers, newurl):
        target = urlsplit(newurl)
        if target.scheme not in ("http", "https"):
            raise DownloadError(f"{visible(newurl, 200)}: a redirect to {target.scheme or 'nothing'}, not to HTTP")
        if target.hostname != self._host and not _is_public(target.hostname):
            raise DownloadError(f"{visible(newurl, 200)}: a redirect into a private network, which is not followed")
        return super().redirect_request(request, fp, code, msg, headers, newurl)


def _is_public(host: str | None) -> bool:
    """Whether all addresses of a host are in the public network."""
    try:
        found = socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(each[4][0].partition("%")[0]).is_global for each in found)
