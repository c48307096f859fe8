"""Against the real server, with the vendor played by the simulator."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import Server, Simulator, picture

from filmgate import (
    Client,
    FailedPrecondition,
    Generation,
    GenerationCancelled,
    GenerationHandle,
    InvalidRequest,
    NotFound,
    ProviderNotConfigured,
    RequestIdReused,
    State,
)

WAIT = 60.0


def a_prompt() -> str:
    """One that no other test has used, so that the cache has no answer to it."""
    return f"a lighthouse in a storm, take {uuid.uuid4().hex}"


@contextmanager
def slow_vendor(folder: Path, latency: str) -> Iterator[Server]:
    """A server of its own whose vendor takes its time."""
    simulator = Simulator(folder / "simulator", latency)
    server = Server(folder / "server", simulator)
    try:
        simulator.start()
        server.start()
        yield server
    finally:
        server.stop()
        simulator.stop()


def until_the_vendor_works(handle: GenerationHandle) -> Generation:
    """The first snapshot with the vendor's own id of the job: from there on the vendor has been paid."""
    for snapshot in handle.updates():
        if snapshot.attempts and snapshot.attempts[-1].provider_job_id:
            return snapshot
    raise AssertionError(f"{handle.name} ended before the vendor had named a job")


def test_a_video_is_followed_to_its_verified_file(real_client: Client, tmp_path: Path) -> None:
    handle = real_client.generate_video(a_prompt())
    snapshots = list(handle.updates())
    sequences = [snapshot.sequence for snapshot in snapshots]
    assert sequences == sorted(sequences)
    assert snapshots[-1].state == State.STATE_SUCCEEDED, snapshots[-1]
    assert not handle.sample

    path = tmp_path / "film.mp4"
    artifact = handle.download_to(path)
    data = path.read_bytes()
    assert len(data) == artifact.size_bytes > 0
    assert hashlib.sha256(data).hexdigest() == artifact.sha256
    assert artifact.media_type.startswith("video/")


def test_without_a_key_the_result_is_flagged_as_a_sample(sample_client: Client, tmp_path: Path) -> None:
    handle = sample_client.generate_video(a_prompt())
    handle.wait(WAIT)
    artifact = handle.download_to(tmp_path / "film.mp4")
    assert handle.sample
    assert artifact.sample
    assert handle.latest.sample


def test_the_same_request_id_attaches_and_another_request_is_refused(real_client: Client) -> None:
    prompt, request_id = a_prompt(), uuid.uuid4().hex
    first = real_client.generate_video(prompt, request_id=request_id)
    second = real_client.generate_video(prompt, request_id=request_id)
    assert second.name == first.name
    assert second.replayed and not first.replayed
    with pytest.raises(RequestIdReused) as caught:
        real_client.generate_video(prompt + ", at dawn", request_id=request_id)
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert caught.value.metadata["field"] == "prompt"
    first.wait(WAIT)


def test_all_that_is_wrong_with_an_order_is_told_at_once(real_client: Client) -> None:
    with pytest.raises(InvalidRequest) as caught:
        real_client.generate_video(" ", fps=0, max_duration=0)
    fields = {violation.field for violation in caught.value.violations}
    assert {"prompt", "options.fps", "max_duration"} <= fields
    assert caught.value.reason == "INVALID_REQUEST"


def test_an_unknown_name_is_not_found(real_client: Client) -> None:
    unknown = f"generations/{uuid.uuid4()}"
    with pytest.raises(NotFound) as caught:
        real_client.watch(unknown)
    assert caught.value.reason == "GENERATION_NOT_FOUND"
    with pytest.raises(NotFound, match="session not found"):
        list(real_client.history("sessions/never-seen"))


def test_a_provider_without_a_key_is_a_refusal_and_not_the_sample(sample_client: Client) -> None:
    with pytest.raises(ProviderNotConfigured, match="REPLICATE_API_TOKEN"):
        sample_client.generate_video(a_prompt(), model="replicate/minimax/video-01")


def test_a_cancelled_generation_says_so(tmp_path: Path) -> None:
    with slow_vendor(tmp_path, "60s") as server, Client(server.address) as client:
        handle = client.generate_video(a_prompt())
        until_the_vendor_works(handle)
        handle.cancel()
        with pytest.raises(GenerationCancelled):
            handle.wait(WAIT)
        assert client.cancel(handle.name).state == State.STATE_CANCELLED


def test_a_finished_generation_cannot_be_cancelled(real_client: Client) -> None:
    handle = real_client.generate_video(a_prompt())
    handle.wait(WAIT)
    with pytest.raises(FailedPrecondition) as caught:
        handle.cancel()
    assert caught.value.reason == "GENERATION_FINISHED"


def test_a_handle_outlives_a_killed_server_and_the_vendor_works_once(tmp_path: Path) -> None:
    with slow_vendor(tmp_path, "3s") as server, Client(server.address) as client:
        handle = client.generate_video(a_prompt())
        before = until_the_vendor_works(handle)
        server.kill()
        server.start_without_waiting()
        handle.wait(WAIT)
        handle.download_to(tmp_path / "film.mp4")
        assert len(handle.latest.attempts) == 1
        assert handle.latest.attempts[0].provider_job_id == before.attempts[0].provider_job_id


def test_the_history_of_a_session_has_the_turn_and_its_generation(real_client: Client) -> None:
    session, prompt = f"sessions/{uuid.uuid4().hex}", a_prompt()
    handle = real_client.generate_video(prompt, session=session)
    handle.wait(WAIT)
    messages = list(real_client.history(session))
    assert messages[0].text == prompt
    assert {message.generation for message in messages} == {handle.name}
    assert [row.name for row in real_client.list(session=session, states=["succeeded"], kind="video")] == [handle.name]
    numbers = [event.number for event in real_client.events(handle.name)]
    assert numbers == list(range(1, len(numbers) + 1)) and numbers


def test_an_upload_comes_back_byte_for_byte(real_client: Client, tmp_path: Path) -> None:
    source, copy = tmp_path / "frame.png", tmp_path / "copy.png"
    source.write_bytes(picture())
    artifact = real_client.upload(source)
    assert artifact.media_type == "image/png"
    assert (artifact.width, artifact.height) == (64, 64)
    real_client.download(artifact, copy)
    assert copy.read_bytes() == source.read_bytes()


def test_models_can_be_found_by_kind_and_provider(real_client: Client) -> None:
    models = list(real_client.models(kind="video", provider="replicate"))
    assert models
    assert all(model.name.startswith("replicate/") and model.available for model in models)


def test_a_chat_is_given_as_it_is_said(real_client: Client) -> None:
    said = list(real_client.chat("hello", model="sample/chat", session="sessions/python-chat"))
    assert [message.WhichOneof("event") for message in (said[0], said[1], said[-1])] == ["start", "delta", "end"]
    assert said[0].start.sample
    assert "".join(message.delta.text for message in said).startswith("This is a sample answer.")
    assert [message.text for message in real_client.history("sessions/python-chat")][0] == "hello"
    with pytest.raises(InvalidRequest):
        list(real_client.chat("hello", model="sample/chat", temperature=2.01))


def test_a_prompt_that_nobody_can_make_better_stays_as_it_is(real_client: Client) -> None:
    answer = real_client.optimize_prompt("a fox", kind="video", model="sample/chat")
    assert (answer.optimized, answer.optimized_prompt, answer.language) == (False, "a fox", "en")
    assert answer.reason
