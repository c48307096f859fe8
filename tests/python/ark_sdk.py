"""Drives the official Ark client against a server, as a user's program would.

Usage: ark_sdk.py BASE_URL, where BASE_URL ends with `/api/v3`. Prints one line per topic; any difference from what the
client should see ends the program with a traceback.
"""

import base64
import json
import sys
import time
import urllib.request

import pydantic

try:
    from volcenginesdkarkruntime import Ark
    from volcenginesdkarkruntime._exceptions import (
        ArkAuthenticationError,
        ArkBadRequestError,
        ArkInternalServerError,
        ArkNotFoundError,
        ArkPermissionDeniedError,
    )
    from volcenginesdkarkruntime.types.images import SequentialImageGenerationOptions
except ImportError as error:
    sys.exit(f"the official client is missing ({error}): pip install volcengine-ark-runtime==5.0.54")

SEEDANCE = "doubao-seedance-1-5-pro-251215"
SEEDREAM = "doubao-seedream-4-0-250828"
DOUBAO = "doubao-seed-2-1-pro-260915"
TEXT = {"type": "text", "text": "a fox"}
PICTURE = "data:image/png;base64," + base64.b64encode(b"a picture").decode()


def control(base_url, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    url = base_url.removesuffix("/ark/api/v3") + "/_control/" + path
    with urllib.request.urlopen(urllib.request.Request(url, data=data)) as answer:
        return json.load(answer)


class Town(pydantic.BaseModel):
    name: str
    people: int
    rivers: list[str]


def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError("the call was not refused")


def ended(tasks, task_id):
    while True:
        task = tasks.get(task_id=task_id)
        if task.status not in ("queued", "running"):
            return task
        time.sleep(0.01)


def film(client, _):
    tasks = client.content_generation.tasks
    frame = {"type": "image_url", "image_url": {"url": PICTURE}, "role": "first_frame"}
    made = tasks.create(
        model=SEEDANCE, content=[TEXT, frame], resolution="480p", ratio="9:16", duration=4, seed=7, generate_audio=False,
        safety_identifier="me",
    )
    assert made.id.startswith("cgt-") and made.safety_identifier == "me", made
    task = ended(tasks, made.id)
    assert (task.status, task.model, task.error) == ("succeeded", SEEDANCE, None), task
    assert (task.resolution, task.ratio, task.duration, task.framespersecond) == ("480p", "9:16", 4, 24), task
    assert (task.seed, task.generate_audio, task.safety_identifier) == (7, False, "me"), task
    assert task.usage.completion_tokens == 97 * 864 * 496 // 1024, task.usage
    assert urllib.request.urlopen(task.content.video_url).read()[4:8] == b"ftyp"


def failed_film(client, base_url):
    code = "InputImageSensitiveContentDetected.PrivacyInformation"
    control(base_url, "faults", {"faults": [f'create:prompt=[bad]:failed="{code}: a face"']})
    tasks = client.content_generation.tasks
    task = ended(tasks, tasks.create(model=SEEDANCE, content=[{"type": "text", "text": "a [bad] fox"}]).id)
    assert (task.status, task.error.code, task.error.message) == ("failed", code, "a face"), task
    control(base_url, "faults", {"faults": []})


def lists(client, _):
    tasks = client.content_generation.tasks
    made = [tasks.create(model=SEEDANCE, content=[TEXT]).id for _ in range(3)]
    for task_id in made:
        ended(tasks, task_id)
    page = tasks.list(page_num=1, page_size=2, model=SEEDANCE)
    assert page.total >= 3 and [task.id for task in page.items] == made[:0:-1], page
    [one] = tasks.list(task_ids=[made[0]]).items
    assert one.id == made[0]
    assert tasks.list(status="queued").total == 0


def deletes(client, base_url):
    tasks = client.content_generation.tasks
    control(base_url, "faults", {"faults": ["create:nth=1:stuck=starting", "create:nth=2:stuck=processing"]})
    waiting, working, done = [tasks.create(model=SEEDANCE, content=[TEXT]).id for _ in range(3)]
    tasks.delete(task_id=waiting)
    assert tasks.get(task_id=waiting).status == "cancelled"
    while tasks.get(task_id=working).status == "queued":
        time.sleep(0.01)
    refused(ArkPermissionDeniedError, lambda: tasks.delete(task_id=working))
    ended(tasks, done)
    tasks.delete(task_id=done)
    assert "not" in str(refused(ArkNotFoundError, lambda: tasks.get(task_id=done)))
    control(base_url, "faults", {"faults": []})


def pictures(client, _):
    made = client.images.generate(model=SEEDREAM, prompt="a lamp", size="2048x1024", watermark=False)
    [picture] = made.data
    assert (made.model, picture.size, made.usage.generated_images) == (SEEDREAM, "2048x1024", 1), made
    assert made.usage.output_tokens == 2048 * 1024 // 256
    assert urllib.request.urlopen(picture.url).read()[:3] == b"\xff\xd8\xff"
    series = client.images.generate(
        model=SEEDREAM,
        prompt="three lamps",
        image=[PICTURE],
        response_format="b64_json",
        sequential_image_generation="auto",
        sequential_image_generation_options=SequentialImageGenerationOptions(max_images=3),
    )
    assert len(series.data) == 3 and base64.b64decode(series.data[2].b64_json)[:3] == b"\xff\xd8\xff"


def refusals(client, base_url):
    create = client.content_generation.tasks.create
    error = refused(ArkBadRequestError, lambda: create(model=SEEDANCE, content=[TEXT], ratio="5:4"))
    assert (error.code, error.param) == ("InvalidParameter", "ratio"), error
    mixed = [
        TEXT,
        {"type": "image_url", "image_url": {"url": PICTURE}, "role": "first_frame"},
        {"type": "image_url", "image_url": {"url": PICTURE}, "role": "reference_image"},
    ]
    assert refused(ArkBadRequestError, lambda: create(model=SEEDANCE, content=mixed)).param == "content"
    error = refused(ArkNotFoundError, lambda: client.images.generate(model="nobody", prompt="a lamp"))
    assert error.code == "InvalidEndpointOrModel.NotFound"
    stranger = {"Authorization": "Basic eDp5"}
    refused(ArkAuthenticationError, lambda: client.content_generation.tasks.list(extra_headers=stranger))
    control(base_url, "faults", {"faults": ["get:status=500"]})
    before = control(base_url, "counts")["ark"]["gets"]
    refused(ArkInternalServerError, lambda: client.content_generation.tasks.get(task_id="cgt-1"))
    assert control(base_url, "counts")["ark"]["gets"] - before == 3
    control(base_url, "faults", {"faults": []})


def chat(client, base_url):
    asked = [{"role": "user", "content": "hi there"}]
    made = client.chat.completions.create(model=DOUBAO, messages=asked, extra_body={"thinking": {"type": "enabled"}})
    assert made.choices[0].message.content == "You said: hi there"
    assert made.choices[0].message.reasoning_content == "Let me think about it."
    assert made.usage.completion_tokens_details.reasoning_tokens == 5
    stream = client.chat.completions.create(
        model=DOUBAO, messages=asked, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == "You said: hi there" and chunks[-1].usage.total_tokens == 6
    weather = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    made = client.chat.completions.create(
        model=DOUBAO,
        messages=asked,
        tools=[{"type": "function", "function": weather}],
        tool_choice={"type": "function", "function": {"name": "weather"}},
    )
    [call] = made.choices[0].message.tool_calls
    assert call.function.name == "weather" and json.loads(call.function.arguments) == {"city": "text"}
    refused(ArkBadRequestError, lambda: client.chat.completions.create(model=DOUBAO, messages=[]))


def chat_in_every_form(client, base_url):
    create = client.chat.completions.create

    def asked(content):
        return [{"role": "user", "content": content}]

    parts = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}]
    assert create(model=DOUBAO, messages=asked(parts)).choices[0].message.content == "You said: what is this?"
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"], "additionalProperties": False}
    described = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema, "strict": True}}
    made = create(model=DOUBAO, messages=asked("Bonn"), response_format=described)
    assert json.loads(made.choices[0].message.content) == {"n": 3}, made
    made = client.beta.chat.completions.parse(model=DOUBAO, messages=asked("Bonn"), response_format=Town)
    assert isinstance(made.choices[0].message.parsed, Town), made
    chunks = create(model=DOUBAO, messages=asked("hi"), stream=True, thinking={"type": "enabled"})
    thoughts = "".join(choice.delta.reasoning_content or "" for chunk in chunks for choice in chunk.choices)
    assert thoughts == "Let me think about it.", thoughts
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
    chunks = create(model=DOUBAO, messages=asked("[tool]"), tools=tools, stream=True)
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
    assert calls[0].function.name == "weather" and calls[0].id, calls
    assert "".join(call.function.arguments for call in calls) == "{}", calls
    said = create(model=DOUBAO, messages=asked("[tool]"), tools=tools).choices[0].message
    answer = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "rain"}
    made = create(model=DOUBAO, messages=[*asked("[tool]"), said.model_dump(exclude_none=True), answer], tools=tools)
    assert made.choices[0].message.content == "The tool said: rain", made
    assert create(model=DOUBAO, messages=asked("a b c"), max_tokens=1).choices[0].finish_reason == "length"
    assert create(model=DOUBAO, messages=asked("[filter]")).choices[0].finish_reason == "content_filter"


def main(base_url):
    client = Ark(base_url=base_url, api_key="simulated")
    for topic in [film, failed_film, lists, deletes, pictures, chat, chat_in_every_form, refusals]:
        topic(client, base_url)
        print(f"ok {topic.__name__}")


main(sys.argv[1])
