"""Drives the official fal client against a server, as a user's program would.

Usage: fal_sdk.py BASE_URL, which stands in for all of fal's hosts: the client knows hosts and no paths, so its addresses
are set by hand. Prints one line per topic; any difference from what the client should see ends the program with a traceback.
"""

import base64
import http.server
import json
import queue
import sys
import threading
import urllib.request

try:
    import fal_client
    from fal_client import client as fal
except ImportError as error:
    sys.exit(f"the official client is missing ({error}): pip install fal-client==1.0.3")

KLING = "fal-ai/kling-video/v1.6/pro/image-to-video"
FLUX = "fal-ai/flux/schnell"
SPEECH = "fal-ai/elevenlabs/tts/multilingual-v2"
FRAME = "https://images.example/frame.png"


def control(base_url, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    url = base_url.removesuffix("/fal") + "/_control/" + path
    with urllib.request.urlopen(urllib.request.Request(url, data=data)) as answer:
        return json.load(answer)


def refused(call):
    try:
        call()
    except fal_client.FalClientHTTPError as error:
        return error
    raise AssertionError("the call was not refused")


def submit_and_follow(client, base_url):
    control(base_url, "settings", {"latency": "600ms", "boot": "300ms"})
    handle = client.submit(KLING, {"prompt": "a fox", "image_url": FRAME, "duration": "5"})
    assert handle.status_url == f"{base_url}/fal-ai/kling-video/requests/{handle.request_id}/status", handle.status_url
    seen = list(handle.iter_events(with_logs=True, interval=0.005))
    assert isinstance(seen[0], fal_client.Queued) and seen[0].position == 0, seen[0]
    assert any(isinstance(event, fal_client.InProgress) for event in seen), seen
    control(base_url, "settings", {"latency": "30ms", "boot": "10ms"})
    done = seen[-1]
    assert isinstance(done, fal_client.Completed) and done.error is None, done
    assert any("100%" in entry["message"] for entry in done.logs), done.logs
    assert done.metrics["inference_time"] > 0
    result = handle.get()
    assert result["video"]["content_type"] == "video/mp4"
    assert urllib.request.urlopen(result["video"]["url"]).read()[4:8] == b"ftyp"
    assert client.result(KLING, handle.request_id) == result


def subscribe(client):
    updates = []
    arguments = {"prompt": "a lamp", "num_images": 2, "image_size": {"width": 512, "height": 512}}
    result = client.subscribe(FLUX, arguments, with_logs=True, interval=0.005, on_queue_update=updates.append)
    assert isinstance(updates[-1], fal_client.Completed)
    assert [image["width"] for image in result["images"]] == [512, 512], result
    assert result["has_nsfw_concepts"] == [False, False] and result["prompt"] == "a lamp"


def run(client):
    result = client.run(SPEECH, {"text": "Good evening.", "voice": "Rachel"})
    assert urllib.request.urlopen(result["audio"]["url"]).read()[:3] == b"ID3" or result["audio"]["content_type"] == "audio/mpeg"
    inline = client.run(FLUX, {"prompt": "a lamp", "sync_mode": True})
    head, data = inline["images"][0]["url"].split(",", 1)
    assert head == "data:image/jpeg;base64" and base64.b64decode(data)[:2] == b"\xff\xd8"


def uploads(client, base_url):
    url = client.upload(b"first frame", "image/png", "frame.png")
    assert url.startswith(f"{base_url}/files/") and url.endswith("/frame.png"), url
    other = client.upload(b"first frame", "image/png", "frame.png", repository="fal")
    assert other != url and other.startswith(f"{base_url}/files/"), other
    result = client.subscribe(KLING, {"prompt": "a fox", "image_url": url}, interval=0.005)
    assert result["video"]["url"]


def cancels(client, base_url):
    control(base_url, "settings", {"hold": True})
    handle = client.submit(FLUX, {"prompt": "a lamp"})
    assert isinstance(handle.status(), fal_client.InProgress)
    handle.cancel()
    ended = handle.status()
    assert isinstance(ended, fal_client.Completed) and ended.error_type == "client_cancelled", ended
    assert refused(handle.get).status_code == 499
    assert refused(handle.cancel).status_code == 400
    control(base_url, "settings", {"hold": False})


def refusals(client, base_url):
    error = refused(lambda: client.subscribe(KLING, {"image_url": FRAME, "duration": "7"}, interval=0.005))
    assert error.status_code == 422, error
    problems = {entry["loc"][-1]: entry["type"] for entry in error.response.json()["detail"]}
    assert problems == {"prompt": "missing", "duration": "literal_error"}, problems
    control(base_url, "faults", {"faults": ['create:prompt=[bad]:failed="against the content policy"']})
    error = refused(lambda: client.subscribe(FLUX, {"prompt": "a [bad] lamp"}, interval=0.005))
    assert error.response.json()["detail"][0]["type"] == "content_policy_violation", error
    assert refused(lambda: client.submit("fal-ai/no-such-model", {})).status_code == 404
    assert refused(lambda: client.status(FLUX, "nonesuch")).status_code == 404
    stranger = fal.SyncClient(key="id:simulated")
    stranger._client.headers["Authorization"] = "Bearer simulated"
    assert refused(lambda: stranger.submit(FLUX, {"prompt": "a lamp"})).status_code == 401


def webhooks(client, base_url):
    calls = queue.Queue()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            calls.put((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handle = client.submit(FLUX, {"prompt": "a lamp"}, webhook_url=f"http://127.0.0.1:{server.server_port}/hook")
    headers, body = calls.get(timeout=20)
    told = json.loads(body)
    assert (told["request_id"], told["status"]) == (handle.request_id, "OK"), told
    assert told["payload"]["images"], told
    headers = {name.lower(): value for name, value in headers.items()}
    assert headers["x-fal-webhook-request-id"] == handle.request_id
    assert len(bytes.fromhex(headers["x-fal-webhook-signature"])) == 64
    server.shutdown()


def main(base_url):
    fal.QUEUE_URL_FORMAT = f"{base_url}/"
    fal.RUN_URL_FORMAT = f"{base_url}/run/"
    fal.REST_URL = fal.CDN_URL = base_url
    client = fal.SyncClient(key="id:simulated")
    for topic, extra in [
        (submit_and_follow, (base_url,)),
        (subscribe, ()),
        (run, ()),
        (uploads, (base_url,)),
        (cancels, (base_url,)),
        (refusals, (base_url,)),
        (webhooks, (base_url,)),
    ]:
        topic(client, *extra)
        print(f"ok {topic.__name__}")


main(sys.argv[1])
