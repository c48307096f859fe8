"""Drives Google's own Gen AI client against a server, as a user's program would.

Usage: google_sdk.py ROOT, the root of the simulator. Prints one line per topic; any difference from what the client should
see ends the program with a traceback.
"""

import json
import sys
import time
import urllib.parse
import urllib.request

import pydantic

try:
    from google import genai
    from google.genai import errors, types
    from google.oauth2.credentials import Credentials
except ImportError as error:
    sys.exit(f"the official client is missing ({error}): pip install google-genai==3.3.0")

VEO = "veo-3.1-fast-generate-001"
IMAGE = "gemini-3.1-flash-image"
OMNI = "gemini-omni-1.1-flash"
LANGUAGE = "gemini-3.7-flash"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def control(root, path, body):
    request = urllib.request.Request(f"{root}/_control/{path}", data=json.dumps(body).encode())
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def jobs(root, vendor):
    with urllib.request.urlopen(f"{root}/_control/jobs") as answer:
        return json.load(answer)[vendor]


def chats(root):
    with urllib.request.urlopen(f"{root}/_control/chats") as answer:
        return json.load(answer)["gemini"]


class Town(pydantic.BaseModel):
    name: str
    people: int
    rivers: list[str]


def refused(call):
    try:
        call()
    except errors.APIError as error:
        return error
    raise AssertionError("the call was not refused")


def finished(client, operation):
    for _ in range(500):
        if operation.done:
            return operation
        time.sleep(0.01)
        operation = client.operations.get(operation)
    raise AssertionError("the operation does not end")


def videos_within_the_answer(gemini, vertex, root):
    operation = vertex.models.generate_videos(
        model=VEO,
        prompt="a fox",
        image=types.Image(image_bytes=PNG, mime_type="image/png"),
        config=types.GenerateVideosConfig(
            number_of_videos=2, duration_seconds=6, aspect_ratio="9:16", generate_audio=True, seed=7
        ),
    )
    assert operation.name.startswith(f"projects/p1/locations/us-central1/publishers/google/models/{VEO}/operations/")
    assert not operation.done
    made = finished(vertex, operation).response.generated_videos
    assert len(made) == 2 and made[0].video.video_bytes[4:8] == b"ftyp", made
    assert made[0].video.mime_type == "video/mp4"
    [job] = jobs(root, "vertex")
    assert job["body"]["instances"][0]["image"]["mimeType"] == "image/png", job
    assert job["body"]["parameters"]["sampleCount"] == 2, job


def videos_in_a_bucket(gemini, vertex, root):
    config = types.GenerateVideosConfig(output_gcs_uri="gs://films/a/", last_frame=types.Image(gcs_uri="gs://films/l.png", mime_type="image/png"))
    image = types.Image(gcs_uri="gs://films/f.png", mime_type="image/png")
    operation = finished(vertex, vertex.models.generate_videos(model=VEO, prompt="a fox", image=image, config=config))
    [made] = operation.response.generated_videos
    assert made.video.uri.startswith("gs://films/a/") and made.video.uri.endswith("/sample_0.mp4"), made
    name = urllib.parse.quote(made.video.uri.removeprefix("gs://films/"), safe="")
    url = f"{root}/vertex/storage/v1/b/films/o/{name}?alt=media"
    request = urllib.request.Request(url, headers={"Authorization": "Bearer fake"})
    assert urllib.request.urlopen(request).read()[4:8] == b"ftyp"


def filtered_and_failed_videos(gemini, vertex, root):
    rules = [
        'create:prompt=[bad]:failed="This prompt may violate the guidelines. Support codes: 58061214"',
        'create:prompt=[ill]:failed="An internal issue."',
    ]
    control(root, "faults", {"faults": rules})
    ended = finished(vertex, vertex.models.generate_videos(model=VEO, prompt="a [bad] fox"))
    assert not ended.response.generated_videos and ended.response.rai_media_filtered_count == 1, ended
    assert "58061214" in ended.response.rai_media_filtered_reasons[0]
    ended = finished(vertex, vertex.models.generate_videos(model=VEO, prompt="an [ill] fox"))
    assert ended.error["code"] == 13 and ended.response is None, ended


