"""Ordering and following, against a server that breaks where the script says so."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest
from scripted import Refusal, ScriptedServer, Silence, draining
from snapshots import NAME, artifact, generation, ordered, watched

from filmgate import (
    Client,
    GenerationCancelled,
    GenerationFailed,
    GenerationUnresolved,
    NotFound,
    State,
    TimedOut,
    Unavailable,
)
from filmgate.v1.error_reason_pb2 import ErrorReason
from filmgate.v1.generation_pb2 import Attempt, Charged, Failure, InputRole, Unresolved
from filmgate.v1.generation_service_pb2 import (
    CancelGenerationResponse,
    EstimateCostResponse,
    GenerateImageRequest,
    GenerateImageResponse,
    GenerateMusicRequest,
    GenerateMusicResponse,
    GenerateSpeechRequest,
    GenerateSpeechResponse,
    GenerateVideoRequest,
    GetGenerationResponse,
)


def test_an_order_carries_what_was_asked(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", ordered())
    client.generate_video(
        "a lighthouse",
        quality="fast",
        duration=2.5,
        fps=24,
        audio=False,
        provider_options={"prompt_optimizer": True},
        first_frame="artifacts/frame",
        references=["https://example.com/who.png", b"bytes"],
        max_duration=timedelta(minutes=5),
        callback_url="https://hooks.example/",
        mode="adapt",
        cache="bypass",
        labels={"scene": "3"},
    )
    (request,) = server.requests("GenerateVideo")
    assert request.prompt == "a lighthouse"
    assert request.quality == 1 and request.mode == 2 and request.cache == 2
    assert request.options.duration.ToTimedelta() == timedelta(seconds=2.5)
    assert request.options.fps == 24
    assert request.options.HasField("audio") and not request.options.audio
    assert not request.options.HasField("width")
    assert request.options.provider_options["prompt_optimizer"] is True
    assert [(each.role, each.WhichOneof("source")) for each in request.inputs] == [
        (InputRole.INPUT_ROLE_FIRST_FRAME, "artifact"),
        (InputRole.INPUT_ROLE_REFERENCE, "uri"),
        (InputRole.INPUT_ROLE_REFERENCE, "data"),
    ]
    assert request.max_duration.seconds == 300
    assert request.callback_url == "https://hooks.example/"
    assert request.labels == {"scene": "3"}
    assert server.asked[0].metadata["x-filmgate-tenant"] == "studio"


def test_every_kind_is_ordered_with_its_own_options(server: ScriptedServer, client: Client) -> None:
    first = generation("QUEUED")
    server.on("GenerateImage", GenerateImageResponse(generation=first))
    server.on("GenerateSpeech", GenerateSpeechResponse(generation=first))
    server.on("GenerateMusic", GenerateMusicResponse(generation=first))
    client.generate_image(
        "a fox", image_quality="high", strength=0.5, source=b"bytes", mask="https://example.com/m.png", quality="fast"
    )
    client.generate_speech("Hello.", voice="alloy", language="en", speed=1.5, provider_options={"pitch": 1})
    client.generate_music("a waltz", duration=30, instrumental=False, format="mp3", references=["artifacts/tune"])
    (image,) = server.requests("GenerateImage")
    assert (image.options.quality, image.options.strength, image.quality) == ("high", 0.5, 1)
    assert [each.role for each in image.inputs] == [InputRole.INPUT_ROLE_SOURCE, InputRole.INPUT_ROLE_MASK]
    (speech,) = server.requests("GenerateSpeech")
    assert (speech.prompt, speech.options.voice, speech.options.speed) == ("Hello.", "alloy", 1.5)
    assert speech.options.provider_options["pitch"] == 1
    (music,) = server.requests("GenerateMusic")
    assert music.options.duration.seconds == 30 and music.options.HasField("instrumental")
    assert music.inputs[0].artifact == "artifacts/tune"
    assert len({image.request_id, speech.request_id, music.request_id}) == 3


def test_pictures_become_a_video_without_a_prompt(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", ordered())
    client.generate_video(model="replicate/fofr/skyreels-2", sequence=["https://example.com/a.png", b"b"])
    (request,) = server.requests("GenerateVideo")
    assert request.prompt == ""
    assert [each.role for each in request.inputs] == [InputRole.INPUT_ROLE_SEQUENCE] * 2


def test_an_estimate_has_orders_of_every_kind_with_counts(server: ScriptedServer, client: Client) -> None:
    server.on("EstimateCost", EstimateCostResponse(total_micro_usd=3_030_000))
    still, film = GenerateImageRequest(model="flux-schnell"), GenerateVideoRequest(prompt="a fox")
    told = client.estimate([(still, 10), film, GenerateSpeechRequest(), GenerateMusicRequest()])
    assert told.total_micro_usd == 3_030_000
    (request,) = server.requests("EstimateCost")
    assert [(each.WhichOneof("order"), each.count) for each in request.orders] == [
        ("image", 10),
        ("video", 1),
        ("speech", 1),
        ("music", 1),
    ]
    assert not request.HasField("quote_ttl")


def test_every_order_has_a_request_id_of_its_own(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", ordered(), ordered(), ordered())
    client.generate_video("a lighthouse")
    client.generate_video("a lighthouse")
    client.generate_video("a lighthouse", request_id="order-4711")
    first, second, third = (request.request_id for request in server.requests("GenerateVideo"))
    assert first and second and first != second
    assert third == "order-4711"


def test_an_order_whose_answer_was_lost_is_repeated_unchanged(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", draining(), draining(), ordered())
    assert client.generate_video("a lighthouse").name == NAME
    first, second, third = server.requests("GenerateVideo")
    assert first.request_id
    assert first == second == third


def test_an_order_that_was_lost_for_good_tells_the_id_to_repeat_it_with(server: ScriptedServer) -> None:
    server.on("GenerateVideo", draining(seconds=3), ordered())
    with Client(server.target, reconnect_for=0) as client:
        with pytest.raises(Unavailable) as caught:
            client.generate_video("a lighthouse")
        client.generate_video("a lighthouse", request_id=caught.value.order_id)
    lost, repeated = server.requests("GenerateVideo")
    assert lost == repeated


def test_a_wrong_word_is_refused_before_anything_is_sent(server: ScriptedServer, client: Client) -> None:
    with pytest.raises(ValueError, match="QUALITY_CHEAP"):
        client.generate_video("a lighthouse", quality="cheap")  # type: ignore[arg-type]
    assert not server.asked


def test_updates_go_on_after_the_last_snapshot_seen(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", ordered())
    server.on(
        "WatchGeneration",
        [watched("QUEUED", 1), watched("RUNNING", 2), draining()],
        [Refusal(grpc.StatusCode.UNAVAILABLE, "connection reset")],
        [watched("RUNNING", 4), watched("SUCCEEDED", 5, sample=True)],
    )
    handle = client.generate_video("a lighthouse")
    assert [snapshot.sequence for snapshot in handle.updates()] == [1, 2, 4, 5]
    assert [request.after_sequence for request in server.requests("WatchGeneration")] == [0, 2, 2]
    assert {request.name for request in server.requests("WatchGeneration")} == {NAME}
    assert handle.sample
    assert len(server.requests("GenerateVideo")) == 1


def test_a_stream_that_ends_too_early_is_attached_again(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", ordered())
    server.on("WatchGeneration", [watched("RUNNING", 2)], [watched("SUCCEEDED", 3)])
    assert client.generate_video("a lighthouse").wait().sequence == 3


def test_a_snapshot_of_a_replica_that_is_behind_is_not_shown(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", ordered())
    server.on("WatchGeneration", [watched("RUNNING", 7), draining()], [watched("RUNNING", 3), watched("SUCCEEDED", 8)])
    assert [snapshot.sequence for snapshot in client.generate_video("a lighthouse").updates()] == [7, 8]


def test_a_finished_order_is_not_watched(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", ordered("SUCCEEDED", cached=True))
    handle = client.generate_video("a lighthouse")
    assert handle.wait().cached
    assert [snapshot.state for snapshot in handle.updates()] == [State.STATE_SUCCEEDED]
    assert not server.requests("WatchGeneration")


def test_a_failure_tells_reason_charge_and_whether_to_retry(server: ScriptedServer, client: Client) -> None:
    failure = Failure(
        reason=ErrorReason.ERROR_REASON_PROVIDER_OVERLOADED, message="busy", retryable=True, charged=Charged.CHARGED_NO
    )
    server.on("GenerateVideo", ordered())
    server.on("WatchGeneration", [watched("FAILED", 2, failure=failure)])
    with pytest.raises(GenerationFailed, match="busy") as caught:
        client.generate_video("a lighthouse").wait()
    assert caught.value.reason == "PROVIDER_OVERLOADED"
    assert caught.value.retryable
    assert caught.value.charged == "NO"
    assert caught.value.generation.failure == failure


def test_a_reason_newer_than_this_client_is_shown_as_its_number(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", ordered("FAILED", failure=Failure(reason=999)))  # type: ignore[arg-type]
    with pytest.raises(GenerationFailed) as caught:
        client.generate_video("a lighthouse").wait()
    assert caught.value.reason == "999"


def test_a_cancelled_generation_raises_and_tells_the_charge(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", ordered())
    server.on("CancelGeneration", CancelGenerationResponse(generation=generation("CANCELLING", 2)))
    server.on("WatchGeneration", [watched("CANCELLED", 3, attempts=[Attempt(charged=Charged.CHARGED_UNKNOWN)])])
    handle = client.generate_video("a lighthouse")
    assert handle.cancel().state == State.STATE_CANCELLING
    with pytest.raises(GenerationCancelled) as caught:
        handle.wait()
    assert caught.value.charged == "UNKNOWN"


def test_waiting_ends_when_the_generation_is_unresolved(server: ScriptedServer, client: Client) -> None:
    lost = Unresolved(reason=ErrorReason.ERROR_REASON_SUBMIT_ANSWER_LOST, message="the answer was lost")
    server.on("GenerateVideo", ordered())
    server.on("WatchGeneration", [watched("RUNNING", 2), watched("UNRESOLVED", 3, unresolved=lost), Silence()])
    with pytest.raises(GenerationUnresolved, match="the answer was lost") as caught:
        client.generate_video("a lighthouse").wait()
    assert caught.value.reason == "SUBMIT_ANSWER_LOST"
    assert caught.value.charged == "UNKNOWN"
    assert not caught.value.retryable


def test_updates_pass_through_unresolved_to_a_late_success(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", ordered())
    server.on("WatchGeneration", [watched("UNRESOLVED", 2), watched("SUCCEEDED", 3)])
    handle = client.generate_video("a lighthouse")
    states = [snapshot.state for snapshot in handle.updates()]
    assert states == [State.STATE_UNRESOLVED, State.STATE_SUCCEEDED]
    assert handle.wait().sequence == 3


def test_a_timeout_bounds_the_waiting_and_not_the_work(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", ordered())
    server.on("WatchGeneration", [watched("RUNNING", 2), Silence()], [watched("SUCCEEDED", 3)])
    handle = client.generate_video("a lighthouse")
    with pytest.raises(TimedOut) as caught:
        handle.wait(timeout=0.3)
    assert isinstance(caught.value, TimeoutError)
    assert not server.requests("CancelGeneration")
    assert handle.wait().sequence == 3


def test_a_timeout_also_bounds_the_reconnecting(server: ScriptedServer, client: Client) -> None:
    server.on("GenerateVideo", ordered())
    server.on("WatchGeneration", [draining(seconds=5)])
    with pytest.raises(TimedOut) as caught:
        client.generate_video("a lighthouse").wait(timeout=1)
    assert caught.value.reason == "SERVER_DRAINING"


def test_without_reconnecting_the_first_absence_is_raised(server: ScriptedServer) -> None:
    server.on("GenerateVideo", ordered())
    server.on("WatchGeneration", [watched("RUNNING", 2), draining(seconds=3)])
    with Client(server.target, reconnect_for=0) as client:
        handle = client.generate_video("a lighthouse")
        with pytest.raises(Unavailable) as caught:
            handle.wait()
    assert caught.value.reason == "SERVER_DRAINING"
    assert caught.value.retry_after == 3
    assert handle.latest.sequence == 2


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with Client("127.0.0.1:1", reconnect_for=0.2) as client, pytest.raises(Unavailable):
        client.generate_video("a lighthouse")


def test_a_generation_is_picked_up_by_name(server: ScriptedServer, client: Client) -> None:
    server.on("GetGeneration", draining(), GetGenerationResponse(generation=generation("RUNNING", 4)))
    server.on("WatchGeneration", [watched("SUCCEEDED", 5, artifacts=[artifact(b"film")])])
    handle = client.watch(NAME)
    assert handle.latest.sequence == 4
    assert len(handle.wait().artifacts) == 1


def test_picking_up_an_unknown_name_raises_at_once(server: ScriptedServer, client: Client) -> None:
    server.on("GetGeneration", Refusal(grpc.StatusCode.NOT_FOUND, "no such generation", "GENERATION_NOT_FOUND"))
    with pytest.raises(NotFound, match="no such generation"):
        client.watch("generations/none")
