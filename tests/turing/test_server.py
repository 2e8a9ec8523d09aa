"""Over HTTP: no word of the truth before the answer, nothing from other sites, one line for every mistake."""

from __future__ import annotations

import json
import re
import shutil
import signal
import struct
import subprocess
import sys
import urllib.request
from ipaddress import ip_address
from pathlib import Path
from socket import gethostname, socket
from urllib.parse import urlsplit

import pytest
from booth import is_real, run_through

from synthreal.errors import UserError
from synthreal.turing.answers import FILE

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from starlette.datastructures import Headers

from synthreal.turing.gate import Gate, url_of
from synthreal.turing.server import _reached, listen


def chunks(png):
    """The chunks of a PNG file: type and length."""
    found, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        found.append((png[place + 4 : place + 8].decode(), length))
        place += 12 + length
    return found


@pytest.mark.parametrize("against", ["refined", "simulated"])
def test_nothing_but_the_picture_differs_between_real_and_synthetic_images(make, serve, against):
    """All that a page is sent until the last answer, for both kinds, with token and number of answers masked."""
    site = serve(make(images=12, against=against))
    sent = {True: set(), False: set()}
    state = site.state("Ada")
    while state["token"] is not None:
        replies = {
            "page": site.ask("GET", "/study?rater=Ada"),
            "state": site.ask("GET", "/state?rater=Ada"),
            "image": site.ask("GET", f"/image/{state['token']}"),
        }
        png = replies["image"].body
        assert [kind for kind, _ in chunks(png)] == ["IHDR", "IDAT", "IEND"]
        replies["answer"] = site.answer(state["token"], "real")
        for what, reply in replies.items():
            headers = {name: value for name, value in reply.headers.items() if name != "date"}
            length = headers.pop("content-length")
            body = reply.body.replace(state["token"].encode(), b"TOKEN")
            if what == "image":
                body, extra = b"", (length, *chunks(png))
            else:
                body, extra = re.sub(rb'"done":\d+,|"token":"[^"]+"', b"", body), ()
            if state["done"] < 23 or what != "answer":  # the last one says that there is no more
                sent[is_real(png)].add((what, reply.status, body, extra, tuple(sorted(headers.items()))))
        state = replies["answer"].json
    assert sent[True] == sent[False]
    assert len(sent[True]) == 4
    for _, _, body, _, _ in sent[True]:
        assert b"refined" not in body and b"simulated" not in body


def test_a_state_holds_four_things_and_none_is_the_truth(make, serve):
    state = serve(make()).state("Ada")
    assert set(state) == {"rater", "done", "total", "token"}
    assert (state["rater"], state["done"], state["total"]) == ("Ada", 0, 6)


def test_every_response_forbids_keeping_it_and_foreign_content(make, serve):
    site = serve(make())
    token = site.state("Ada")["token"]
    for path in ("/", "/study?rater=Ada", "/state?rater=Ada", f"/image/{token}", "/page/turing.js", "/nowhere"):
        headers = site.ask("GET", path).headers
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert not {"etag", "last-modified", "content-disposition", "server"} & headers.keys()


