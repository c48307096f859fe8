"""A gRPC server that answers each call with the next line of a script, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2, message_factory
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from filmgate.v1 import (
    artifact_service_pb2,
    budget_service_pb2,
    generation_service_pb2,
    model_service_pb2,
    session_service_pb2,
)

SERVICES = [
    service
    for module in (
        artifact_service_pb2,
        budget_service_pb2,
        generation_service_pb2,
        model_service_pb2,
        session_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
]


@dataclass
class Refusal:
    """Ends a call with an error, in the server's own form."""

    code: grpc.StatusCode
    message: str = "no"
    reason: str = ""
    details: list[Any] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)

    def abort(self, context: grpc.ServicerContext) -> None:
        details = list(self.details)
        if self.reason:
            details.insert(0, error_details_pb2.ErrorInfo(reason=self.reason, domain="filmgate", metadata=self.metadata))
        packed = []
        for detail in details:
            packed.append(any_pb2.Any())
            packed[-1].Pack(detail)
        status = status_pb2.Status(code=self.code.value[0], message=self.message, details=packed)
        context.abort_with_status(rpc_status.to_status(status))


class Silence:
    """Says nothing until the client hangs up or its deadline passes."""


def draining(seconds: float = 0.001) -> Refusal:
    """What a server says that is shutting down."""
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    retry = error_details_pb2.RetryInfo(retry_delay=delay)
    return Refusal(grpc.StatusCode.UNAVAILABLE, "the server is shutting down", "SERVER_DRAINING", [retry])


@dataclass
class Asked:
    """One call as it arrived. Of a client stream, `request` is the list of messages."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]


class ScriptedServer:
    """Use as a context manager; `on` adds answers, each a list of messages that may end in a Refusal or a Silence."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._script: dict[str, deque[list[Any]]] = defaultdict(deque)
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        self._server.add_generic_rpc_handlers([self._service(service) for service in SERVICES])
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> ScriptedServer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()

    def on(self, method: str, *answers: Any) -> None:
        """Answers the next calls of the method in turn; an answer that is not a list is a list of one."""
        self._script[method].extend(answer if isinstance(answer, list) else [answer] for answer in answers)

    def requests(self, method: str) -> list[Any]:
        """What the method was asked, in order."""
        return [asked.request for asked in self.asked if asked.method == method]

    def _service(self, service: Any) -> grpc.GenericRpcHandler:
        methods = {method.name: self._method(method) for method in service.methods}
        return grpc.method_handlers_generic_handler(service.full_name, methods)

    def _method(self, method: Any) -> Any:
        def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            request = list(request) if method.client_streaming else request
            self.asked.append(Asked(method.name, request, dict(context.invocation_metadata())))
            if not self._script[method.name]:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the script has no answer left for {method.name}")
            for item in self._script[method.name].popleft():
                if isinstance(item, Refusal):
                    item.abort(context)
                elif isinstance(item, Silence):
                    gone = threading.Event()
                    if context.add_callback(gone.set):
                        gone.wait(30)
                else:
                    yield item

        def answer_once(request: Any, context: grpc.ServicerContext) -> Any:
            return next(answer(request, context))

        name = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        return getattr(grpc, f"{name}_rpc_method_handler")(
            answer if method.server_streaming else answer_once,
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
