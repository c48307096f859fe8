"""Videos: ordered, polled, listed, downloaded and deleted."""

import asyncio
import base64

import openai
from run import refused

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
POLL = {"poll_interval_ms": 50}


def create_and_poll(it):
    video = it.client.videos.create_and_poll(model="sora-2", prompt="a fox", seconds="8", size="1280x720", **POLL)
    assert (video.status, video.progress, video.seconds, video.size) == ("completed", 100, "8", "1280x720"), video
    assert (video.object, video.model, video.prompt, video.error) == ("video", "openai/sora-2", "a fox", None), video
    assert video.id.startswith("video_") and video.completed_at >= video.created_at, video
    assert video.remixed_from_video_id is None
    body = it.jobs()[-1]["body"]
    assert (body["model"], body["seconds"], body["size"]) == ("sora-2", "8", "1280x720"), body


def all_keys_are_there(it):
    keys = {"id", "object", "model", "status", "progress", "created_at", "completed_at", "expires_at", "prompt", "seconds", "size"}
    keys |= {"remixed_from_video_id", "error"}
    video = it.client.videos.with_raw_response.create(prompt="a hare", model="sora-2")
    assert set(video.http_response.json()) == keys, video.http_response.text
    assert 500 <= int(video.headers["openai-poll-after-ms"]) <= 5000, video.headers


def create_as_json(it):
    body = {"prompt": "a badger", "model": "sora-2", "seconds": "4", "labels": {"team": "x"}, "mode": "adapt", "seed": 7}
    made = it.client.post("/videos", body=body, cast_to=object)
    assert made["object"] == "video" and made["seconds"] == "4", made
    video = it.client.videos.poll(made["id"], **POLL)
    assert video.status == "completed", video


def extensions_come_through_either_body(it):
    extra = {"labels": {"team": "x"}, "mode": "adapt", "seed": 7, "fallback_to_sample": True, "max_duration": 600}
    video = it.client.videos.create_and_poll(prompt="an otter", model="sora-2", extra_body=extra, **POLL)
    assert video.status == "completed", video
    error = refused(openai.BadRequestError, lambda: it.client.videos.create(prompt="x", extra_body={"colour": "red"}))
    assert (error.param, error.code, error.type) == ("colour", "unknown_parameter", "invalid_request_error"), error.body
    error = refused(openai.BadRequestError, lambda: it.client.videos.create(prompt="x", model="sora-2", extra_body={"seed": 7}))
    assert error.param == "seed", error.body


def create_with_a_picture(it):
    video = it.client.videos.create_and_poll(
        prompt="a lynx", model="sora-2", input_reference=("a.png", PNG, "image/png"), **POLL
    )
    assert video.status == "completed", video
    assert it.jobs()[-1]["body"]["input_reference"]["size"] == len(PNG)


def the_default_model(it):
    video = it.client.videos.create(prompt="a stoat")
    assert video.model == "openai/sora-2" and it.client.videos.retrieve(video.id).id == video.id


def listing(it):
    known = [video.id for video in it.client.videos.list(limit=3)]
    made = [it.client.videos.create_and_poll(prompt=f"crane {number}", model="sora-2", **POLL).id for number in range(5)]
    newest_first = list(reversed(made)) + known
    page = it.client.videos.list(limit=2)
    assert [video.id for video in page.data] == newest_first[:2] and page.has_more, page
    raw = it.client.videos.with_raw_response.list(limit=2).http_response.json()
    assert (raw["first_id"], raw["last_id"], raw["object"]) == (newest_first[0], newest_first[1], "list"), raw
    assert [video.id for video in it.client.videos.list(limit=2)] == newest_first
    assert [video.id for video in it.client.videos.list(limit=100)] == newest_first
    assert [video.id for video in it.client.videos.list(limit=2, order="asc")] == list(reversed(newest_first))
    nothing = it.client.videos.list(limit=0)
    assert nothing.data == [] and nothing.has_more, nothing
    assert refused(openai.BadRequestError, lambda: it.client.videos.list(limit=101)).param == "limit"


