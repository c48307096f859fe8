"""Lists are iterators over pages."""

from __future__ import annotations

from scripted import ScriptedServer, draining
from snapshots import generation

from filmgate import Client
from filmgate.v1.artifact_pb2 import Kind
from filmgate.v1.generation_pb2 import GenerationEvent, State
from filmgate.v1.generation_service_pb2 import ListGenerationEventsResponse, ListGenerationsResponse
from filmgate.v1.model_pb2 import Model
from filmgate.v1.model_service_pb2 import ListModelsResponse
from filmgate.v1.session_pb2 import Message
from filmgate.v1.session_service_pb2 import GetSessionHistoryResponse


def test_a_list_goes_on_to_the_last_page_with_the_same_filters(server: ScriptedServer, client: Client) -> None:
    server.on(
        "ListGenerations",
        ListGenerationsResponse(generations=[generation("FAILED", 1)], next_page_token="two"),
        draining(),
        ListGenerationsResponse(next_page_token="three"),
        ListGenerationsResponse(generations=[generation("CANCELLED", 3)]),
    )
    rows = client.list(states=["failed", "cancelled"], session="sessions/s", kind="video")
    assert [row.sequence for row in rows] == [1, 3]
    requests = server.requests("ListGenerations")
    assert [request.page_token for request in requests] == ["", "two", "two", "three"]
    for request in requests:
        assert list(request.states) == [State.STATE_FAILED, State.STATE_CANCELLED]
        assert (request.session, request.kind) == ("sessions/s", Kind.KIND_VIDEO)


def test_a_page_is_fetched_when_it_is_needed(server: ScriptedServer, client: Client) -> None:
    server.on("ListGenerations", ListGenerationsResponse(generations=[generation("FAILED", 1)], next_page_token="two"))
    rows = client.list()
    assert not server.asked
    assert next(rows).sequence == 1
    assert len(server.asked) == 1


def test_models_events_and_history_are_listed(server: ScriptedServer, client: Client) -> None:
    server.on("ListModels", ListModelsResponse(models=[Model(name="replicate/minimax/video-01")]))
    server.on("ListGenerationEvents", ListGenerationEventsResponse(events=[GenerationEvent(number=1, type="accepted")]))
    server.on("GetSessionHistory", GetSessionHistoryResponse(messages=[Message(text="a lighthouse")]))
    assert [model.name for model in client.models(kind="video", provider="replicate", available=True)] == ["replicate/minimax/video-01"]
    assert [event.type for event in client.events("generations/0193")] == ["accepted"]
    assert [message.text for message in client.history("sessions/s")] == ["a lighthouse"]
    asked = server.requests("ListModels")[0]
    assert asked.provider == "replicate" and asked.available and not asked.HasField("max_micro_usd")
    assert server.requests("GetSessionHistory")[0].name == "sessions/s"
