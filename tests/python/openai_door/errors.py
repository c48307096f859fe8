"""Refusals as the client's typed exceptions, and models. The server takes one unfinished order at a time, and its sample has no files."""

import time

import openai
from run import refused


def wrong_values(it):
    create = it.client.videos.create
    for arguments, param, code in (
        ({"prompt": "x", "seconds": "5"}, "seconds", "invalid_value"),
        ({"prompt": "x", "size": "1x1"}, "size", "invalid_value"),
        ({"prompt": "x", "size": "large"}, "size", "invalid_value"),
        ({"prompt": " "}, "prompt", "invalid_value"),
    ):
        error = refused(openai.BadRequestError, lambda: create(model="sora-2", **arguments))
        assert (error.param, error.code, error.type) == (param, code, "invalid_request_error"), error.body
        assert error.status_code == 400 and set(error.body) == {"message", "type", "param", "code"}, error.body
    error = refused(openai.BadRequestError, lambda: it.client.post("/videos", body={"prompt": 5}, cast_to=object))
    assert (error.param, error.code) == ("prompt", "invalid_type"), error.body
    error = refused(openai.BadRequestError, lambda: it.client.post("/videos", body={"model": "sora-2"}, cast_to=object))
    assert (error.param, error.code) == ("prompt", "missing_required_parameter"), error.body


def nothing_there(it):
    error = refused(openai.NotFoundError, lambda: it.client.videos.create(prompt="x", model="no-such-model"))
    assert (error.param, error.code) == ("model", "model_not_found"), error.body
    for id in ("video_none", "video_" + "0" * 32, "a/b"):
        assert refused(openai.NotFoundError, lambda: it.client.videos.retrieve(id)).code is not None
    error = refused(openai.NotFoundError, lambda: it.client.get("/no/such/path", cast_to=object))
    assert error.type == "invalid_request_error", error.body
    error = refused(openai.APIStatusError, lambda: it.client.put("/videos", body={}, cast_to=object))
    assert (error.status_code, error.code) == (405, "method_not_allowed"), error.body


def too_many(it):
    it.faults("create:prompt=[held]:hold")
    held = it.client.videos.create(prompt="a [held] fox", model="sora-2")
    error = refused(openai.RateLimitError, lambda: it.client.videos.create(prompt="one more", model="sora-2"))
    assert (error.type, error.code) == ("requests", "rate_limit_exceeded"), error.body
    assert 1 <= int(error.response.headers["retry-after"]) <= 60, error.response.headers
    it.release("a [held] fox")
    assert it.client.videos.poll(held.id, poll_interval_ms=50).status == "completed"


def the_client_waits_and_tries_again(it):
    it.faults("create:prompt=[held]:hold")
    held = it.client.videos.create(prompt="a second [held] fox", model="sora-2")
    started = time.monotonic()
    client = openai.OpenAI(base_url=it.base_url, api_key="sk-any", max_retries=1)
    refused(openai.RateLimitError, lambda: client.videos.create(prompt="one more", model="sora-2"))
    assert time.monotonic() - started >= 4, "it does not wait as long as it is told"
    it.release("a second [held] fox")
    assert it.client.videos.poll(held.id, poll_interval_ms=50).status == "completed"


def what_the_operator_must_mend(it):
    error = refused(openai.InternalServerError, lambda: it.client.videos.create(prompt="x", model="sample/video"))
    assert (error.status_code, error.code) == (503, "sample_missing"), error.body
    assert error.response.headers["x-should-retry"] == "false"
    error = refused(openai.BadRequestError, lambda: it.client.videos.create(prompt="x", model="fal/fal-ai/kling-video/v1.6/pro"))
    assert error.code == "provider_not_configured", error.body


def models(it):
    listed = {model.id: model for model in it.client.models.list()}
    sora = listed["openai/sora-2"]
    assert (sora.owned_by, sora.object, type(sora.created)) == ("openai", "model", int), sora
    assert not [id for id in listed if id.startswith("fal/")], "a provider without a key has no models"
    for id in ("openai/sora-2", "sora-2"):
        assert it.client.models.retrieve(id).id == "openai/sora-2"
    assert listed["openai/gpt-5.4-mini"].object == "model", "those that talk are models, too"
    assert len(listed) == len(it.client.models.list().data), "none is there twice"
    for id in ("openai/gpt-5.4-mini", "gpt-5.4-mini"):
        assert it.client.models.retrieve(id).id == "openai/gpt-5.4-mini"
    error = refused(openai.BadRequestError, lambda: it.client.videos.create(prompt="x", model="gpt-5.4-mini"))
    assert (error.param, error.code) == ("model", "invalid_value"), error.body
    for id in ("none/such", "none", "fal/fal-ai/kling-video/v1.6/pro"):
        error = refused(openai.NotFoundError, lambda: it.client.models.retrieve(id))
        assert (error.code, error.param) == ("model_not_found", "model"), error.body


CASES = [wrong_values, nothing_there, too_many, the_client_waits_and_tries_again, what_the_operator_must_mend, models]
