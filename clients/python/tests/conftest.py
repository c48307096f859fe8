"""Fixtures of all tests. Those with real processes are started once a session, on first use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from processes import Server, Simulator
from scripted import ScriptedServer

from filmgate import Client


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with Client(server.target, tenant="studio", reconnect_for=20.0) as client:
        yield client


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose Replicate is a simulator that takes 300 ms a job."""
    folder = tmp_path_factory.mktemp("real")
    simulator = Simulator(folder / "simulator", "300ms")
    server = Server(folder / "server", simulator)
    try:
        simulator.start()
        server.start()
        yield server
    finally:
        server.stop()
        simulator.stop()


@pytest.fixture
def real_client(real_server: Server) -> Iterator[Client]:
    with Client(real_server.address) as client:
        yield client


@pytest.fixture(scope="session")
def sample_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without any key."""
    server = Server(tmp_path_factory.mktemp("sample"), None)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def sample_client(sample_server: Server) -> Iterator[Client]:
    with Client(sample_server.address) as client:
        yield client