def download(it):
    video = it.client.videos.create_and_poll(prompt="a heron", model="sora-2", **POLL)
    whole = it.client.videos.download_content(video.id)
    content = whole.read()
    assert content[4:8] == b"ftyp" and whole.response.headers["content-type"] == "video/mp4"
    assert int(whole.response.headers["content-length"]) == len(content)
    with it.client.videos.with_streaming_response.download_content(video.id) as streamed:
        assert b"".join(streamed.iter_bytes(1000)) == content
    part = it.client.videos.with_raw_response.download_content(video.id, extra_headers={"Range": "bytes=4-7"})
    assert part.http_response.status_code == 206 and part.http_response.content == b"ftyp"
    assert part.headers["content-range"] == f"bytes 4-7/{len(content)}", part.headers
    for variant in ("thumbnail", "spritesheet"):
        error = refused(openai.BadRequestError, lambda: it.client.videos.download_content(video.id, variant=variant))
        assert (error.param, error.code) == ("variant", "invalid_value"), error.body
    it.client.videos.download_content(video.id, variant="video")


def delete(it):
    video = it.client.videos.create_and_poll(prompt="a wolf", model="sora-2", **POLL)
    gone = it.client.videos.delete(video.id)
    assert (gone.id, gone.deleted, gone.object) == (video.id, True, "video.deleted"), gone
    for call in (it.client.videos.retrieve, it.client.videos.delete, it.client.videos.download_content):
        error = refused(openai.NotFoundError, lambda: call(video.id))
        assert error.code == "video_not_found", error.body
    assert video.id not in [video.id for video in it.client.videos.list()]


def while_it_runs(it):
    it.faults("create:prompt=[held]:hold")
    video = it.client.videos.create(prompt="a [held] fox", model="sora-2")
    assert video.status in ("queued", "in_progress"), video
    error = refused(openai.ConflictError, lambda: it.client.videos.delete(video.id))
    assert error.code == "video_not_finished", error.body
    error = refused(openai.ConflictError, lambda: it.client.videos.download_content(video.id))
    assert error.code == "video_not_ready" and error.response.headers["x-should-retry"] == "false", error.body
    cancelled = it.client.post(f"/videos/{video.id}/cancel", cast_to=object)
    assert cancelled["status"] in ("in_progress", "failed"), cancelled


def failed_video(it):
    it.faults('create:failed="moderation_blocked: it was refused"')
    video = it.client.videos.create_and_poll(prompt="a shrew", model="sora-2", **POLL)
    assert (video.status, video.error.code) == ("failed", "moderation_blocked"), video
    error = refused(openai.NotFoundError, lambda: it.client.videos.download_content(video.id))
    assert error.code == "video_failed", error.body


def remix(it):
    video = it.client.videos.create_and_poll(prompt="an elk", model="sample/video", **POLL)
    again = it.client.videos.remix(video.id, prompt="the elk at night")
    assert (again.remixed_from_video_id, again.model) == (video.id, "sample/video"), again
    other = it.client.videos.create_and_poll(prompt="a moose", model="sora-2", **POLL)
    error = refused(openai.BadRequestError, lambda: it.client.videos.remix(other.id, prompt="the moose at night"))
    assert error.param == "video_id", error.body


def an_idempotency_key_is_honoured(it):
    key = {"Idempotency-Key": "order-1"}
    first = it.client.videos.create(prompt="a mole", model="sora-2", extra_headers=key)
    assert it.client.videos.create(prompt="a mole", model="sora-2", extra_headers=key).id == first.id
    error = refused(openai.ConflictError, lambda: it.client.videos.create(prompt="a vole", model="sora-2", extra_headers=key))
    assert error.code == "request_id_reused", error.body


def the_asynchronous_client(it):
    async def run():
        async with openai.AsyncOpenAI(base_url=it.base_url, api_key="sk-any", max_retries=0) as client:
            orders = (client.videos.create_and_poll(prompt=f"owl {number}", model="sora-2", **POLL) for number in range(3))
            videos = await asyncio.gather(*orders)
            assert [video.status for video in videos] == ["completed"] * 3, videos
            content = await client.videos.download_content(videos[0].id)
            assert (await content.aread())[4:8] == b"ftyp"
            listed = [video.id async for video in client.videos.list(limit=2)]
            assert {video.id for video in videos} <= set(listed)

    asyncio.run(run())


CASES = [
    create_and_poll,
    all_keys_are_there,
    create_as_json,
    extensions_come_through_either_body,
    create_with_a_picture,
    the_default_model,
    listing,
    download,
    delete,
    while_it_runs,
    failed_video,
    remix,
    an_idempotency_key_is_honoured,
    the_asynchronous_client,
]