def test_the_pages_load_nothing_from_elsewhere(make, serve):
    site = serve(make())
    for path in ("/", "/study?rater=Ada", "/page/turing.js", "/page/turing.css"):
        reply = site.ask("GET", path)
        assert reply.status == 200 and b"http://" not in reply.body and b"https://" not in reply.body
    types = [site.ask("GET", f"/page/turing.{kind}").headers["content-type"] for kind in ("js", "css")]
    assert [kind.partition(";")[0] for kind in types] == ["text/javascript", "text/css"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://127.0.0.1:{port}"}, 403),
        ({"Origin": "http://localhost:{port}"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": ""}, 415),
        ({"Host": "evil.example"}, 403),
    ],
)
def test_a_post_from_another_site_is_refused_and_recorded_nowhere(make, serve, recorded, headers, status):
    site = serve(make())
    token = site.state("Ada")["token"]
    reply = site.answer(token, "real", **{key: value.format(port=site.port) for key, value in headers.items()})
    assert reply.status == status and set(reply.json) == {"error"}
    assert recorded() == [] and site.state("Ada")["done"] == 0


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"}])
def test_a_post_from_the_page_is_taken(make, serve, recorded, headers):
    site = serve(make())
    sent = {key: value.format(port=site.port) for key, value in headers.items()}
    reply = site.answer(site.state("Ada")["token"], "real", **sent)
    assert reply.status == 200 and reply.json["done"] == 1
    assert len(recorded()) == 1


@pytest.mark.parametrize(
    ("bound", "host", "open_"),
    [
        *(("127.0.0.1", host, True) for host in ("127.0.0.1", "127.0.0.1:8765", "localhost:8765", "[::1]:8765")),
        *(("127.0.0.1", host, False) for host in ("evil.example", "192.168.0.7", "127.0.0.1.evil.example", "", "[")),
        *(("127.0.0.1", host, False) for host in ("0.0.0.0:8765", "127.0.0.1@evil.example", "LOCALHOST.evil.example")),
        *(("192.168.0.7", host, True) for host in ("192.168.0.7:8765", "localhost")),
        ("192.168.0.7", "192.168.0.8", False),
        ("lab.example", "Lab.Example:8765", True),
        *(("0.0.0.0", host, True) for host in ("192.168.0.7:8765", "127.0.0.1", "[fe80::1]:8765")),
        *(("0.0.0.0", f"{name}:8765", True) for name in (gethostname(), f"{gethostname().upper()}.local")),
        *(("127.0.0.1", name, False) for name in (gethostname(), f"{gethostname()}.local")),
        *(
            (wild, host, False)
            for wild in ("0.0.0.0", "::")
            for host in ("evil.example", "evil.local", "0.0.0.0", "[::]")
        ),
    ],
)
def test_only_requests_to_this_server_by_its_address_get_in(bound, host, open_):
    gate = Gate(None, host=bound)
    assert (gate.refusal("GET", Headers({"host": host})) is None) == open_


@pytest.mark.parametrize(
    ("where", "mode", "open_"),
    [
        *(("cross-site", mode, False) for mode in ("no-cors", "cors", "websocket")),
        ("same-site", "no-cors", False),  # another port of this machine
        *((where, "navigate", True) for where in ("cross-site", "none", "same-origin")),
        *(("same-origin", mode, True) for mode in ("cors", "no-cors")),
    ],
)
def test_another_site_can_link_to_a_page_and_ask_for_nothing_else(where, mode, open_):
    sent = {"host": "127.0.0.1:8765", "sec-fetch-site": where, "sec-fetch-mode": mode}
    gate = Gate(None, host="127.0.0.1")
    assert all((gate.refusal(method, Headers(sent)) is None) == open_ for method in ("GET", "HEAD"))


def test_a_wrong_host_gets_no_page(make, serve):
    site = serve(make())
    for path in ("/", "/state?rater=Ada", f"/image/{site.state('Ada')['token']}"):
        reply = site.ask("GET", path, Host="evil.example")
        assert reply.status == 403
        assert reply.json == {"error": f"this is not the address of this server; open http://127.0.0.1:{site.port}/"}
    page = site.ask("GET", "/", Host="evil.example", Accept="text/html,*/*")
    assert page.status == 403 and page.headers["content-type"].startswith("text/html")
    assert f'<a href="http://127.0.0.1:{site.port}/">'.encode() in page.body


def test_a_server_at_every_address_tells_the_one_that_was_asked_and_takes_it(make, serve):
    site = serve(make(), host="0.0.0.0")
    told = site.ask("GET", "/state?rater=Ada", Host="evil.example").json["error"]
    assert told.endswith(f"; open http://127.0.0.1:{site.port}/")
    assert site.ask("GET", "/", Host=urlsplit(told.rpartition(" ")[2]).netloc).status == 200


def test_another_site_learns_no_address(make, serve):
    reply = serve(make()).ask("GET", "/state?rater=Ada", Sec_Fetch_Site="cross-site")
    assert reply.status == 403 and reply.json == {"error": "this request comes from another site"}


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("192.168.0.7", "http://192.168.0.7:80/"),
        ("fd00::7", "http://[fd00::7]:80/"),
        ("::ffff:192.168.0.7", "http://192.168.0.7:80/"),  # how a socket of version 6 names one of version 4
        ("lab.example", "http://lab.example:80/"),
    ],
)
def test_an_address_as_a_browser_takes_it(name, url):
    assert url_of(name, 80) == url


