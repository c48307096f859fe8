"""Conversations: whole and streamed, with tools, schemas, pictures, and what goes wrong."""

import asyncio
import json
import time

import openai
import pydantic
from run import refused

MODEL = "gpt-5.4-mini"
# Of before `max_completion_tokens`, as which the server under test passes no limit on.
OLDER = "openai/gpt-4o-mini"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "What the weather is like",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["town", "days"],
            "additionalProperties": False,
        },
    },
}


def user(content):
    return [{"role": "user", "content": content}]


def sent(it):
    """What the vendor was sent last."""
    return it.control("chats")["openai"][-1]["body"]


def whole(it):
    answer = it.client.chat.completions.create(
        model=MODEL, messages=[{"role": "developer", "content": "Be brief."}, *user("Hello there")], temperature=0.5
    )
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("You said: Hello there", "stop"), answer
    assert answer.id.startswith("chatcmpl-") and answer.object == "chat.completion", answer
    assert answer.model == f"openai/{MODEL}" and answer.created > 1_700_000_000, answer
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0, answer
    body = sent(it)
    assert (body["temperature"], body["messages"][0]) == (0.5, {"role": "system", "content": "Be brief."}), body


def every_key_is_there(it):
    raw = it.client.chat.completions.with_raw_response.create(model=MODEL, messages=user("Hi"))
    answer = raw.http_response.json()
    assert set(answer) >= {"id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint"}, answer
    assert set(answer["choices"][0]) == {"index", "message", "logprobs", "finish_reason"}, answer
    message = {"role": "assistant", "content": "You said: Hi", "refusal": None, "annotations": []}
    assert answer["choices"][0]["message"] == message, answer
    assert int(raw.headers["x-filmgate-cost-micro-usd"]) > 0 and raw.headers["x-request-id"], raw.headers
    assert raw.parse()._request_id == raw.headers["x-request-id"]


def streamed(it):
    chunks = list(it.client.chat.completions.create(model=MODEL, messages=user("one two three"), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: one two three", chunks
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].choices[0].finish_reason == "stop", chunks
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1, chunks
    assert len(chunks) > 4 and all(chunk.usage is None for chunk in chunks), chunks


def streamed_with_usage(it):
    options = {"include_usage": True}
    chunks = list(it.client.chat.completions.create(model=MODEL, messages=user("Hi"), stream=True, stream_options=options))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks[:-1]), chunks
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0, chunks[-1]
    assert chunks[-1].model_extra["filmgate"]["cost_micro_usd"] > 0, chunks[-1]


def asynchronously(it):
    async def talk():
        async with openai.AsyncOpenAI(base_url=it.base_url, api_key="sk-any", max_retries=0) as client:
            answers = [client.chat.completions.create(model=MODEL, messages=user(f"number {n}")) for n in range(8)]
            said = [answer.choices[0].message.content for answer in await asyncio.gather(*answers)]
            stream = await client.chat.completions.create(model=MODEL, messages=user("Hi"), stream=True)
            return said, "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    said, text = asyncio.run(talk())
    assert said == [f"You said: number {n}" for n in range(8)] and text == "You said: Hi", (said, text)


def the_helper_for_streams(it):
    with it.client.chat.completions.stream(model=MODEL, messages=user("think a bit")) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= set(kinds), kinds
    assert final.choices[0].message.content == "You said: think a bit", final


def tools_there_and_back(it):
    messages = user("What is it like in Bonn? [tool]")
    answer = it.client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL], tool_choice="auto")
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None, answer
    call = choice.message.tool_calls[0]
    assert call.function.name == "weather" and set(json.loads(call.function.arguments)) == {"town", "days"}, call
    messages += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    answer = it.client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
    assert answer.choices[0].message.content == "The tool said: rain", answer
    body = sent(it)
    assert body["tools"] == [TOOL] and body["messages"][1]["tool_calls"][0]["id"] == call.id, body


def streamed_tools(it):
    tools = [TOOL, {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}]
    calls = {}
    stream = it.client.chat.completions.create(model=MODEL, messages=user("[tools]"), tools=tools, stream=True)
    for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or []:
            known = calls.setdefault(call.index, {"id": "", "name": "", "arguments": ""})
            known["id"] += call.id or ""
            known["name"] += call.function.name or ""
            known["arguments"] += call.function.arguments or ""
        last = chunk.choices[0].finish_reason or ""
    assert last == "tool_calls" and [call["name"] for call in calls.values()] == ["weather", "time"], calls
    assert all(call["id"] and isinstance(json.loads(call["arguments"]), dict) for call in calls.values()), calls
    with it.client.chat.completions.stream(model=MODEL, messages=user("[tool]"), tools=[TOOL]) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.name == "weather", final


def the_old_way_of_functions(it):
    function = {"name": "time", "parameters": {"type": "object", "properties": {}}}
    answer = it.client.chat.completions.create(model=MODEL, messages=user("[tool]"), functions=[function])
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.function_call.name) == ("function_call", "time"), answer
    messages = [*user("[tool]"), choice.message, {"role": "function", "name": "time", "content": "noon"}]
    answer = it.client.chat.completions.create(model=MODEL, messages=messages, functions=[function])
    assert answer.choices[0].message.content == "The tool said: noon", answer


class Town(pydantic.BaseModel):
    name: str
    people: int
    rivers: list[str]


