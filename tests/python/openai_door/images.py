"""Images: made, edited, streamed, refused, and paid for once."""

import asyncio
import base64
import hashlib
import threading
import time
import urllib.request

import openai
from run import refused

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MAGIC = b"\x89PNG"


def decoded(image):
    assert image.url is None, image
    return base64.b64decode(image.b64_json)


def in_base64(it):
    made = it.client.images.generate(model="gpt-image-2", prompt="a fox", size="1024x1536", quality="high", n=2)
    assert len(made.data) == 2 and all(decoded(image)[:4] == MAGIC for image in made.data), made
    assert made.created > 1_700_000_000 and (made.output_format, made.quality) == ("png", "high"), made
    body = it.jobs()[-1]["body"]
    assert (body["n"], body["size"], body["quality"]) == (2, "1024x1536", "high"), body


def by_url(it):
    made = it.client.images.generate(model="gpt-image-2", prompt="a hare", response_format="url")
    assert made.data[0].b64_json is None
    with urllib.request.urlopen(made.data[0].url) as answer:
        assert answer.headers["content-type"] == "image/png" and answer.read()[:4] == MAGIC


def the_answer_says_which_generation_it_is(it):
    raw = it.client.images.with_raw_response.generate(model="gpt-image-2", prompt="a badger")
    assert raw.headers["x-filmgate-generation"].startswith("generations/"), raw.headers
    assert decoded(raw.parse().data[0])[:4] == MAGIC


def extensions_come_through(it):
    extra = {"labels": {"team": "x"}, "mode": "adapt", "seed": 7, "max_duration": 600, "provider_options": {"moderation": "low"}}
    made = it.client.images.generate(model="gpt-image-2", prompt="an otter", user="ada", extra_body=extra)
    assert len(made.data) == 1 and it.jobs()[-1]["body"]["moderation"] == "low"


def streamed(it):
    events = list(it.client.images.generate(model="gpt-image-2", prompt="a stoat", stream=True, partial_images=1))
    assert [event.type for event in events] == ["image_generation.completed"], events
    assert base64.b64decode(events[0].b64_json)[:4] == MAGIC and events[0].usage.total_tokens == 0


def edited_from_one_file(it):
    made = it.client.images.edit(model="gpt-image-2", image=("a.png", PNG, "image/png"), prompt="at night", size="1024x1024")
    assert decoded(made.data[0])[:4] == MAGIC
    job = it.jobs()[-1]
    assert job["path"] == "/images/edits" and job["body"]["image"]["sha256"] == hashlib.sha256(PNG).hexdigest(), job


def edited_from_several_files_with_a_mask(it):
    files = [("a.png", PNG, "image/png"), ("b.png", PNG + b"\0", "image/png")]
    made = it.client.images.edit(model="gpt-image-2", image=files, mask=("m.png", PNG, "image/png"), prompt="both", n=2)
    assert len(made.data) == 2
    body = it.jobs()[-1]["body"]
    sent = [file["sha256"] for file in body["image[]"]]
    assert sent == [hashlib.sha256(file[1]).hexdigest() for file in files], body
    assert body["mask"]["size"] == len(PNG), body


def a_streamed_edit(it):
    image = ("a.png", PNG, "image/png")
    events = list(it.client.images.edit(model="gpt-image-2", image=image, prompt="at dawn", stream=True))
    assert [event.type for event in events] == ["image_edit.completed"], events


def as_programs_for_dall_e_have_it(it):
    image = it.client.images.generate(model="dall-e-3", prompt="a marten").data[0]
    assert image.url.startswith("http") and image.b64_json is None, image
    image = it.client.images.generate(model="dall-e-3", prompt="a marten", response_format="b64_json").data[0]
    assert image.b64_json and image.url is None, image


def refusals(it):
    generate = it.client.images.generate
    error = refused(openai.BadRequestError, lambda: generate(model="gpt-image-2", prompt="x", size="1000x1000"))
    assert (error.param, error.code, error.type) == ("size", "invalid_value", "invalid_request_error"), error.body
    error = refused(openai.BadRequestError, lambda: generate(model="gpt-image-2", prompt="x", extra_body={"colour": 1}))
    assert (error.param, error.code) == ("colour", "unknown_parameter"), error.body
    error = refused(openai.NotFoundError, lambda: generate(model="dall-e-9", prompt="x"))
    assert error.code == "model_not_found", error.body
    it.faults('create:failed="moderation_blocked: it was refused"')
    error = refused(openai.BadRequestError, lambda: generate(model="gpt-image-2", prompt="a shrew"))
    assert error.code == "moderation_blocked", error.body
    stream = generate(model="gpt-image-2", prompt="a vole", stream=True)
    error = refused(openai.APIError, lambda: list(stream))
    assert error.code == "moderation_blocked", error.body


def unknown_ends_are_not_bought_again(it):
    client = openai.OpenAI(base_url=it.base_url, api_key="sk-any", max_retries=2)
    it.faults("create:drop,effect=after")
    n_before = len(it.jobs())
    for _ in range(2):
        error = refused(
            openai.InternalServerError, lambda: client.images.generate(model="gpt-image-2", prompt="paid for once")
        )
        assert error.code == "unresolved" and "generations/" in error.message, error.body
    assert len(it.jobs()) == n_before + 1


def a_call_that_takes_too_long_is_repeated_for_free(it):
    it.faults("create:prompt=[held]:hold")
    n_before = len(it.jobs())
    threading.Thread(target=let_go, args=(it, "[held]", 1.5)).start()
    client = openai.OpenAI(base_url=it.base_url, api_key="sk-any", max_retries=5, timeout=1)
    made = client.images.generate(model="gpt-image-2", prompt="a [held] fox")
    assert decoded(made.data[0])[:4] == MAGIC and len(it.jobs()) == n_before + 1


def let_go(it, prompt, wait):
    """After the client has given up its first try."""
    while not any(prompt in job["body"]["prompt"] for job in it.jobs()):
        time.sleep(0.02)
    time.sleep(wait)
    it.release(prompt)


def the_asynchronous_client(it):
    async def run():
        async with openai.AsyncOpenAI(base_url=it.base_url, api_key="sk-any", max_retries=0) as client:
            orders = (client.images.generate(model="gpt-image-2", prompt=f"owl {number}") for number in range(3))
            assert all(decoded(made.data[0])[:4] == MAGIC for made in await asyncio.gather(*orders))

    asyncio.run(run())


CASES = [
    in_base64,
    by_url,
    the_answer_says_which_generation_it_is,
    extensions_come_through,
    streamed,
    edited_from_one_file,
    edited_from_several_files_with_a_mask,
    a_streamed_edit,
    as_programs_for_dall_e_have_it,
    refusals,
    unknown_ends_are_not_bought_again,
    a_call_that_takes_too_long_is_repeated_for_free,
    the_asynchronous_client,
]