def test_without_a_way_to_anywhere_the_machine_is_named(monkeypatch):
    def unreachable(self, address):
        raise OSError(101, "Network is unreachable")

    for host in ("0.0.0.0", "::"):
        try:
            listener = listen(host, 0)
        except UserError:
            continue  # a machine without IPv6
        with listener:
            found = _reached(listener)
            assert found == gethostname() or not ip_address(found).is_unspecified
            with monkeypatch.context() as patch:
                patch.setattr(socket, "connect", unreachable)
                assert _reached(listener) == gethostname()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"not json", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"{}", 400),
        (b'{"token": 3, "answer": "real"}', 400),
        (b'{"token": "TOKEN", "answer": "refined"}', 400),
        (b'{"token": "TOKEN", "answer": ["real"]}', 400),
        (b'{"token": "nonsense", "answer": "real"}', 404),
        (b'{"token": "' + b"x" * 5000 + b'", "answer": "real"}', 413),
        (b"[" * 4000, 400),
    ],
)
def test_a_body_that_is_no_answer_is_told_so(make, serve, recorded, body, status):
    site = serve(make())
    sent = body.replace(b"TOKEN", site.state("Ada")["token"].encode())
    reply = site.ask("POST", "/answer", sent, Content_Type="application/json")
    assert reply.status == status and set(reply.json) == {"error"}
    assert recorded() == []


def test_what_does_not_exist_is_not_found(make, serve):
    site = serve(make())
    for path in ("/image/nonsense", "/page/study.html.j2", "/page/..%2Fserver.py", "/turing.jsonl", "/page/"):
        assert site.ask("GET", path).status == 404
    assert site.ask("GET", "/answer").status == 405
    assert site.ask("POST", "/state?rater=Ada", b"{}", Content_Type="application/json").status == 405


@pytest.mark.parametrize("name", ["", "%20", "x" * 41, "%00", "a%0Ab%E2%80%8B"])
def test_a_bad_name_is_told_on_the_page(make, serve, name):
    site = serve(make())
    page = site.ask("GET", f"/study?rater={name}")
    assert page.status == 400 and b"1 to 40 printable characters" in page.body and b"<form" in page.body
    assert site.ask("GET", f"/state?rater={name}").status == 400
    assert site.ask("GET", f"/result?rater={name}").status == 303


def test_a_name_somebody_goes_by_is_told_and_not_taken_without_a_word(make, serve, recorded):
    study = make()
    site = serve(study)
    first = site.ask("GET", "/?rater=Ada%20L")
    assert first.status == 303 and first.headers["location"] == "/study?rater=Ada+L"
    site.answer(site.state("Ada L")["token"], "real")
    again = site.ask("GET", "/?rater=%20Ada%20%20L")
    assert again.status == 200 and b"<strong>Ada L</strong> has answered 1 of 6: go on, or take" in again.body
    assert b'href="/study?rater=Ada%20L">Go on<' in again.body and b"<form" in again.body
    assert site.ask("GET", "/?rater=Bob").status == 303
    run_through(study, "Ada L", 3)
    done = site.ask("GET", "/?rater=Ada%20L").body
    assert b"has answered all 6: see the result" in done and b">See the result<" in done
    page = site.ask("GET", "/?rater=%00")
    assert page.status == 400 and b"1 to 40 printable characters" in page.body
    assert serve(make()).ask("GET", "/?rater=Ada%20L").status == 200  # and when the server was started again


def test_a_name_is_text_on_every_page(make, serve):
    study = make()
    name = "<script>alert(1)</script>\"'&"
    site = serve(study)
    asked = "%3Cscript%3Ealert(1)%3C/script%3E%22%27%26"
    pages = [site.ask("GET", f"/study?rater={asked}")]
    run_through(study, name, 3)
    pages += [site.ask("GET", f"/result?rater={asked}"), site.ask("GET", f"/study?rater={asked}{'x' * 40}")]
    pages += [site.ask("GET", f"/?rater={asked}")]
    for page, status in zip(pages, (200, 200, 400, 200), strict=True):
        assert page.status == status and b"&lt;script&gt;" in page.body and b"<script>alert" not in page.body


def test_the_result_comes_after_the_last_answer_and_no_earlier(make, serve):
    study = make()
    site = serve(study)
    assert site.ask("GET", "/result?rater=Ada").headers["location"] == "/study?rater=Ada"
    run_through(study, "Ada", 5)
    assert site.state("Ada") == {"rater": "Ada", "done": 6, "total": 6, "token": None}
    assert site.ask("GET", "/study?rater=Ada").headers["location"] == "/result?rater=Ada"
    page = site.ask("GET", "/result?rater=Ada").body.decode()
    assert "5 of 6" in page and "83.3 %" in page and "0.109" in page
    assert "truly refined" in page and "chosen synthetic" in page


