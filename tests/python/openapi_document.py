"""Checks the server's /openapi.json: openapi_document.py BASE_URL

The document is valid OpenAPI 3.1, and each operation, called once with what is there and once with nothing, answers with a status and a body that
the document describes.
"""

import json
import sys
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

BASE = sys.argv[1]
# What an operation needs to succeed, where an empty body does not do.
BODIES = {
    "EstimateCost": {"orders": [{"image": {"prompt": "a fox"}, "count": 2}]},
    "GenerateVideo": {"prompt": "a fox", "labels": {"a": "b"}},
    "GenerateImage": {"prompt": "a fox"},
    "GenerateSpeech": {"prompt": "a fox"},
    "GenerateMusic": {"prompt": "a fox"},
    "CreateArtifactLink": {"ttl": "60s"},
}
METHODS = ("get", "post", "put", "patch", "delete")


def ask(method: str, path: str, body: object = None) -> tuple[int, str, bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data=data, method=method.upper())
    if data is not None:
        request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read()


def resolve(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        target: Any = document
        for key in part["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        part = target
    return part


def check(document: dict[str, Any], operation: dict[str, Any], status: int, kind: str, body: bytes) -> None:
    name = operation["operationId"]
    responses = operation["responses"]
    assert str(status) in responses, f"{name}: {status} is not described: {body[:300]!r}"
    content = resolve(document, responses[str(status)]).get("content", {})
    matches = [entry for entry in content if entry == kind or entry.endswith("/*") and kind.startswith(entry[:-1])]
    assert matches or not body, f"{name}: {status} as {kind} is not described"
    if kind != "application/json":
        return
    schema = {**content[matches[0]]["schema"], "components": document["components"]}
    errors = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(json.loads(body))]
    assert not errors, f"{name}: {errors}"


def main() -> None:
    status, _, text = ask("get", "/openapi.json")
    assert status == 200
    document = json.loads(text)
    validate(document)

    generation = json.loads(ask("get", "/api/v1/generations")[2])["generations"][0]
    known = {
        "generation": generation["name"],
        "artifact": generation["artifacts"][0]["name"],
        "session": generation["session"],
        "name": "models/" + generation["model"],
    }
    succeeded = set()
    operations = [
        (path, method, item[method]) for path, item in document["paths"].items() for method in METHODS if method in item
    ]
    # Deleting comes last.
    for path, method, operation in sorted(operations, key=lambda one: one[1] == "delete"):
        there, missing = path, path
        for name, value in known.items():
            there = there.replace(f"{{{name}}}", quote(value.split("/", 1)[1], safe=""))
            missing = missing.replace(f"{{{name}}}", "nobody")
        name = operation["operationId"]
        needs_body = "requestBody" in operation
        for target, body in [(missing, {}), (there, BODIES.get(name, {}))]:
            status, kind, answer = ask(method, target, body if needs_body else None)
            assert status < 500, f"{name}: {status} {answer!r}"
            check(document, operation, status, kind, answer)
            if status == 200:
                succeeded.add(name)
    never = {operation["operationId"] for _, _, operation in operations} - succeeded
    # Some cannot by these calls: nobody is to be called back, nothing is unresolved or unfinished, and no bytes are sent.
    assert len(succeeded) >= 20, f"never succeeded: {sorted(never)}"


main()
