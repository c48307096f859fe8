"""The README's snippets run as they stand, but for the address of the server."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from processes import Server, picture
from scripted import Refusal, ScriptedServer
from snapshots import NAME, artifact, chunk, facts, generation, ordered, watched

import filmgate
from filmgate.v1.artifact_service_pb2 import CreateArtifactLinkResponse, UploadArtifactResponse
from filmgate.v1.budget_pb2 import Budget, Usage
from filmgate.v1.budget_service_pb2 import GetUsageResponse
from filmgate.v1.generation_pb2 import Adjustment
from filmgate.v1.generation_service_pb2 import (
    GenerateImageResponse,
    GenerateMusicResponse,
    GenerateSpeechResponse,
    GenerateVideoResponse,
    GetGenerationResponse,
    ListGenerationsResponse,
)
from filmgate.v1.model_pb2 import Model
from filmgate.v1.model_service_pb2 import ListModelsResponse
from filmgate.v1.session_pb2 import Message
from filmgate.v1.session_service_pb2 import GetSessionHistoryResponse

README = Path(__file__).resolve().parent.parent / "README.md"
SECTIONS = [section.split("\n", 1) for section in README.read_text().split("\n## ")[1:]]
FOUND = [(title, code) for title, text in SECTIONS for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
SNIPPETS = pytest.mark.parametrize("snippet", [pytest.param(code, id=title) for title, code in FOUND])


def run(snippet: str, target: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = filmgate.Client
    monkeypatch.setattr(filmgate, "Client", lambda _: real(target))
    monkeypatch.chdir(folder)
    (folder / "frame.png").write_bytes(picture())
    exec(compile(snippet, str(README), "exec"), {})


def play(server: ScriptedServer) -> None:
    """One happy answer to everything that a snippet may ask."""
    film = artifact(b"film")
    change = Adjustment(field="options.duration", asked="5s", used="6s", why="the model knows 6 s")
    end = watched("SUCCEEDED", 3, artifacts=[film], adjustments=[change])
    server.on("GenerateVideo", ordered(), GenerateVideoResponse(generation=generation("SUCCEEDED", 3), replayed=True))
    server.on("WatchGeneration", [watched("RUNNING", 2, progress_percent=40), end])
    server.on("GetGeneration", GetGenerationResponse(generation=generation("RUNNING", 2)))
    made = generation("SUCCEEDED", 3, artifacts=[film])
    server.on("GenerateImage", GenerateImageResponse(generation=made))
    server.on("GenerateSpeech", GenerateSpeechResponse(generation=made))
    server.on("GenerateMusic", GenerateMusicResponse(generation=made))
    server.on("DownloadArtifact", *[[facts(film), chunk(0, b"film")]] * 3)
    server.on("UploadArtifact", UploadArtifactResponse(artifact=artifact(picture(), name="artifacts/frame")))
    server.on("CreateArtifactLink", CreateArtifactLinkResponse(url="https://films/fox?signature=x"))
    server.on("ListModels", ListModelsResponse(models=[Model(name="replicate/minimax/video-01")]))
    server.on(
        "GetUsage",
        GetUsageResponse(usage=[Usage(keys=["replicate/minimax/video-01", "2026-01-31"])]),
        GetUsageResponse(budgets=[Budget(name="company", limit_micro_usd=1_000_000)]),
    )
    server.on("ListGenerations", ListGenerationsResponse(generations=[generation("SUCCEEDED", 3, session="sessions/s")]))
    server.on("GetSessionHistory", GetSessionHistoryResponse(messages=[Message(text="a lighthouse", generation=NAME)]))


def test_every_section_with_code_was_found() -> None:
    assert len(FOUND) == README.read_text().count("```python") >= 5


@SNIPPETS
def test_a_snippet_runs_against_the_scripted_server(
    snippet: str, server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(server)
    run(snippet, server.target, tmp_path, monkeypatch)
    assert server.asked


def test_the_error_snippet_prints_what_is_wrong(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="prompt", description="is empty")
    server.on("GenerateVideo", Refusal(grpc.StatusCode.INVALID_ARGUMENT, "1 field is wrong", "INVALID_REQUEST", [bad]))
    run(dict(FOUND)["When it goes wrong"], server.target, tmp_path, monkeypatch)
    assert capsys.readouterr().out == "prompt: is empty\n"


@SNIPPETS
def test_a_snippet_runs_against_the_real_server(
    snippet: str, real_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(snippet, real_server.address, tmp_path, monkeypatch)
