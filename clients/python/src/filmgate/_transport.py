"""The channel, and the one place that decides whether a call is made again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

import grpc

from filmgate._errors import FilmgateError, TimedOut, Unavailable, from_rpc
from filmgate.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from filmgate.v1.budget_service_pb2_grpc import BudgetServiceStub
from filmgate.v1.chat_service_pb2_grpc import ChatServiceStub
from filmgate.v1.generation_service_pb2_grpc import GenerationServiceStub
from filmgate.v1.model_service_pb2_grpc import ModelServiceStub
from filmgate.v1.session_service_pb2_grpc import SessionServiceStub

T = TypeVar("T")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0

# A silent stream repeats its snapshot every 15 s and traffic postpones the ping, so a ping goes out only on a line that is probably dead.
_CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class Transport:
    """What a client and its handles share."""

    def __init__(
        self,
        target: str,
        *,
        tenant: str | None,
        credentials: grpc.ChannelCredentials | None,
        call_timeout: float,
        reconnect_for: float,
        channel_options: Sequence[tuple[str, Any]],
    ) -> None:
        options = [*_CHANNEL_OPTIONS, *channel_options]
        if credentials is None:
            self.channel = grpc.insecure_channel(target, options)
        else:
            self.channel = grpc.secure_channel(target, credentials, options)
        self.metadata = () if tenant is None else (("x-filmgate-tenant", tenant),)
        self.call_timeout = call_timeout
        self.reconnect_for = reconnect_for
        self.generations = GenerationServiceStub(self.channel)
        self.sessions = SessionServiceStub(self.channel)
        self.artifacts = ArtifactServiceStub(self.channel)
        self.models = ModelServiceStub(self.channel)
        self.budgets = BudgetServiceStub(self.channel)
        self.chats = ChatServiceStub(self.channel)

    def call(self, method: Any, request: Any) -> Any:
        """A unary call, made again while the server is unavailable."""
        return self.persist(lambda: method(request, timeout=self.call_timeout, metadata=self.metadata))

    def once(self, method: Any, request: Any, timeout: float) -> Any:
        """A unary call that costs money, so that it is not made again."""
        try:
            return method(request, timeout=timeout, metadata=self.metadata)
        except grpc.RpcError as error:
            raise from_rpc(error) from error

    def stream(self, method: Any, request: Any) -> Iterator[Any]:
        """The messages of a stream that is not opened again. Closing the iterator ends the call."""
        answers = method(request, metadata=self.metadata)
        try:
            yield from answers
        except grpc.RpcError as error:
            raise from_rpc(error) from error
        finally:
            answers.cancel()

    def persist(self, attempt: Callable[[], T]) -> T:
        """Makes the attempt until it is answered; every attempt must be safe to repeat."""
        patience = self.patience()
        while True:
            try:
                return attempt()
            except grpc.RpcError as error:
                patience.pause_or_raise(from_rpc(error))

    def patience(self) -> Patience:
        """Fresh patience for one logical call."""
        return Patience(self.reconnect_for)


class Patience:
    """How long to wait for a server that is away.

    UNAVAILABLE is the only answer that is tried again: any other one means that the server has read the request and said no.
    """

    def __init__(
        self,
        reconnect_for: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._reconnect_for = reconnect_for
        self._clock = clock
        self._sleep = sleep
        self._away_since: float | None = None
        self._pause = _FIRST_PAUSE

    def reached(self) -> None:
        """The server sent something: the next absence starts from zero."""
        self._away_since = None
        self._pause = _FIRST_PAUSE

    def pause_or_raise(self, error: FilmgateError, deadline: float | None = None) -> None:
        """Sleeps before the next try, or raises if there is to be none. `deadline` is a time of the clock, the caller's own bound."""
        if not isinstance(error, Unavailable):
            raise error
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
        # Jitter, so that the clients of a restarted server do not all come back in the same instant.
        pause = max(self._pause * random.uniform(0.5, 1.0), error.retry_after or 0.0)
        if now + pause > self._away_since + self._reconnect_for:
            raise error
        if deadline is not None and now + pause > deadline:
            _raise_timed_out(error)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self._sleep(pause)


def _raise_timed_out(error: Unavailable) -> NoReturn:
    raise TimedOut("the server did not come back in time", code=error.code, reason=error.reason) from error
