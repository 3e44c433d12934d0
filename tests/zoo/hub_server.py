"""A model hub on the loopback address, with the routes that huggingface_hub uses to read and to write models."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_right"  # the one that may write


class Hub:
    """What the hub holds, and how it misbehaves.

    Attributes:
        files: content by ``(repository, path)``; all of it is the revision "main".
        gated: repositories whose owner has to grant access.
        cut: number of answers that break off in the middle.
        corrupt: whether contents are other bytes of the same length.
        stated: size that headers state, instead of that of the file.
        requests: ``"METHOD path"`` of each request, with the range that was asked for.
        commits: for each commit, its repository and the files in it.
    """

    def __init__(self):
        self.files: dict[tuple[str, str], bytes] = {}
        self.gated: set[str] = set()
        self.private: dict[str, bool] = {}
        self.cut, self.corrupt, self.stated = 0, False, None
        self.requests: list[str] = []
        self.commits: list[tuple[str, dict[str, bytes]]] = []
        self.uploaded: dict[str, bytes] = {}
        self.address = ""

    def repositories(self) -> set[str]:
        return {repository for repository, _ in self.files} | set(self.private)


@contextmanager
def served_hub():
    """Context manager of a running `Hub`."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def use_hub(monkeypatch, address: str) -> None:
    """Point huggingface_hub at a server, which HF_ENDPOINT does before it is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its chunks are sent by Git's protocol for large files
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._get()

    def do_GET(self):
        self._get()

    def _get(self):
        self._note()
        if self._path() == "/api/whoami-v2":
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                return self._json({"type": "user", "name": "me", "auth": {"type": "access_token"}, "orgs": []})
            return self._answer(401, b'{"error": "Invalid username or password."}')
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._path())
        if match is None:
            return self._answer(404, b"")
        repository, revision, path = match.groups()
        if repository not in self.hub.repositories():
            return self._answer(401, b"", {"X-Error-Code": "RepoNotFound"})
        if repository in self.hub.gated:
            return self._answer(403, b"", {"X-Error-Code": "GatedRepo"})
        if revision != "main" and revision != _commit(repository):
            return self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        content = self.hub.files.get((repository, path))
        if content is None:
            return self._answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": _commit(repository)})
        digest = hashlib.sha256(content).hexdigest()
        size = self.hub.stated or len(content)
        facts = {"ETag": f'"{digest}"', "X-Repo-Commit": _commit(repository), "X-Linked-Size": str(size)}
        if self.hub.corrupt:
            content = bytes([content[0] ^ 1]) + content[1:]
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start:
            first = int(start[1])
            facts["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            return self._answer(206, content[first:], facts)
        return self._answer(200, content, {**facts, "X-Linked-Etag": f'"{digest}"'})

    def do_POST(self):
        self._note()
        path, body = self._path(), self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, b'{"error": "Invalid username or password."}')
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if name in self.hub.repositories():
                return self._json({"error": "You already created it", "url": f"{self.hub.address}/{name}"}, 409)
            self.hub.private[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
            return self._json({"url": f"{self.hub.address}/{name}", "name": name, "id": "1"})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            files = json.loads(body)["files"]
            modes = ("lfs" if each["path"].endswith(".safetensors") else "regular" for each in files)
            named = [{"path": e["path"], "uploadMode": mode, "shouldIgnore": False} for e, mode in zip(files, modes)]
            return self._json({"files": named, "commitOid": _commit(match[1])})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.hub.address}/lfs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            return self._commit(match[1], [json.loads(line) for line in body.splitlines()])
        return self._answer(404, b"")

    def _commit(self, repository: str, lines: list[dict]):
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploaded[value["oid"]]
        self.hub.commits.append((repository, files))
        self.hub.files.update({(repository, path): content for path, content in files.items()})
        address = f"{self.hub.address}/{repository}/commit/{_commit(repository)}"
        self._json({"success": True, "commitOid": _commit(repository), "commitUrl": address, "hookOutput": ""})

    def do_PUT(self):
        self._note()
        oid, body = self._path().removeprefix("/lfs/"), self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.uploaded[oid] = body
        self._answer(200, b"")

    def _path(self) -> str:
        return unquote(urlsplit(self.path).path)

    def _note(self):
        self.hub.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())

    def _json(self, value, status: int = 200):
        self._answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.cut and len(content) > 1000:
            self.hub.cut -= 1
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(content)


def _commit(repository: str) -> str:
    return hashlib.sha1(repository.encode()).hexdigest()
