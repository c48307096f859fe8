"""Downloads that break and uploads that are repeated."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from scripted import ScriptedServer, draining
from snapshots import artifact, chunk, facts, ordered

from filmgate import Client, DownloadCorrupt, Unavailable
from filmgate.v1.artifact_service_pb2 import CreateArtifactLinkResponse, UploadArtifactResponse

FILM = b"0123456789"


def test_a_broken_download_goes_on_where_it_stopped(server: ScriptedServer, client: Client, tmp_path: Path) -> None:
    server.on("GenerateVideo", ordered("SUCCEEDED", artifacts=[artifact(FILM)]))
    server.on(
        "DownloadArtifact",
        [facts(artifact(FILM)), chunk(0, FILM[:4]), draining()],
        [draining()],
        [facts(artifact(FILM)), chunk(4, FILM[4:7])],
        [facts(artifact(FILM)), chunk(7, FILM[7:])],
    )
    path = tmp_path / "film.mp4"
    stored = client.generate_video("a lighthouse").download_to(path)
    assert path.read_bytes() == FILM
    assert stored.sha256 == hashlib.sha256(FILM).hexdigest()
    assert [request.read_offset for request in server.requests("DownloadArtifact")] == [0, 4, 4, 7]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([facts(artifact(FILM)), chunk(0, b"9876543210")], id="other bytes"),
        pytest.param([facts(artifact(FILM)), chunk(3, FILM[3:])], id="a gap"),
        pytest.param([facts(artifact(FILM)), chunk(0, FILM + b"more")], id="too many bytes"),
        pytest.param([chunk(0, FILM)], id="no facts"),
    ],
)
def test_wrong_bytes_never_reach_the_path(server: ScriptedServer, client: Client, tmp_path: Path, answer: list[object]) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"the older one")
    server.on("DownloadArtifact", answer)
    with pytest.raises(DownloadCorrupt):
        client.download("artifacts/0193-0", path)
    assert path.read_bytes() == b"the older one"
    assert list(tmp_path.iterdir()) == [path]


def test_an_artifact_that_changes_between_two_attachments_is_corrupt(server: ScriptedServer, client: Client, tmp_path: Path) -> None:
    server.on("DownloadArtifact", [facts(artifact(FILM)), chunk(0, FILM[:4])], [facts(artifact(b"other film"))])
    with pytest.raises(DownloadCorrupt, match="changed"):
        client.download("artifacts/0193-0", tmp_path / "film.mp4")


def test_a_download_without_any_bytes_is_given_up(server: ScriptedServer, tmp_path: Path) -> None:
    server.on("DownloadArtifact", *[[facts(artifact(FILM))] for _ in range(50)])
    with Client(server.target, reconnect_for=0.5) as client, pytest.raises(Unavailable):
        client.download("artifacts/0193-0", tmp_path / "film.mp4")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_not_there_is_an_index_error(server: ScriptedServer, client: Client, tmp_path: Path) -> None:
    server.on("GenerateVideo", ordered("SUCCEEDED", artifacts=[artifact(FILM)]))
    with pytest.raises(IndexError, match="has 1 outputs, there is no number 1"):
        client.generate_video("a lighthouse").download_to(tmp_path / "film.mp4", index=1)


def test_a_link_is_for_a_name_or_an_artifact_and_for_a_while(server: ScriptedServer, client: Client) -> None:
    server.on("CreateArtifactLink", *[CreateArtifactLinkResponse(url="https://films/x?signature=y")] * 2)
    assert client.link("artifacts/0193-0", ttl=90, file_name="fox.mp4") == "https://films/x?signature=y"
    client.link(artifact(FILM))
    asked, plain = server.requests("CreateArtifactLink")
    assert (asked.name, asked.ttl.seconds, asked.file_name) == ("artifacts/0193-0", 90, "fox.mp4")
    assert plain.name == artifact(FILM).name and not plain.HasField("ttl")


def test_an_upload_sends_its_hash_first_and_is_repeated_whole(server: ScriptedServer, client: Client, tmp_path: Path) -> None:
    data = b"x" * (1024 * 1024 + 1)
    path = tmp_path / "frame.png"
    path.write_bytes(data)
    server.on("UploadArtifact", draining(), UploadArtifactResponse(artifact=artifact(data)))
    assert client.upload(path, media_type="image/png").size_bytes == len(data)
    for parts in server.requests("UploadArtifact"):
        assert parts[0].header.sha256 == hashlib.sha256(data).hexdigest()
        assert parts[0].header.media_type == "image/png"
        assert [len(part.data) for part in parts[1:]] == [1024 * 1024, 1]
    assert len(server.requests("UploadArtifact")) == 2
