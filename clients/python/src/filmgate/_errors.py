"""Everything this package raises.

Two families: the server refused a call (one class a situation, decoded from the `google.rpc` details), and a generation ended
otherwise than well (`GenerationError`). Texts are for people; programs read `reason`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from filmgate.v1.error_reason_pb2 import ErrorReason
from filmgate.v1.generation_pb2 import Charged, Generation, State


class FilmgateError(Exception):
    """Base of all of them."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str = "",
        retry_after: float | None = None,
        request_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        #: The gRPC code, if a call was refused.
        self.code = code
        #: The stable word for what happened: a value of `ErrorReason` without its prefix, or empty.
        self.reason = reason
        #: Seconds after which the server suggests to try again, if it does.
        self.retry_after = retry_after
        #: The server's id of the refused call, to quote in a report.
        self.request_id = request_id
        #: The request id of the order that was refused or lost. After `Unavailable` or `TimedOut` nobody knows whether it arrived:
        #: order again with this id, which attaches to it if it did.
        self.order_id: str | None = None
        #: The facts that the message mentions, by name.
        self.metadata: Mapping[str, str] = dict(metadata or {})


class Violation(NamedTuple):
    """One thing that is wrong with a request."""

    field: str
    """Path of the proto field, for example `options.duration`."""
    description: str
    """What is wrong, with the allowed values."""


class InvalidRequest(FilmgateError):
    """Fields are wrong or the model cannot honour them. Nothing was started."""

    #: All that is wrong, not only the first.
    violations: tuple[Violation, ...] = ()


class NotFound(FilmgateError):
    """No such thing for this tenant."""


class FailedPrecondition(FilmgateError):
    """Not possible in the present state; `reason` says which."""


class ProviderNotConfigured(FailedPrecondition):
    """The named provider has no credentials on this server."""


class RequestIdReused(FilmgateError):
    """The request id was used before for a different request; `metadata["field"]` is the first difference."""


class QueueFull(FilmgateError):
    """Too many unfinished generations; see `retry_after`."""


class Unavailable(FilmgateError):
    """The server could not be reached, or is shutting down, for longer than `reconnect_for`."""


class TimedOut(FilmgateError, TimeoutError):
    """The time given to the call is over. A generation goes on: wait again, or cancel it."""


class DownloadCorrupt(FilmgateError):
    """The bytes received are not those of the artifact. Nothing was written to the path."""


class GenerationError(FilmgateError):
    """A generation did not succeed."""

    def __init__(self, message: str, generation: Generation, *, reason: str, retryable: bool, charged: str) -> None:
        super().__init__(message, reason=reason)
        #: The last snapshot.
        self.generation = generation
        #: True if the same order may well succeed later.
        self.retryable = retryable
        #: Whether the provider took money: `NO`, `YES` or `UNKNOWN`.
        self.charged = charged


class GenerationFailed(GenerationError):
    """It ended in `STATE_FAILED`; `generation.failure` has the details."""


class GenerationCancelled(GenerationError):
    """It ended in `STATE_CANCELLED`."""


class GenerationUnresolved(GenerationError):
    """A paid request was sent and what became of it is not known yet.

    Not an end: the server goes on asking the provider, and a late success is delivered. Go on with `updates()`, which passes through
    this state. Ordering again may pay twice, so `retryable` is False.
    """


def from_rpc(error: grpc.RpcError) -> FilmgateError:
    """The error that a failed call stands for."""
    call = cast(Any, error)  # every error that a call raises is also its grpc.Call
    details = _details(call)
    info = cast("error_details_pb2.ErrorInfo | None", details.get("google.rpc.ErrorInfo"))
    retry = cast("error_details_pb2.RetryInfo | None", details.get("google.rpc.RetryInfo"))
    request = cast("error_details_pb2.RequestInfo | None", details.get("google.rpc.RequestInfo"))
    bad = cast("error_details_pb2.BadRequest | None", details.get("google.rpc.BadRequest"))

    reason = info.reason if info is not None and info.domain == "filmgate" else ""
    kind = _BY_REASON.get(reason) or _BY_CODE.get(call.code(), FilmgateError)
    mapped = kind(
        call.details() or call.code().name,
        code=call.code(),
        reason=reason,
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if retry is not None else None,
        request_id=request.request_id if request is not None else None,
        metadata=info.metadata if info is not None else None,
    )
    if isinstance(mapped, InvalidRequest) and bad is not None:
        mapped.violations = tuple(Violation(each.field, each.description) for each in bad.field_violations)
    return mapped


def raise_unless_succeeded(generation: Generation) -> Generation:
    """The generation if it succeeded, else the error that its state stands for."""
    name = generation.name
    if generation.state == State.STATE_SUCCEEDED:
        return generation
    if generation.state == State.STATE_FAILED:
        failure = generation.failure
        raise GenerationFailed(
            f"{name} failed: {failure.message}",
            generation,
            reason=_word(ErrorReason, failure.reason),
            retryable=failure.retryable,
            charged=_word(Charged, failure.charged),
        )
    if generation.state == State.STATE_CANCELLED:
        charged = _charged_over_attempts(generation)
        raise GenerationCancelled(f"{name} was cancelled", generation, reason="CANCELLED", retryable=False, charged=charged)
    if generation.state == State.STATE_UNRESOLVED:
        raise GenerationUnresolved(
            f"{name} is unresolved: {generation.unresolved.message}",
            generation,
            reason=_word(ErrorReason, generation.unresolved.reason),
            retryable=False,
            charged="UNKNOWN",
        )
    raise FilmgateError(f"{name} has not ended")


_BY_REASON: dict[str, type[FilmgateError]] = {
    "INVALID_REQUEST": InvalidRequest,
    "PROVIDER_NOT_CONFIGURED": ProviderNotConfigured,
    "REQUEST_ID_REUSED": RequestIdReused,
    "QUEUE_FULL": QueueFull,
}

# For a reason that is not above, and for what a proxy between us and the server says without details.
_BY_CODE: dict[grpc.StatusCode, type[FilmgateError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOut,
}

_DETAIL_TYPES: dict[str, type[Message]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        error_details_pb2.ErrorInfo,
        error_details_pb2.RetryInfo,
        error_details_pb2.RequestInfo,
        error_details_pb2.BadRequest,
    )
}


def _details(call: Any) -> dict[str, Message]:
    try:
        status: status_pb2.Status | None = rpc_status.from_call(call)
    except ValueError:  # the details contradict the status: not ours
        return {}
    found: dict[str, Message] = {}
    for packed in status.details if status is not None else ():
        kind = _DETAIL_TYPES.get(packed.TypeName())
        if kind is not None:
            message = kind()
            packed.Unpack(message)
            found[packed.TypeName()] = message
    return found


def _charged_over_attempts(generation: Generation) -> str:
    charged = {attempt.charged for attempt in generation.attempts}
    for answer in (Charged.CHARGED_YES, Charged.CHARGED_UNKNOWN):
        if answer in charged:
            return _word(Charged, answer)
    return "NO"


def _word(enum: Any, value: int) -> str:
    """The name of an enum's value without its prefix; the number if a newer server knows more than we do."""
    try:
        name: str = enum.Name(value)
    except ValueError:
        return str(value)
    unspecified: str = enum.Name(0)
    return name.removeprefix(unspecified.removesuffix("UNSPECIFIED"))
