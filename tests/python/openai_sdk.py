"""Drives the official OpenAI client against a server, as a user's program would.

Usage: openai_sdk.py BASE_URL, which ends in `/v1`. Prints one line per topic; any difference from what the client should see
ends the program with a traceback.
"""

import base64
import io
import json
import sys
import time
import urllib.request
import warnings

try:
    import openai
    from openai import OpenAI
except ImportError as error:
    sys.exit(f"the official client is missing ({error}): pip install openai==3.51.0")

# OpenAI has shut its Videos API down; the client still has it, and says so at every call.
warnings.simplefilter("ignore", DeprecationWarning)

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def control(base_url, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    url = base_url.removesuffix("/openai/v1") + "/_control/" + path
    with urllib.request.urlopen(urllib.request.Request(url, data=data)) as answer:
        return json.load(answer)


def last_job(base_url):
    return control(base_url, "jobs")["openai"][-1]


def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError("the call was not refused")


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def chat_at_once(client, base_url):
    asked = [{"role": "user", "content": "hi there"}]
    made = client.chat.completions.create(model="gpt-5.4-mini", messages=asked)
    assert made.choices[0].message.content == "You said: hi there" and made.choices[0].finish_reason == "stop"
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (2, 4, 6), made.usage
    error = refused(
        openai.BadRequestError, lambda: client.chat.completions.create(model="gpt-5.4-mini", messages=asked, max_tokens=5)
    )
    assert (error.param, error.code) == ("max_tokens", "unsupported_parameter"), error
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "trip", "strict": True, "schema": schema}}
    made = client.chat.completions.create(model="gpt-5.4-mini", messages=asked, response_format=form)
    assert json.loads(made.choices[0].message.content) == {"city": "text", "days": 3}