def parsed(it):
    parse = getattr(it.client.chat.completions, "parse", None) or it.client.beta.chat.completions.parse
    answer = parse(model=MODEL, messages=user("Tell me of Bonn"), response_format=Town)
    assert isinstance(answer.choices[0].message.parsed, Town), answer
    asked = sent(it)["response_format"]
    assert asked["json_schema"]["strict"] is True and set(asked["json_schema"]["schema"]["properties"]) == {"name", "people", "rivers"}, asked
    refused_one = parse(model=MODEL, messages=user("[refuse]"), response_format=Town).choices[0].message
    assert refused_one.refusal and refused_one.content is None and refused_one.parsed is None, refused_one
    with it.client.chat.completions.stream(model=MODEL, messages=user("Tell me"), response_format=Town) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Town)


def pictures(it):
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    it.client.chat.completions.create(model=MODEL, messages=user(parts))
    urls = [part["image_url"] for part in sent(it)["messages"][0]["content"][1:]]
    assert urls[0] == {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}, urls
    assert urls[1]["url"] == "https://example.com/a.png", urls


def several_answers_and_their_odds(it):
    answer = it.client.chat.completions.create(model=MODEL, messages=user("Hi"), n=2, logprobs=True, user="ann", metadata={"team": "a"})
    assert [choice.index for choice in answer.choices] == [0, 1], answer
    assert [token.token for token in answer.choices[1].logprobs.content] == ["You", " said:", " Hi"], answer
    body = sent(it)
    assert (body["n"], body["user"], body["logprobs"]) == (2, "ann", True) and "metadata" not in body, body
    chunks = it.client.chat.completions.create(model=MODEL, messages=user("Hi"), n=2, logprobs=True, stream=True)
    texts = {0: "", 1: ""}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: "You said: Hi", 1: "You said: Hi"}, texts


def other_ends(it):
    create = it.client.chat.completions.create
    assert create(model=OLDER, messages=user("a b c d"), max_tokens=2).choices[0].finish_reason == "length"
    assert create(model=MODEL, messages=user("[filter]")).choices[0].finish_reason == "content_filter"
    thoughts = create(model=MODEL, messages=user("[think]")).choices[0].message
    assert thoughts.model_extra["reasoning_content"] == "Let me think about it.", thoughts


def sessions(it):
    extra = {"session": f"sessions/talk-{time.time_ns()}"}
    it.client.chat.completions.create(model=MODEL, messages=user("My name is Ann"), extra_body=extra)
    it.client.chat.completions.create(model=MODEL, messages=user("Who am I?"), extra_body=extra)
    said = [message["content"] for message in sent(it)["messages"]]
    assert said == ["My name is Ann", "You said: My name is Ann", "Who am I?"], said


def what_is_wrong(it):
    create = it.client.chat.completions.create
    for arguments, kind, param, code in (
        ({"temperature": 3}, openai.BadRequestError, "temperature", "invalid_value"),
        ({"messages": []}, openai.BadRequestError, "messages", "invalid_value"),
        ({"messages": user([{"type": "input_audio", "input_audio": {}}])}, openai.BadRequestError, "messages[0].content[0]", "unsupported_value"),
        ({"max_completion_tokens": 0}, openai.BadRequestError, "max_completion_tokens", "invalid_value"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, openai.BadRequestError, "tools[0].function.name", "invalid_value"),
        ({"tool_choice": "required"}, openai.BadRequestError, "tool_choice", "invalid_value"),
        ({"metadata": {"Team": "a"}}, openai.BadRequestError, None, "invalid_value"),
        ({"model": "no-such-model"}, openai.NotFoundError, "model", "model_not_found"),
        ({"model": "sora-2"}, openai.NotFoundError, "model", "model_not_found"),
    ):
        for stream in (False, True):
            error = refused(kind, lambda: create(**{"model": MODEL, "messages": user("Hi"), "stream": stream, **arguments}))
            assert error.code == code and (param is None or error.param == param), (arguments, error.body)
            assert set(error.body) == {"message", "type", "param", "code"}, error.body
    error = refused(openai.NotFoundError, lambda: create(model="sora-2", messages=user("Hi")))
    assert "makes video" in error.message and MODEL in error.message, error.message


def the_vendor_fails(it):
    create = it.client.chat.completions.create
    for status, kind in ((400, openai.BadRequestError), (401, openai.InternalServerError), (500, openai.InternalServerError)):
        it.faults(f"chat:status={status}")
        refused(kind, lambda: create(model=MODEL, messages=user("Hi")))
        refused(kind, lambda: create(model=MODEL, messages=user("Hi"), stream=True))
    it.faults("chat:pace=100ms", "chat:cut=4")
    stream = create(model=MODEL, messages=user("one two three four five"), stream=True)
    error = refused(openai.APIError, lambda: list(stream))
    assert error.body["message"] and error.code, error.body


def the_client_tries_again(it):
    it.faults("chat:first=1:status=429,retry_after=1")
    create = it.client.chat.completions.create
    error = refused(openai.RateLimitError, lambda: create(model=MODEL, messages=user("Hi")))
    assert (error.type, error.code) == ("requests", "rate_limit_exceeded"), error.body
    assert error.response.headers["retry-after"] == "1", error.response.headers
    client = openai.OpenAI(base_url=it.base_url, api_key="sk-any", max_retries=2)
    answer = client.chat.completions.create(model=MODEL, messages=user("Hi again"))
    assert answer.choices[0].message.content == "You said: Hi again", answer


CASES = [
    whole,
    every_key_is_there,
    streamed,
    streamed_with_usage,
    asynchronously,
    the_helper_for_streams,
    tools_there_and_back,
    streamed_tools,
    the_old_way_of_functions,
    parsed,
    pictures,
    several_answers_and_their_odds,
    other_ends,
    sessions,
    what_is_wrong,
    the_vendor_fails,
    the_client_tries_again,
]