def test_scipy_is_imported_before_anybody_waits_for_it():
    """Its import takes seconds, in which the server would answer nobody."""
    code = (
        "import sys, tempfile, pathlib; sys.path.insert(0, sys.argv[1]); from booth import small_study\n"
        "from synthreal.turing.server import server_of; before = 'scipy.stats' in sys.modules\n"
        "server_of(small_study(pathlib.Path(tempfile.mkdtemp())), host='127.0.0.1')\n"
        "print(before, 'scipy.stats' in sys.modules)"
    )
    here = str(Path(__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"


def test_an_answer_that_cannot_be_written_is_told_and_not_counted(make, serve, tmp_path):
    site = serve(make())
    token = site.state("Ada")["token"]
    (tmp_path / FILE).mkdir()
    reply = site.ask("GET", "/state?rater=Ada")
    assert reply.status == 500 and "turing.jsonl: cannot read" in reply.json["error"]
    reply = site.answer(token, "real")
    assert reply.status == 500 and "turing.jsonl: cannot" in reply.json["error"]
    (tmp_path / FILE).rmdir()
    assert site.answer(token, "real").json["done"] == 1


@pytest.mark.parametrize("path", ["/study", "/result"])
def test_a_person_who_asks_for_a_page_gets_one_when_answers_cannot_be_read(make, serve, tmp_path, path):
    site = serve(make())
    (tmp_path / FILE).mkdir()
    page = site.ask("GET", f"{path}?rater=Ada%20%22%3E")
    assert page.status == 500 and page.headers["content-type"].startswith("text/html")
    assert b"turing.jsonl: cannot read" in page.body and b'{"error"' not in page.body
    assert f'href="{path}?rater=Ada%20%22%3E"'.encode() in page.body
    (tmp_path / FILE).rmdir()
    assert site.ask("GET", f"{path}?rater=Ada").status in (200, 303)


def test_a_port_that_is_taken_is_one_line(toy_run, cli):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} \(Address already in use\).*choose another --port"):
            listen("127.0.0.1", port)
        line = cli("turing", toy_run, "--port", port).complaint()
        assert f"port {port} (Address already in use)" in line and "--port" in line
    assert not (toy_run / FILE).exists()


class Never:
    """A server that ends at once."""

    def run(self, sockets):
        assert all(socket.getsockname()[1] for socket in sockets)


@pytest.mark.parametrize(
    ("host", "url", "notice"),
    [("127.0.0.1", "127.0.0.1", False), ("localhost", "localhost", False), ("0.0.0.0", "192.168.0.7", True)],
)
def test_another_host_is_bound_when_told_and_with_a_notice(toy_run, tmp_path, cli, monkeypatch, host, url, notice):
    from synthreal.turing import server

    shutil.copytree(toy_run, tmp_path / "run")
    monkeypatch.setattr(server, "server_of", lambda study, host: Never())
    monkeypatch.setattr(server, "_reached", lambda listener: "192.168.0.7")
    done = cli("turing", tmp_path / "run", "--port", 0, "--images", 2, "--against", "simulated", "--host", host).ok()
    first, last = done.out.splitlines()
    assert re.fullmatch(rf"open http://{re.escape(url)}:\d+/ in a browser; Ctrl-C ends", first)
    assert last == f"no answers; in {tmp_path / 'run' / FILE}"
    assert done.err.startswith("notice: other machines can reach this server") == notice and notice == bool(done.err)


def test_a_folder_that_cannot_be_written_to_is_one_line_before_anybody_answers(toy_run, tmp_path, cli):
    shutil.copytree(toy_run, tmp_path / "run")
    (tmp_path / "run" / FILE).mkdir()
    line = cli("turing", tmp_path / "run", "--port", 0, "--images", 2, "--against", "simulated").complaint()
    assert "turing.jsonl: cannot write (Is a directory)" in line


def test_without_the_extra_it_says_what_to_install(toy_run, cli, monkeypatch):
    from importlib import util

    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    line = cli("turing", toy_run).complaint()
    assert line == ("synthreal: the visual Turing test needs starlette and uvicorn; pip install 'synthreal[web]'")


def test_the_command_serves_a_run_until_ctrl_c(toy_run, tmp_path, cli):
    """The real command in a process of its own: a rater answers everything over HTTP, then Ctrl-C."""
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.toml", "refiner.safetensors"):
        (run / name).write_bytes((toy_run / name).read_bytes())
    command = [sys.executable, "-m", "synthreal", "turing", str(run), "--port", "0", "--images", "2"]
    serving = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = re.fullmatch(r"open (http://127\.0\.0\.1:\d+/) in a browser; Ctrl-C ends\n", serving.stdout.readline())[1]
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
    assert out == f"2 of 4 answers right against refined images (50.0 %, p 0.688); in {run / FILE}\n"
    assert err == "refining 40 images\n"
    result = json.loads(cli("turing", run, "--summary", "--json").ok().out)
    assert result["total"]["refined"]["confusion"] == {
        "real": {"real": 2, "synthetic": 0},
        "refined": {"real": 2, "synthetic": 0},
    }
