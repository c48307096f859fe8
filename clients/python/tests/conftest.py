"""Fixtures of all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
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
