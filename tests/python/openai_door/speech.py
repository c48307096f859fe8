"""Speech: whole, to a file, in parts, and refused."""

import base64
import pathlib
import tempfile

import openai
from run import refused


def whole(it):
    made = it.client.audio.speech.create(model="gpt-4o-mini-tts", voice="coral", input="hello", instructions="softly", speed=1.25)
    content = made.read()
    assert made.response.headers["content-type"] == "audio/mpeg", made.response.headers
    assert int(made.response.headers["content-length"]) == len(content) > 0
    body = it.jobs()[-1]["body"]
    assert (body["voice"], body["speed"], body["instructions"]) == ("coral", 1.25, "softly"), body


def to_a_file(it):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "speech.wav"
        create = it.client.audio.speech.with_streaming_response.create
        with create(model="tts-1", voice="alloy", input="hello there", response_format="wav") as answer:
            assert "wav" in answer.headers["content-type"], answer.headers
            answer.stream_to_file(path)
        assert path.read_bytes()[:4] == b"RIFF"


def in_parts(it):
    create = it.client.audio.speech.with_streaming_response.create
    with create(model="tts-1", voice="alloy", input="in parts", stream_format="sse") as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert "speech.audio.delta" in lines[0] and "speech.audio.done" in lines[-1], lines
    audio = lines[0].split('"audio":"')[1].split('"')[0]
    assert base64.b64decode(audio)


def refusals(it):
    create = it.client.audio.speech.create
    error = refused(openai.BadRequestError, lambda: create(model="tts-1", voice="nobody", input="x"))
    assert (error.param, error.code) == ("voice", "invalid_value"), error.body
    error = refused(openai.BadRequestError, lambda: create(model="tts-1", voice="alloy", input="x", response_format="pcm"))
    assert error.param == "response_format" and "mp3" in error.message, error.body
    error = refused(openai.BadRequestError, lambda: create(model="tts-1", voice="alloy", input="x" * 4097))
    assert error.param == "input", error.body
    error = refused(openai.NotFoundError, lambda: create(model="none", voice="alloy", input="x"))
    assert error.code == "model_not_found", error.body


CASES = [whole, to_a_file, in_parts, refusals]
