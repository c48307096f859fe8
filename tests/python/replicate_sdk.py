"""Drives the official Replicate client against a server, as a user's program would.

Usage: replicate_sdk.py BASE_URL, where BASE_URL has no `/v1`: the client adds it. Prints one line per topic; any
difference from what the client should see ends the program with a traceback.
"""

import http.server
import io
import json
import queue
import sys
import threading
import urllib.request

try:
    import replicate
    from replicate.exceptions import ModelError, ReplicateError
    from replicate.webhook import InvalidSignatureError, InvalidTimestampError, Webhooks
except ImportError as error:
    sys.exit(f"the official client is missing ({error}): pip install replicate==1.0.7")

VIDEO = "minimax/video-01"
KLING = "kwaivgi/kling-v1.6-standard"
FLUX = "black-forest-labs/flux-schnell"
MUSIC = "meta/musicgen"


def control(base_url, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    url = base_url.removesuffix("/replicate") + "/_control/" + path
    with urllib.request.urlopen(urllib.request.Request(url, data=data)) as answer:
        return json.load(answer)


def refused(call):
    try:
        call()
    except ReplicateError as error:
        return error
    raise AssertionError("the call was not refused")


def create_wait_and_reload(client):
    prediction = client.models.predictions.create(model=VIDEO, input={"prompt": "a fox"})
    assert prediction.status == "starting", prediction
    assert (prediction.model, prediction.version) == (VIDEO, "hidden")
    assert prediction.input == {"prompt": "a fox"}
    prediction.wait()
    assert prediction.status == "succeeded", prediction
    assert prediction.progress.percentage == 1.0, prediction.logs
    assert prediction.metrics["video_output_count"] == 1
    assert prediction.metrics["predict_time"] > 0
    assert prediction.created_at < prediction.started_at < prediction.completed_at
    assert urllib.request.urlopen(prediction.output).read()[4:8] == b"ftyp"
    again = client.predictions.get(prediction.id)
    again.reload()
    assert again.output == prediction.output


def create_by_version(client):
    version = client.models.get(MUSIC).latest_version
    prediction = client.predictions.create(version=version.id, input={"prompt": "a waltz"})
    assert (prediction.model, prediction.version) == (MUSIC, version.id)
    prediction.wait()
    assert urllib.request.urlopen(prediction.output).read()[:4] == b"RIFF"


def run(client):
    images = client.run(FLUX, input={"prompt": "a lamp", "num_outputs": 2}, use_file_output=False)
    assert len(images) == 2 and all("/delivery/" in image for image in images), images
    version = client.models.get(MUSIC).latest_version
    sound = client.run(f"{MUSIC}:{version.id}", input={"prompt": "a waltz"}, wait=False)
    assert sound.endswith(".wav"), sound


def run_with_inline_files(client, base_url):
    control(base_url, "settings", {"sync_inline": True})
    clip = client.run(VIDEO, input={"prompt": "a fox"})
    assert clip.read()[4:8] == b"ftyp"
    control(base_url, "settings", {"sync_inline": False})


def failed_run(client, base_url):
    control(base_url, "faults", {"faults": ['create:prompt=[bad]:failed="flagged as sensitive (E005)"']})
    try:
        client.run(VIDEO, input={"prompt": "a [bad] fox"})
        raise AssertionError("the run did not fail")
    except ModelError as error:
        assert "(E005)" in str(error)


def list_pages(client, base_url):
    control(base_url, "settings", {"page_size": 2})
    seen = []
    for page in replicate.pagination.paginate(client.predictions.list):
        assert len(page) <= 2
        seen += [prediction.id for prediction in page]
    made = control(base_url, "counts")["replicate"]["creates_effective"]
    assert len(seen) == len(set(seen)) == made, (seen, made)


def cancel(client, base_url):
    control(base_url, "settings", {"hold": True})
    prediction = client.models.predictions.create(model=VIDEO, input={"prompt": "a fox"})
    prediction.reload()
    assert prediction.status == "processing"
    prediction.cancel()
    assert prediction.status == "canceled"
    prediction.reload()
    assert prediction.status == "canceled" and prediction.output is None
    control(base_url, "settings", {"hold": False})


def files(client):
    file = client.files.create(io.BytesIO(b"first frame"), filename="frame.png", metadata={"shot": 1})
    assert (file.name, file.content_type, file.size) == ("frame.png", "image/png", 11)
    assert file.metadata == {"shot": 1}
    assert client.files.get(file.id).checksums == file.checksums
    assert [found.id for found in client.files.list()] == [file.id]
    image = {"prompt": "a fox", "first_frame_image": io.BytesIO(b"another frame")}
    prediction = client.models.predictions.create(model=VIDEO, input=image)
    assert "/v1/files/" in prediction.input["first_frame_image"]
    assert client.files.delete(file.id)
    assert refused(lambda: client.files.get(file.id)).status == 404


def refusals(client, base_url):
    create = client.models.predictions.create
    error = refused(lambda: create(model=KLING, input={"prompt": "a fox", "duration": 7}))
    assert (error.status, error.title) == (422, "Input validation failed")
    assert error.detail == "- input.duration: duration must be one of the following: 5, 10\n", error.detail
    assert "prompt is required" in refused(lambda: create(model=KLING, input={})).detail
    error = refused(lambda: client.predictions.create(version="0" * 64, input={}))
    assert (error.status, error.title) == (422, "Invalid version or not permitted")
    assert refused(lambda: client.predictions.get("nonesuch")).status == 404
    assert refused(lambda: create(model="no/body", input={})).status == 404
    stranger = replicate.Client(base_url=base_url, headers={"Authorization": "Basic eDp5"})
    assert refused(lambda: stranger.predictions.list()).status == 401


def account(client):
    assert client.accounts.current().username
    assert any(hardware.sku == "cpu" for hardware in client.hardware.list())
    assert client.webhooks.default.secret().key.startswith("whsec_")
    model = client.models.get(KLING)
    properties = model.latest_version.openapi_schema["components"]["schemas"]["Input"]["properties"]
    assert properties["duration"]["enum"] == [5, 10]
    assert [version.id for version in model.versions.list()] == [model.latest_version.id]


def throttled_reads_are_repeated(client, base_url):
    control(base_url, "faults", {"faults": ["list:first=2:status=429", "list:nth=3:status=503"]})
    before = control(base_url, "counts")["replicate"]["lists"]
    assert len(client.predictions.list()) > 0
    assert control(base_url, "counts")["replicate"]["lists"] - before == 4


def webhooks(client, base_url):
    calls = queue.Queue()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            calls.put((dict(self.headers), body.decode()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    secret = client.webhooks.default.secret()
    control(base_url, "faults", {"faults": ["webhook:prompt=[forged]:forged", "webhook:prompt=[stale]:stale"]})

    def raw(path):
        headers = {"Authorization": "Bearer r8_simulated"}
        with urllib.request.urlopen(urllib.request.Request(f"{base_url}/v1{path}", headers=headers)) as answer:
            return json.load(answer)

    def called(prompt, events):
        webhook = {"webhook": f"http://127.0.0.1:{server.server_port}/hook", "webhook_events_filter": events}
        made = client.models.predictions.create(model=VIDEO, input={"prompt": prompt}, **webhook)
        told = [calls.get(timeout=20) for _ in events]
        # The list and the object itself repeat what was asked for, which the client's own type leaves out.
        [listed] = [found for found in raw("/predictions")["results"] if found["id"] == made.id]
        for shown in (listed, raw(f"/predictions/{made.id}")):
            assert shown | webhook == shown, shown
        for _, body in told:
            assert (json.loads(body)["id"], json.loads(body)["webhook"]) == (made.id, webhook["webhook"])
        return told

    for headers, body in called("a fox", ["start", "completed"]):
        Webhooks.validate(headers=headers, body=body, secret=secret, tolerance=300)
    for prompt, error in [("a [forged] fox", InvalidSignatureError), ("a [stale] fox", InvalidTimestampError)]:
        [(headers, body)] = called(prompt, ["completed"])
        try:
            Webhooks.validate(headers=headers, body=body, secret=secret, tolerance=300)
            raise AssertionError(f"{prompt} was taken")
        except error:
            pass
    server.shutdown()


def main(base_url):
    client = replicate.Client(base_url=base_url, api_token="r8_simulated")
    client.poll_interval = 0.01
    for topic, extra in [
        (create_wait_and_reload, ()),
        (create_by_version, ()),
        (run, ()),
        (run_with_inline_files, (base_url,)),
        (failed_run, (base_url,)),
        (list_pages, (base_url,)),
        (cancel, (base_url,)),
        (files, ()),
        (refusals, (base_url,)),
        (account, ()),
        (throttled_reads_are_repeated, (base_url,)),
        (webhooks, (base_url,)),
    ]:
        topic(client, *extra)
        print(f"ok {topic.__name__}")


main(sys.argv[1])
