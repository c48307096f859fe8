"""An S3 server for tests: moto behind a door that checks every signature, as the real one does and moto does not.

    s3_server.py --port 0 --bucket films [--base-path /storage/v1/s3] [--with-token]

Prints its port once it listens. What it checks is computed by botocore: header and query signatures, the end of presigned addresses, and
the session token if there is one. What tests want to see or break in the server itself is below `/_test/`.
"""

from __future__ import annotations

import argparse
import hmac
import json
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY_ID = "AKIAFILMGATETEST"
SECRET = "a-secret-key-that-nobody-may-see"
TOKEN = "a-session-token-that-nobody-may-see"

Environ = dict[str, Any]


class Refused(Exception):
    """The code of S3 for it."""


class SignedOnly:
    """Lets what is signed through to moto."""

    def __init__(self, inner: Any, base_path: str, with_token: bool) -> None:
        self._inner = inner
        self._base_path = base_path
        self._token = TOKEN if with_token else None
        # From now on this part of every upload is refused.
        self.refused_part: int | None = None

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        try:
            self._check(environ)
            if (part := self.refused_part) and f"partNumber={part}&" in environ["QUERY_STRING"] + "&":
                raise Refused("AccessDenied")
        except Refused as refused:
            body = f"<Error><Code>{refused}</Code><Message>no</Message><Token-0>{self._token}</Token-0></Error>".encode()
            # What was sent must be taken, or the connection breaks before the answer is read.
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        path = environ["PATH_INFO"].removeprefix(self._base_path)
        inner: Iterable[bytes] = self._inner(environ | {"PATH_INFO": path, "RAW_URI": path, "REQUEST_URI": path}, start_response)
        return inner

    def _check(self, environ: Environ) -> None:
        if not environ["PATH_INFO"].startswith(self._base_path + "/"):
            raise Refused("AccessDenied")
        query = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
        headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
        headers |= {"content-type": environ.get("CONTENT_TYPE", ""), "content-length": environ.get("CONTENT_LENGTH", "")}
        if "X-Amz-Signature" in query:
            self._check_query(environ, query, headers)
        else:
            self._check_header(environ, headers)

    def _check_header(self, environ: Environ, headers: dict[str, str]) -> None:
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        if scheme != "AWS4-HMAC-SHA256":
            raise Refused("AccessDenied")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        self._check_token(headers.get("x-amz-security-token"))
        signed = {name: headers[name] for name in parts["SignedHeaders"].split(";")}
        url = environ["REQUEST_URI"]
        self._compare(S3SigV4Auth, parts, environ["REQUEST_METHOD"], url, signed, headers["x-amz-date"])

    def _check_query(self, environ: Environ, query: dict[str, str], headers: dict[str, str]) -> None:
        self._check_token(query.get("X-Amz-Security-Token"))
        signed = {name: headers[name] for name in query["X-Amz-SignedHeaders"].split(";")}
        path, _, raw = environ["REQUEST_URI"].partition("?")
        url = path + "?" + "&".join(pair for pair in raw.split("&") if not pair.startswith("X-Amz-Signature="))
        parts = {"Credential": query["X-Amz-Credential"], "Signature": query["X-Amz-Signature"]}
        self._compare(S3SigV4QueryAuth, parts, environ["REQUEST_METHOD"], url, signed, query["X-Amz-Date"])
        made = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        if datetime.now(timezone.utc) >= made + timedelta(seconds=int(query["X-Amz-Expires"])):
            raise Refused("AccessDenied")

    def _check_token(self, token: str | None) -> None:
        if token != self._token:
            raise Refused("InvalidToken")

    def _compare(self, kind: Any, parts: dict[str, str], method: str, url: str, signed: dict[str, str], date: str) -> None:
        key_id, _, region, service, _ = parts["Credential"].split("/")
        if key_id != KEY_ID:
            raise Refused("InvalidAccessKeyId")
        request = AWSRequest(method=method, url="http://" + signed["host"] + url)
        request.headers = HTTPHeaders.from_dict(signed)
        request.context["timestamp"] = date
        auth = kind(Credentials(KEY_ID, SECRET), service, region)
        expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        if not hmac.compare_digest(expected, parts["Signature"]):
            raise Refused("SignatureDoesNotMatch")


def control(door: SignedOnly, environ: Environ, start_response: Any) -> Iterable[bytes]:
    """What a test asks of the server itself."""
    body = ""
    backend = s3_backends["123456789012"]["aws"]
    buckets = backend.buckets
    match environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/").split("/"):
        case "GET", [_, "uploads"]:
            body = json.dumps(sum(len(bucket.multiparts) for bucket in buckets.values()))
        case "GET", [_, "keys", bucket]:
            body = json.dumps(sorted(buckets[bucket].keys))
        case "POST", [_, "age", bucket, seconds]:
            for key in buckets[bucket].keys.values():
                key.last_modified -= timedelta(seconds=int(seconds))
        case "POST", [_, "refuse-part", part]:
            door.refused_part = int(part)
        case "DELETE", [_, "buckets", bucket]:
            buckets[bucket].keys.clear()
            backend.delete_bucket(bucket)
        case "POST", [_, "buckets", bucket]:
            backend.create_bucket(bucket, "us-east-1")
        case _:
            start_response("404 Not Found", [])
            return []
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body.encode()]


class QuietHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        pass


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--bucket", required=True)
    arguments.add_argument("--base-path", default="")
    arguments.add_argument("--with-token", action="store_true")
    options = arguments.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    door = SignedOnly(DomainDispatcherApplication(create_backend_app), options.base_path, options.with_token)

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/_test/"):
            return control(door, environ, start_response)
        return door(environ, start_response)

    server = make_server("127.0.0.1", options.port, app, threaded=True, request_handler=QuietHandler)
    control(door, {"REQUEST_METHOD": "POST", "PATH_INFO": f"/_test/buckets/{options.bucket}"}, lambda *_: None)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
