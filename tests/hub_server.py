"""A hub on 127.0.0.1 that answers the real client of ``huggingface_hub``; repositories are dictionaries."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

import yaml

LICENCES = ("unknown", "mit", "cc-by-4.0")  # of the hub's list


class Repository:
    """Commits by hash, each a dictionary of files, and branches by name."""

    def __init__(self, *, private: bool = False, gated: bool = False) -> None:
        self.private, self.gated = private, gated
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}
        self.commit("main", {})

    def commit(self, branch: str, files: dict[str, bytes | None], message: str = "") -> str:
        """Add or replace files; None deletes one."""
        content = {path: data for path, data in {**self.files(branch), **files}.items() if data is not None}
        oid = sha1(repr((len(self.commits), sorted(content))).encode()).hexdigest()
        self.commits[oid], self.branches[branch], self.message = content, oid, message
        return oid

    def files(self, revision: str) -> dict[str, bytes]:
        return self.commits.get(self.branches.get(revision, revision), {})


class Hub:
    """The repositories of a hub, its address, and the files that were asked for."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.repositories: dict[str, Repository] = {}
        self.read_only = False
        self.requests: list[str] = []
        self.downloaded: list[str] = []


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve an empty hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = server.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self.answer(b"")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def answer(self, body: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        hub = self.server.hub
        hub.requests.append(f"{self.command} {path}")
        if self.command == "POST" and hub.read_only:
            return self.send(403, {"error": "no"})
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return self.validate(json.loads(body)["content"])
        words = path.removeprefix("/api/models").strip("/").split("/")
        name, (kind, *rest) = "/".join(words[:2]), words[2:] or [""]
        if (found := hub.repositories.get(name)) is None:
            return self.send(404, {}, {"X-Error-Code": "RepoNotFound"})
        if found.gated:
            return self.send(403, {}, {"X-Error-Code": "GatedRepo"})
        revision = rest[0] if rest else "main"
        if self.command != "POST" and revision not in {*found.branches, *found.commits}:
            return self.send(404, {}, {"X-Error-Code": "RevisionNotFound"})
        oid = found.branches.get(revision, revision)
        if kind == "branch":
            found.branches.setdefault(revision, found.branches["main"])
            return self.send(200, {})
        if kind == "preupload":
            paths = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
            return self.send(200, {"files": modes})
        if kind == "commit":
            header, *files = (json.loads(line) for line in body.splitlines())
            content = {
                line["value"]["path"]: None if line["key"] == "deletedFile" else b64decode(line["value"]["content"])
                for line in files
            }
            oid = found.commit(revision, content, header["value"]["summary"])
            return self.send(200, {"commitUrl": f"{hub.endpoint}/{name}/commit/{oid}", "commitOid": oid})
        if kind == "tree":
            entries = [
                {"type": "file", "path": path, "size": len(content), "oid": sha1(content).hexdigest()}
                for path, content in found.files(revision).items()
            ]
            return self.send(200, entries)
        if kind == "resolve":
            if self.command == "GET":
                hub.downloaded.append(rest[1])
            content = found.files(revision)[rest[1]]
            return self.send(200, content, {"X-Repo-Commit": oid, "ETag": f'"{sha1(content).hexdigest()}"'})
        siblings = [{"rfilename": path} for path in found.files(revision)]
        return self.send(200, {"id": name, "sha": oid, "private": found.private, "siblings": siblings})

    def create(self, asked: dict) -> None:
        name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
        there = name in self.server.hub.repositories
        private = asked.get("private") or asked.get("visibility") == "private"
        self.server.hub.repositories.setdefault(name, Repository(private=private))
        self.send(409 if there else 200, {"url": f"{self.server.hub.endpoint}/{name}"})

    def validate(self, card: str) -> None:
        licence = yaml.safe_load(card.split("---\n")[1])["license"]
        errors = [] if licence in LICENCES else [{"message": f'"license" must be one of [{", ".join(LICENCES)}]'}]
        self.send(400 if errors else 200, {"errors": errors, "warnings": []})

    def send(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
