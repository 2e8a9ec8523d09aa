"""The server: no truth before the answer, no requests from other sites, one clear error for each mistake."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path
from socket import create_connection, gethostname, socket
from time import sleep

import pytest
from small_study import IMAGE, is_real, levels, run_through

from synthreal import errors
from synthreal.errors import UserError
from synthreal.turing.answers import FILE
from synthreal.turing.pictures import ImagePool

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from starlette.responses import Response

from synthreal.turing import application, server
from synthreal.turing.server import LARGEST_HEADERS, access_rules, bracket_host, listen, outward_address


def png_chunks(png):
    """The chunks of a PNG file: type and length."""
    found, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        found.append((png[place + 4 : place + 8].decode(), length))
        place += 12 + length
    return found


@pytest.mark.parametrize("against", ["refined", "simulated"])
def test_responses_differ_between_real_and_synthetic_images_in_pixels_only(make, serve, against):
    """All that a page receives until the last answer, for both kinds, with token and number of answers masked."""
    site = serve(make(images=12, against=against))
    sent = {True: set(), False: set()}
    state = site.state("Ada")
    assert set(state) == {"rater", "done", "total", "token"}
    while state["token"] is not None:
        replies = {
            "page": site.ask("GET", "/study?rater=Ada"),
            "state": site.ask("GET", "/state?rater=Ada"),
            "image": site.ask("GET", f"/image/{state['token']}"),
        }
        png = replies["image"].body
        assert [kind for kind, _ in png_chunks(png)] == ["IHDR", "IDAT", "IEND"]
        replies["answer"] = site.answer(state["token"], "real")
        for what, reply in replies.items():
            headers = {name: value for name, value in reply.headers.items() if name != "date"}
            length = headers.pop("content-length")
            body = reply.body.replace(state["token"].encode(), b"TOKEN")
            if what == "image":
                body, extra = b"", (length, *png_chunks(png))
            else:
                body, extra = re.sub(rb'"done":\d+,|"token":"[^"]+"', b"", body), ()
            if state["done"] < 23 or what != "answer":  # the last one says that there is no more
                sent[is_real(png)].add((what, reply.status, body, extra, tuple(sorted(headers.items()))))
        state = replies["answer"].json
    assert sent[True] == sent[False]
    assert len(sent[True]) == 4
    for _, _, body, _, _ in sent[True]:
        assert b"refined" not in body and b"simulated" not in body


def test_every_response_forbids_caching_and_foreign_content(make, serve):
    site = serve(make())
    token = site.state("Ada")["token"]
    for path in ("/", "/study?rater=Ada", "/state?rater=Ada", f"/image/{token}", "/page/turing.js", "/nowhere"):
        headers = site.ask("GET", path).headers
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert not {"etag", "last-modified", "content-disposition", "server"} & headers.keys()
    assert site.ask("GET", "/", Host="evil.example").headers["cache-control"] == "no-store"


def test_the_pages_load_nothing_from_elsewhere(make, serve):
    site = serve(make())
    for path in ("/", "/study?rater=Ada", "/page/turing.js", "/page/turing.css"):
        reply = site.ask("GET", path)
        assert reply.status == 200 and b"http://" not in reply.body and b"https://" not in reply.body
    types = [site.ask("GET", f"/page/turing.{kind}").headers["content-type"] for kind in ("js", "css")]
    assert [kind.partition(";")[0] for kind in types] == ["text/javascript", "text/css"]


FOREIGN_POSTS = [
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://127.0.0.1:1"}, 403),
    ({"Origin": "https://127.0.0.1:{port}"}, 403),
    ({"Origin": "http://localhost:{port}"}, 403),
    ({"Sec_Fetch_Site": "cross-site"}, 403),
    ({"Sec_Fetch_Site": "same-site"}, 403),
    ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 403),
    ({"Content_Type": "text/plain"}, 415),
    ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content_Type": ""}, 415),
    ({"Host": "evil.example"}, 400),
    ({"Host": ""}, 400),
]


def test_posts_from_other_sites_are_refused_and_not_recorded(make, serve, recorded):
    site = serve(make())
    token = site.state("Ada")["token"]
    for headers, status in FOREIGN_POSTS:
        reply = site.answer(token, "real", **{key: value.format(port=site.port) for key, value in headers.items()})
        assert reply.status == status, headers
    assert recorded() == [] and site.state("Ada")["done"] == 0


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"}])
def test_a_post_from_the_page_is_taken(make, serve, recorded, headers):
    site = serve(make())
    sent = {key: value.format(port=site.port) for key, value in headers.items()}
    reply = site.answer(site.state("Ada")["token"], "real", **sent)
    assert reply.status == 200 and reply.json["done"] == 1
    assert len(recorded()) == 1


NAME = gethostname()
HOSTS = {  # address bound: hosts served, hosts refused
    "127.0.0.1": (
        ["127.0.0.1", "127.0.0.1:8765", "localhost:8765", "[::1]:8765"],
        ["evil.example", "192.168.0.7", "127.0.0.1.evil.example", "", "[", "0.0.0.0:8765", NAME, f"{NAME}.local"],
    ),
    "192.168.0.7": (["192.168.0.7:8765", "localhost"], ["192.168.0.8", ""]),
    "fd00::7": (["[fd00::7]:8765"], ["[fd00::8]:8765"]),
    "lab.example": (["Lab.Example:8765"], ["evil.example", "www.lab.example"]),
    "0.0.0.0": (
        ["192.168.0.7:8765", "127.0.0.1", "203.0.113.254", f"{NAME}:8765", f"{NAME.upper()}.local:8765"],
        ["evil.example", "evil.local", "0.0.0.0", "[::]", ""],
    ),
    "::": (["192.168.0.7:8765", "[::1]:8765"], ["evil.example", "0.0.0.0", "[::]", ""]),
}


def status_of(bound, method="GET", **headers):
    """The status of a request to a server bound to that address; ``_`` in the names of headers stands for ``-``."""
    app, sent = Response(), []
    for rule in reversed(access_rules(bound)):
        app = rule.cls(app, **rule.kwargs)

    async def send(message):
        sent.append(message)

    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(app({"type": "http", "method": method, "headers": lines}, None, send))
    return sent[0]["status"]


@pytest.mark.parametrize("bound", HOSTS)
def test_only_requests_that_name_the_server_as_their_host_are_served(bound):
    for hosts, status in zip(HOSTS[bound], (200, 400), strict=True):
        assert {host: status_of(bound, host=host) for host in hosts} == dict.fromkeys(hosts, status)


def request(site, *lines):
    """The status of a request written by hand."""
    with create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        connection.sendall(b"\r\n".join(lines))
        return int(connection.makefile("rb").readline().split()[1])


def test_a_request_without_a_host_is_refused(make, serve):
    site = serve(make())
    for version in (b"1.0", b"1.1"):
        assert request(site, b"GET / HTTP/" + version, b"", b"") == 400
        assert request(site, b"GET / HTTP/" + version, b"Host:", b"", b"") == 400
    assert request(site, b"GET / HTTP/1.1", b"Host: 127.0.0.1", b"", b"") == 200


def test_headers_and_bodies_are_bounded(make, serve):
    site = serve(make())
    post = b"POST /answer HTTP/1.1", b"Host: 127.0.0.1", b"Content-Type: application/json"
    assert request(site, b"GET / HTTP/1.1", b"Host: 127.0.0.1", b"X: " + bytes([120]) * LARGEST_HEADERS * 2) == 400
    assert request(site, *post, b"Transfer-Encoding: chunked", b"", b"1401", b"[" * 0x1401) == 413  # and no end
    assert request(site, *post, b"Content-Length: 1000000000", b"", b"[" * 5000) == 413
    get = b"GET / HTTP/1.1", b"Host: 127.0.0.1"
    many = [b"X%d: y" % number for number in range(9000)]
    for lines in ([b"X: " + b"x" * 100_000], many, [b"X:"] * 101, [b"X:" + b"x" * 200] * 80):  # and an end
        assert request(site, *get, *lines, b"", b"") in (400, 431)
    assert request(site, b"GET /?" + b"x" * 20_000 + b" HTTP/1.1", get[1], b"", b"") in (400, 431)


def test_a_head_that_never_ends_is_closed(make, serve, monkeypatch):
    monkeypatch.setattr(server, "SLOWEST_HEAD", 0.2)
    site = serve(make())
    for start in (b"", b"GET / HTTP/1.1\r\nHost: "):
        with create_connection(("127.0.0.1", site.port), timeout=5) as connection:
            connection.sendall(start)
            assert connection.recv(1) == b""


def test_a_chunk_extension_that_never_ends_is_closed(make, serve, monkeypatch):
    monkeypatch.setattr(application, "SLOWEST_BODY", 0.2)
    site = serve(make())
    head = "{} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1;"
    for start in ("GET /", "GET /nowhere", "POST /answer", "POST /"):
        for extension, pause in ((b"a" * 1000, 0), (b"a", 0.01)):
            with create_connection(("127.0.0.1", site.port), timeout=5) as connection:
                with pytest.raises(ConnectionError):
                    connection.sendall(head.format(start).encode())
                    for _ in range(2000):
                        connection.sendall(extension)
                        sleep(pause)


@pytest.mark.parametrize("start", ["POST /answer HTTP/1.1\r\nContent-Type: application/json", "GET / HTTP/1.1"])
def test_a_body_without_end_is_not_read(make, serve, start):
    site = serve(make())
    with create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        connection.sendall(f"{start}\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        with pytest.raises(ConnectionError):
            for _ in range(20_000):
                connection.sendall(b"100\r\n" + b"x" * 256 + b"\r\n")


def test_a_slow_body_is_an_error(make, serve, monkeypatch, capfd):
    monkeypatch.setattr(application, "SLOWEST_BODY", 0.1)
    site = serve(make())
    post = b"POST /answer HTTP/1.1", b"Host: 127.0.0.1", b"Content-Type: application/json", b"Content-Length: 9"
    assert request(site, *post, b"", b"{") == 408
    monkeypatch.setattr(application, "SLOWEST_BODY", 10)
    with create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        connection.sendall(b"\r\n".join((*post, b"", b"{")))
    assert site.ask("GET", "/").status == 200
    assert capfd.readouterr().err == ""  # a client that goes away in the middle is no error of the server


@pytest.mark.parametrize(
    ("where", "mode", "allowed"),
    [
        ("cross-site", "no-cors", False),
        ("cross-site", "cors", False),
        ("same-site", "no-cors", False),  # another port of this machine
        ("cross-site", "navigate", True),
        ("none", "navigate", True),
        ("same-origin", "cors", True),
    ],
)
def test_another_site_can_link_to_a_page_and_request_nothing_else(where, mode, allowed):
    sent = {"host": "127.0.0.1:8765", "sec_fetch_site": where, "sec_fetch_mode": mode}
    for method in ("GET", "HEAD"):
        assert status_of("127.0.0.1", method, **sent) == (200 if allowed else 403)


def test_without_a_network_the_machine_is_named(monkeypatch):
    def unreachable(self, address):
        raise OSError(101, "Network is unreachable")

    assert bracket_host("fd00::7") == "[fd00::7]" and bracket_host("lab.example") == "lab.example"
    monkeypatch.setattr(socket, "connect", unreachable)
    assert outward_address() == gethostname()


def test_a_body_that_is_no_answer_is_an_error(make, serve, recorded):
    site = serve(make())
    token = site.state("Ada")["token"].encode()
    for body, status in (
        (b"", 400),
        (b"not json", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"{}", 400),
        (b'{"token": 3, "answer": "real"}', 400),
        (b'{"token": "' + token + b'", "answer": "refined"}', 400),
        (b'{"token": "' + token + b'", "answer": ["real"]}', 400),
        (b'{"token": "nonsense", "answer": "real"}', 404),
        (b'{"token": "' + b"x" * 5000 + b'", "answer": "real"}', 413),
        (b"[" * 4000, 400),
    ):
        reply = site.ask("POST", "/answer", body, Content_Type="application/json")
        assert reply.status == status and set(reply.json) == {"error"}, body[:50]
    assert recorded() == []


def test_other_paths_and_methods_do_not_exist(make, serve):
    site = serve(make())
    for path in ("/image/nonsense", "/page/study.html.j2", "/page/..%2Fserver.py", "/turing.jsonl", "/page/"):
        assert site.ask("GET", path).status == 404
    assert site.ask("GET", "/answer").status == 405
    assert site.ask("POST", "/state?rater=Ada", b"{}", Content_Type="application/json").status == 405


def test_an_invalid_name_is_an_error_on_the_page(make, serve):
    site = serve(make())
    for name in ("", "%20", "x" * 41, "%00", "a%0Ab%E2%80%8B"):
        for path in ("/", "/study", "/result"):
            page = site.ask("GET", f"{path}?rater={name}")
            assert page.status == 400 and b"1 to 40 printable characters" in page.body and b"<form" in page.body
        assert site.ask("GET", f"/state?rater={name}").status == 400


def test_a_name_that_has_answers_is_offered_to_continue(make, serve, recorded):
    study = make()
    site = serve(study)
    first = site.ask("GET", "/?rater=Ada%20L")
    assert first.status == 303 and first.headers["location"] == "/study?rater=Ada+L"
    site.answer(site.state("Ada L")["token"], "real")
    again = site.ask("GET", "/?rater=%20Ada%20%20L")
    assert again.status == 200 and b"<strong>Ada L</strong> has judged 1 of 6" in again.body
    assert b'href="/study?rater=Ada%20L">Continue<' in again.body and b"<form" in again.body
    assert site.ask("GET", "/?rater=Bob").status == 303
    run_through(study, "Ada L", 3)
    done = site.ask("GET", "/?rater=Ada%20L").body
    assert b"has judged all 6 images" in done and b">See the result<" in done
    assert serve(make()).ask("GET", "/?rater=Ada%20L").status == 200  # a restarted server knows the name too


def test_names_are_escaped_on_every_page(make, serve):
    study = make()
    name = "<script>alert(1)</script>\"'&"
    site = serve(study)
    quoted = "%3Cscript%3Ealert(1)%3C/script%3E%22%27%26"
    pages = [site.ask("GET", f"/study?rater={quoted}")]
    run_through(study, name, 3)
    pages += [site.ask("GET", f"/result?rater={quoted}"), site.ask("GET", f"/study?rater={quoted}{'x' * 40}")]
    pages += [site.ask("GET", f"/?rater={quoted}")]
    for page, status in zip(pages, (200, 200, 400, 200), strict=True):
        assert page.status == status and b"&lt;script&gt;" in page.body and b"<script>alert" not in page.body


def test_the_result_is_shown_after_the_last_answer_and_not_before(make, serve):
    study = make()
    site = serve(study)
    assert site.ask("GET", "/result?rater=Ada").headers["location"] == "/study?rater=Ada"
    run_through(study, "Ada", 5)
    assert site.state("Ada") == {"rater": "Ada", "done": 6, "total": 6, "token": None}
    assert site.ask("GET", "/study?rater=Ada").headers["location"] == "/result?rater=Ada"
    page = site.ask("GET", "/result?rater=Ada").body.decode()
    assert "5 of 6" in page and "83.3 %" in page and "0.109" in page
    assert "truly refined" in page and "chosen synthetic" in page


@pytest.mark.slow
def test_scipy_is_imported_when_the_server_starts():
    """Its import takes seconds, in which the server would answer nobody."""
    code = (
        "import sys, tempfile, pathlib; sys.path.insert(0, sys.argv[1]); from small_study import small_study\n"
        "from synthreal.turing.server import server_of; before = 'scipy.stats' in sys.modules\n"
        "server_of(small_study(pathlib.Path(tempfile.mkdtemp())), host='127.0.0.1')\n"
        "print(before, 'scipy.stats' in sys.modules)"
    )
    here = str(Path(__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"


def test_an_answer_that_cannot_be_written_is_an_error_and_not_counted(make, serve, tmp_path):
    site = serve(make())
    token = site.state("Ada")["token"]
    (tmp_path / FILE).mkdir()
    for reply in (site.ask("GET", "/state?rater=Ada"), site.answer(token, "real")):
        assert reply.status == 500 and "turing.jsonl: cannot" in reply.json["error"]
    for path in ("/study", "/result"):
        page = site.ask("GET", f"{path}?rater=Ada%20%22%3E")
        assert page.status == 500 and page.headers["content-type"].startswith("text/html")
        assert b"turing.jsonl: cannot read" in page.body and b'{"error"' not in page.body
        assert f'href="{path}?rater=Ada%20%22%3E"'.encode() in page.body
    (tmp_path / FILE).rmdir()
    assert site.answer(token, "real").json["done"] == 1


def test_a_port_in_use_is_one_line(toy_run, cli):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        line = cli("turing", toy_run, "--port", port).complaint()
        assert f"port {port} (Address already in use)" in line and "--port" in line
    assert not (toy_run / FILE).exists()
    with pytest.raises(UserError, match="--host nowhere"):
        listen("nowhere.invalid", 0)


class Ended:
    """A server that ends at once."""

    def run(self, sockets):
        assert all(socket.getsockname()[1] for socket in sockets)


@pytest.mark.parametrize(
    ("host", "url", "notice"),
    [("127.0.0.1", "127.0.0.1", False), ("localhost", "localhost", False), ("0.0.0.0", "192.168.0.7", True)],
)
def test_binding_a_reachable_address_prints_a_notice(toy_run, tmp_path, cli, monkeypatch, host, url, notice):
    from synthreal.turing import server

    shutil.copytree(toy_run, tmp_path / "run")
    monkeypatch.setattr(server, "server_of", lambda study, host: Ended())
    monkeypatch.setattr(server, "outward_address", lambda: "192.168.0.7")
    done = cli("turing", tmp_path / "run", "--port", 0, "--images", 2, "--against", "simulated", "--host", host).ok()
    first, last = done.out.splitlines()
    assert re.match(rf"open http://{re.escape(url)}:\d+/ in a browser", first)
    assert last == f"no answers; in {tmp_path / 'run' / FILE}"
    assert done.err.startswith("notice: other machines can reach this server") == notice and notice == bool(done.err)


def test_the_command_passes_its_seed(tmp_path, cli, monkeypatch):
    from synthreal.turing import pictures, server

    seeds, pool = [], ImagePool(levels(0), levels(100), IMAGE)
    monkeypatch.setattr(pictures, "choose_images", lambda run, seed, **options: seeds.append(seed) or pool)
    monkeypatch.setattr(server, "server_of", lambda study, host: seeds.append(study.seed) or Ended())
    cli("turing", tmp_path, "--port", 0, "--seed", 7).ok()
    assert seeds == [7, 7]


def test_an_unwritable_folder_is_one_line_before_the_first_answer(toy_run, tmp_path, cli):
    shutil.copytree(toy_run, tmp_path / "run")
    (tmp_path / "run" / FILE).mkdir()
    line = cli("turing", tmp_path / "run", "--port", 0, "--images", 2, "--against", "simulated").complaint()
    assert "turing.jsonl: cannot write (Is a directory)" in line


def test_without_the_extra_it_says_what_to_install(toy_run, cli, monkeypatch):
    find = errors.find_spec
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    line = cli("turing", toy_run).complaint()
    assert "needs uvicorn; pip install 'synthreal[web]'" in line  # and not the libraries that are there


@pytest.mark.slow
def test_the_command_serves_a_run_until_ctrl_c(toy_run, tmp_path, cli):
    """The real command in a process of its own: a rater answers everything over HTTP, then Ctrl-C."""
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.toml", "refiner.safetensors"):
        (run / name).write_bytes((toy_run / name).read_bytes())
    command = [sys.executable, "-m", "synthreal", "turing", str(run), "--trust", "--port", "0", "--images", "2"]
    serving = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = re.match(r"open (http://127\.0\.0\.1:\d+/) in a browser", serving.stdout.readline())[1]
        with urllib.request.urlopen(f"{url}state?rater=Ada", timeout=10) as reply:
            state = json.load(reply)
        while state["token"]:
            body = json.dumps({"token": state["token"], "answer": "real"}).encode()
            sent = urllib.request.Request(f"{url}answer", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(sent, timeout=10) as reply:
                state = json.load(reply)
        serving.send_signal(signal.SIGINT)
        out, err = serving.communicate(timeout=20)
    finally:
        serving.kill()
        serving.wait()
    assert serving.returncode == 0, err
    assert out == f"2 of 4 answers correct against refined images (50.0 %, p 0.688); in {run / FILE}\n"
    assert err == "refining 40 images\n"
    result = json.loads(cli("turing", run, "--summary", "--json").ok().out)
    assert result["total"]["refined"]["confusion"] == {
        "real": {"real": 2, "synthetic": 0},
        "refined": {"real": 2, "synthetic": 0},
    }