def pictures(gemini, vertex, root):
    parts = ["a fox", types.Part.from_bytes(data=PNG, mime_type="image/png")]
    config = types.GenerateContentConfig(
        response_modalities=["IMAGE"], image_config=types.ImageConfig(aspect_ratio="16:9", image_size="2K")
    )
    answer = gemini.models.generate_content(model=IMAGE, contents=parts, config=config)
    pictures = [part.inline_data for part in answer.candidates[0].content.parts if part.inline_data]
    assert pictures[0].mime_type == "image/png" and pictures[0].data.startswith(b"\x89PNG")
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.candidates_token_count == 1290
    assert jobs(root, "gemini")[-1]["body"]["generationConfig"]["imageConfig"]["imageSize"] == "2K"


def blocked_pictures(gemini, vertex, root):
    rules = ["create:prompt=[bad]:failed=IMAGE_SAFETY", 'create:prompt=[worse]:failed="BLOCKED:PROHIBITED_CONTENT"']
    control(root, "faults", {"faults": rules})
    answer = gemini.models.generate_content(model=IMAGE, contents="a [bad] fox")
    assert answer.candidates[0].finish_reason == types.FinishReason.IMAGE_SAFETY
    answer = gemini.models.generate_content(model=IMAGE, contents="a [worse] fox")
    assert answer.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT and not answer.candidates


def interactions(gemini, vertex, root):
    made = gemini.interactions.create(
        model=OMNI, input="a fox", background=True, response_format={"type": "video", "delivery": "uri", "duration": "6s"}
    )
    assert made.id and made.status == "in_progress", made
    for _ in range(500):
        got = gemini.interactions.get(made.id)
        if got.status == "completed":
            break
        time.sleep(0.01)
    [step] = got.steps
    [video] = step.content
    request = urllib.request.Request(video.uri, headers={"x-goog-api-key": "simulated"})
    assert urllib.request.urlopen(request).read()[4:8] == b"ftyp"


def refusals(gemini, vertex, root):
    error = refused(lambda: vertex.models.generate_videos(model="no-such-model", prompt="a fox"))
    assert (error.code, error.status) == (404, "NOT_FOUND"), error
    error = refused(lambda: gemini.models.generate_content(model="no-such-model", contents="a fox"))
    assert (error.code, error.status) == (404, "NOT_FOUND"), error
    bad = types.GenerateVideosConfig(duration_seconds=20)
    error = refused(lambda: vertex.models.generate_videos(model=VEO, prompt="a fox", config=bad))
    assert (error.code, error.status) == (400, "INVALID_ARGUMENT") and "durationSeconds" in error.message, error
    control(root, "faults", {"faults": ["create:status=429,retry_after=3"]})
    error = refused(lambda: gemini.models.generate_content(model=IMAGE, contents="a fox"))
    assert (error.code, error.status) == (429, "RESOURCE_EXHAUSTED"), error
    assert error.details["error"]["details"][0]["retryDelay"] == "3s", error.details


def chat(gemini, vertex, root):
    made = gemini.models.generate_content(model=LANGUAGE, contents="hi there")
    assert made.text == "You said: hi there" and made.candidates[0].finish_reason == "STOP"
    assert (made.usage_metadata.prompt_token_count, made.usage_metadata.candidates_token_count) == (2, 4)
    parts = list(gemini.models.generate_content_stream(model=LANGUAGE, contents="hi there"))
    assert "".join(part.text or "" for part in parts) == "You said: hi there" and len(parts) == 5
    assert parts[-1].candidates[0].finish_reason == "STOP" and parts[-1].usage_metadata.candidates_token_count == 4
    config = types.GenerateContentConfig(
        response_mime_type="application/json",
        response_json_schema={"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}},
    )
    made = gemini.models.generate_content(model=LANGUAGE, contents="hi", config=config)
    assert json.loads(made.text) == {"n": 3}
    error = refused(
        lambda: gemini.models.generate_content(
            model=LANGUAGE, contents="hi", config=types.GenerateContentConfig(temperature=3)
        )
    )
    assert (error.code, error.status) == (400, "INVALID_ARGUMENT"), error


def chat_with_tools(gemini, vertex, root):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    weather = types.FunctionDeclaration(name="weather", parameters_json_schema=schema)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[weather])],
        tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY")),
    )
    made = gemini.models.generate_content(model=LANGUAGE, contents="how is the weather?", config=config)
    [call] = made.function_calls
    assert call.name == "weather" and call.args == {"city": "text"} and call.id
    answer = types.Part(
        function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": "sunny"})
    )
    contents = [
        types.Content(role="user", parts=[types.Part(text="how is the weather?")]),
        made.candidates[0].content,
        types.Content(role="user", parts=[answer]),
    ]
    config.tool_config = None
    parts = gemini.models.generate_content_stream(model=LANGUAGE, contents=contents, config=config)
    assert "".join(part.text or "" for part in parts) == "The tool said: sunny"


