"""What a refused call becomes."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from scripted import Refusal, ScriptedServer

from filmgate import (
    Client,
    FailedPrecondition,
    FilmgateError,
    InvalidRequest,
    NotFound,
    ProviderNotConfigured,
    QueueFull,
    RequestIdReused,
    Violation,
)

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (Code.INVALID_ARGUMENT, "INVALID_REQUEST", InvalidRequest),
        (Code.NOT_FOUND, "SESSION_NOT_FOUND", NotFound),
        (Code.FAILED_PRECONDITION, "PROVIDER_NOT_CONFIGURED", ProviderNotConfigured),
        (Code.FAILED_PRECONDITION, "GENERATION_FINISHED", FailedPrecondition),
        (Code.ALREADY_EXISTS, "REQUEST_ID_REUSED", RequestIdReused),
        (Code.RESOURCE_EXHAUSTED, "QUEUE_FULL", QueueFull),
        (Code.RESOURCE_EXHAUSTED, "UPLOAD_TOO_LARGE", FilmgateError),
        (Code.INTERNAL, "INTERNAL", FilmgateError),
        (Code.PERMISSION_DENIED, "", FilmgateError),
        (Code.NOT_FOUND, "", NotFound),
    ],
)
def test_each_refusal_has_its_class(server: ScriptedServer, client: Client, code: Code, reason: str, kind: type) -> None:
    server.on("GenerateVideo", Refusal(code, "the text", reason))
    with pytest.raises(FilmgateError, match="the text") as caught:
        client.generate_video("a lighthouse")
    assert type(caught.value) is kind
    assert caught.value.code is code
    assert caught.value.reason == reason
    assert len(server.asked) == 1, "a refusal is final"


def test_all_violations_are_told(server: ScriptedServer, client: Client) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="prompt", description="is empty")
    bad.field_violations.add(field="options.fps", description="allowed: 24")
    server.on("GenerateVideo", Refusal(Code.INVALID_ARGUMENT, "2 fields are wrong", "INVALID_REQUEST", [bad]))
    with pytest.raises(InvalidRequest) as caught:
        client.generate_video("")
    assert caught.value.violations == (Violation("prompt", "is empty"), Violation("options.fps", "allowed: 24"))


def test_the_details_become_fields(server: ScriptedServer, client: Client) -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    details = [retry, error_details_pb2.RequestInfo(request_id="call-7"), error_details_pb2.Help()]
    refusal = Refusal(Code.RESOURCE_EXHAUSTED, "full", "QUEUE_FULL", details, {"limit": "10000"})
    server.on("GenerateVideo", refusal)
    with pytest.raises(QueueFull) as caught:
        client.generate_video("a lighthouse")
    assert caught.value.retry_after == 1.5
    assert caught.value.request_id == "call-7"
    assert caught.value.metadata == {"limit": "10000"}