def chat_in_events(client, base_url):
    asked = [{"role": "user", "content": "hi there"}]
    stream = client.chat.completions.create(
        model="gpt-5.4-mini", messages=asked, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == "You said: hi there", text
    assert [c.finish_reason for chunk in chunks for c in chunk.choices][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == 6
    with client.chat.completions.create(
        model="gpt-5.4-mini", messages=[{"role": "user", "content": "[words=10000000]"}], stream=True
    ) as stream:
        next(iter(stream))
    for _ in range(200):
        if control(base_url, "counts")["openai"]["chats_hung_up"] == 1:
            return
        time.sleep(0.02)
    raise AssertionError("hanging up was not noticed")


def chat_with_tools(client, base_url):
    messages = [{"role": "user", "content": "how is the weather?"}]
    with client.chat.completions.stream(
        model="gpt-5.4-mini", messages=messages, tools=[WEATHER], tool_choice="required"
    ) as stream:
        made = stream.get_final_completion()
    message = made.choices[0].message
    [call] = message.tool_calls
    assert made.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "weather" and json.loads(call.function.arguments) == {"city": "text"}
    messages += [message.model_dump(exclude_none=True, exclude={"parsed"}), {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    messages[1]["tool_calls"] = [
        {"id": call.id, "type": "function", "function": {"name": "weather", "arguments": call.function.arguments}}
    ]
    made = client.chat.completions.create(model="gpt-5.4-mini", messages=messages, tools=[WEATHER])
    assert made.choices[0].message.content == "The tool said: sunny"


def images_generate(client, base_url):
    made = client.images.generate(
        model="gpt-image-2", prompt="a fox", n=2, size="1536x1024", quality="high", background="transparent", output_format="png"
    )
    assert len(made.data) == 2 and made.created > 0
    assert base64.b64decode(made.data[0].b64_json)[:4] == b"\x89PNG"
    assert (made.size, made.quality, made.background, made.output_format) == ("1536x1024", "high", "transparent", "png")
    assert made.usage.output_tokens == 8320 and made.usage.total_tokens == 8370, made.usage
    assert made._request_id.startswith("req_")


def images_edit(client, base_url):
    made = client.images.edit(
        model="gpt-image-2",
        prompt="a fox",
        image=[("a.png", PNG, "image/png"), ("b.png", PNG, "image/png")],
        mask=("m.png", PNG, "image/png"),
    )
    assert base64.b64decode(made.data[0].b64_json)[:4] == b"\x89PNG"
    body = last_job(base_url)["body"]
    assert [image["filename"] for image in body["image[]"]] == ["a.png", "b.png"], body
    assert body["mask"]["size"] == len(PNG)


def speech(client, base_url):
    sound = client.audio.speech.create(model="gpt-4o-mini-tts", voice="coral", input="hello", response_format="wav")
    assert sound.content[:4] == b"RIFF"
    assert client.audio.speech.create(model="tts-1", voice="alloy", input="hello").read()[:1] in (b"I", b"\xff")


def videos_create_and_poll(client, base_url):
    video = client.videos.create_and_poll(model="sora-2", prompt="a fox", seconds="8", size="1280x720")
    assert (video.status, video.progress, video.seconds, video.size) == ("completed", 100, "8", "1280x720"), video
    assert video.id.startswith("video_") and video.object == "video" and video.error is None
    assert video.completed_at >= video.created_at and video.expires_at > video.completed_at
    assert video.prompt == "a fox" and video.model == "sora-2"


def videos_download(client, base_url):
    video = client.videos.create_and_poll(prompt="a fox", input_reference=("a.png", PNG, "image/png"))
    assert last_job(base_url)["body"]["input_reference"]["filename"] == "a.png"
    assert client.videos.download_content(video.id).read()[4:8] == b"ftyp"
    assert client.videos.download_content(video.id, variant="thumbnail").read()[8:12] == b"WEBP"
    assert client.videos.download_content(video.id, variant="spritesheet").read()[:2] == b"\xff\xd8"


def videos_list_and_delete(client, base_url):
    for number in range(5):
        client.videos.create_and_poll(prompt=f"fox {number}")
    listed = [video.prompt for video in client.videos.list(limit=2)]
    assert listed[:5] == [f"fox {number}" for number in (4, 3, 2, 1, 0)], listed
    assert len(listed) == len(list(client.videos.list(order="asc")))
    newest = client.videos.list(limit=1).data[0]
    gone = client.videos.delete(newest.id)
    assert (gone.id, gone.deleted, gone.object) == (newest.id, True, "video.deleted")
    refused(openai.NotFoundError, lambda: client.videos.retrieve(newest.id))
    assert newest.id not in [video.id for video in client.videos.list()]


def running_video(client, base_url):
    control(base_url, "faults", {"faults": ["create:prompt=[held]:hold"]})
    video = client.videos.create(prompt="a [held] fox")
    assert video.status in ("queued", "in_progress")
    refused(openai.BadRequestError, lambda: client.videos.delete(video.id))
    refused(openai.NotFoundError, lambda: client.videos.download_content(video.id))
    control(base_url, "release", {"id": video.id})
    assert client.videos.poll(video.id).status == "completed"


def failed_video(client, base_url):
    control(base_url, "faults", {"faults": ["create:failed=\"moderation_blocked: it was refused\""]})
    video = client.videos.create_and_poll(prompt="a fox")
    assert (video.status, video.error.code, video.error.message) == ("failed", "moderation_blocked", "it was refused")
    error = refused(openai.BadRequestError, lambda: client.images.generate(model="gpt-image-2", prompt="a fox"))
    assert error.code == "moderation_blocked", error.body


def typed_errors(client, base_url):
    error = refused(openai.BadRequestError, lambda: client.videos.create(prompt="a fox", seconds="5"))
    assert (error.param, error.code, error.type) == ("seconds", "invalid_value", "invalid_request_error"), error.body
    error = refused(openai.BadRequestError, lambda: client.videos.create(prompt="a fox", size="1x1"))
    assert error.param == "size"
    error = refused(
        openai.BadRequestError, lambda: client.images.generate(model="gpt-image-2", prompt="x", response_format="b64_json")
    )
    assert (error.param, error.code) == ("response_format", "unknown_parameter")
    assert refused(openai.NotFoundError, lambda: client.videos.retrieve("video_none")).status_code == 404
    assert refused(openai.NotFoundError, lambda: client.models.retrieve("none/such")).code == "model_not_found"
    control(base_url, "faults", {"faults": ["create:nth=1:status=401", "create:nth=2:status=429", "create:nth=3:status=503"]})
    for kind, code in (
        (openai.AuthenticationError, "invalid_api_key"),
        (openai.RateLimitError, "rate_limit_exceeded"),
        (openai.InternalServerError, "server_is_overloaded"),
    ):
        assert refused(kind, lambda: client.videos.create(prompt="a fox")).code == code


def retries(base_url):
    control(base_url, "faults", {"faults": ["create:first=1:status=429,retry_after=1"]})
    client = OpenAI(base_url=base_url, api_key="sk-any")
    assert client.images.generate(model="gpt-image-2", prompt="a fox").data


def models(client, base_url):
    names = [model.id for model in client.models.list()]
    assert "gpt-image-2" in names
    assert client.models.retrieve("gpt-image-2").owned_by == "system"


def main(base_url):
    client = OpenAI(base_url=base_url, api_key="sk-any", max_retries=0)
    for topic in (
        chat_at_once,
        chat_in_events,
        chat_with_tools,
        images_generate,
        images_edit,
        speech,
        videos_create_and_poll,
        videos_download,
        videos_list_and_delete,
        running_video,
        failed_video,
        typed_errors,
        models,
    ):
        control(base_url, "faults", {"faults": []})
        topic(client, base_url)
        print(topic.__name__)
    retries(base_url)
    print("retries")


main(*sys.argv[1:])