def chat_in_every_form(gemini, vertex, root):
    picture = types.Part.from_bytes(data=PNG, mime_type="image/png")
    made = gemini.models.generate_content(model=LANGUAGE, contents=["what is this?", picture])
    assert made.text == "You said: what is this?", made
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Town)
    made = gemini.models.generate_content(model=LANGUAGE, contents="Bonn", config=config)
    assert isinstance(made.parsed, Town), made
    parts = gemini.models.generate_content_stream(model=LANGUAGE, contents="Bonn", config=config)
    assert Town.model_validate_json("".join(part.text or "" for part in parts))
    thoughts = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    made = gemini.models.generate_content(model=LANGUAGE, contents="hi", config=thoughts)
    assert [bool(part.thought) for part in made.candidates[0].content.parts] == [True, False], made
    assert made.usage_metadata.thoughts_token_count == 5 and made.text == "You said: hi", made
    short = types.GenerateContentConfig(max_output_tokens=2, system_instruction="be brief")
    made = gemini.models.generate_content(model=LANGUAGE, contents="a b c d", config=short)
    assert made.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS, made
    made = gemini.models.generate_content(model=LANGUAGE, contents="[filter]")
    assert made.candidates[0].finish_reason == types.FinishReason.SAFETY and not made.text, made
    assert gemini.models.count_tokens(model=LANGUAGE, contents="one two three").total_tokens == 3
    talk = gemini.chats.create(model=LANGUAGE)
    talk.send_message("one")
    assert "".join(part.text or "" for part in talk.send_message_stream("two")) == "You said: two"
    asked = chats(root)[-1]["body"]["contents"]
    assert [turn["role"] for turn in asked] == ["user", "model", "user"], asked


def functions_of_the_program(gemini, vertex, root):
    def weather(city: str) -> str:
        """What the weather is like."""
        return "sunny in " + city

    made = gemini.chats.create(model=LANGUAGE, config=types.GenerateContentConfig(tools=[weather])).send_message("[tool]")
    assert made.text == "The tool said: sunny in text", made
    declared = types.FunctionDeclaration(
        name="weather", parameters=types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")})
    )
    by_hand = types.AutomaticFunctionCallingConfig(disable=True)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])], automatic_function_calling=by_hand
    )
    parts = gemini.models.generate_content_stream(model=LANGUAGE, contents="[tool]", config=config)
    assert [call.args for part in parts for call in part.function_calls or []] == [{"city": "text"}]


def main(root):
    gemini = genai.Client(api_key="simulated", http_options={"base_url": f"{root}/gemini"})
    vertex = genai.Client(
        vertexai=True,
        project="p1",
        location="us-central1",
        credentials=Credentials("fake"),
        http_options={"base_url": f"{root}/vertex"},
    )
    for topic in [
        videos_within_the_answer,
        videos_in_a_bucket,
        filtered_and_failed_videos,
        pictures,
        blocked_pictures,
        interactions,
        refusals,
        chat,
        chat_with_tools,
        chat_in_every_form,
        functions_of_the_program,
    ]:
        control(root, "faults", {"faults": []})
        topic(gemini, vertex, root)
        print(f"ok {topic.__name__}")


main(sys.argv[1])
