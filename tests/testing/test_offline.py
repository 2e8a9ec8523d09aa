"""In an offline block connections are refused and noted; sockets between processes work."""

from __future__ import annotations

import socket
import urllib.request
from urllib.error import URLError

import pytest

from synthreal.testing.offline import offline


def test_connections_are_refused_and_noted():
    with offline() as attempts:
        with pytest.raises(URLError):
            urllib.request.urlopen("http://example.org/weights.pt", timeout=1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, pytest.raises(ConnectionRefusedError):
            udp.sendto(b"", ("192.0.2.1", 53))
        with socket.socket() as tcp, pytest.raises(ConnectionRefusedError):
            tcp.connect_ex(("127.0.0.1", 1))
    assert attempts == ["example.org:80", "192.0.2.1:53", "127.0.0.1:1"]


def test_pairs_of_sockets_work():
    with offline() as attempts:
        a, b = socket.socketpair()
        with a, b:
            a.sendall(b"x")
            assert b.recv(1) == b"x"
    assert attempts == []


def test_afterwards_connections_work():
    before = socket.socket.connect, socket.getaddrinfo
    with offline():
        assert before != (socket.socket.connect, socket.getaddrinfo)
    assert before == (socket.socket.connect, socket.getaddrinfo)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
