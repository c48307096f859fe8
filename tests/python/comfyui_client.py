"""Drives a ComfyUI server as the example programs in its repository do: urllib for the calls, websocket-client for the progress.

Usage: comfyui_client.py BASE_URL. Prints one line per topic; any difference from what such a program should see ends it with a traceback.
"""

import json
import sys
import urllib.parse
import urllib.request
import uuid

try:
    import websocket
except ImportError as error:
    sys.exit(f"the client of websockets is missing ({error}): pip install websocket-client==1.9.0")


def workflow(text):
    return {
        "3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 20, "positive": ["6", 0]}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": text}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["3", 0]}},
    }


def ask(base_url, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(base_url + path, data=data)) as answer:
        return answer.read()


def run(base_url, text):
    """What the server tells while the workflow runs, and its entry in the history."""
    client = str(uuid.uuid4())
    prompt_id = str(uuid.uuid4())
    socket = websocket.WebSocket()
    socket.connect(base_url.replace("http://", "ws://") + "/ws?clientId=" + client)
    made = json.loads(ask(base_url, "/prompt", {"prompt": workflow(text), "client_id": client, "prompt_id": prompt_id}))
    assert made["prompt_id"] == prompt_id and made["node_errors"] == {}, made
    heard = []
    while True:
        frame = socket.recv()
        if not isinstance(frame, str):
            heard.append(("preview", frame))
            continue
        message = json.loads(frame)
        heard.append((message["type"], message["data"]))
        if message["type"] == "executing" and message["data"]["node"] is None:
            if message["data"]["prompt_id"] == prompt_id:
                break
    socket.close()
    return heard, json.loads(ask(base_url, "/history/" + prompt_id))[prompt_id]


def main(base_url):
    heard, entry = run(base_url, "a fox in the snow")
    kinds = [kind for kind, _ in heard]
    assert kinds[0] == "status" and heard[0][1]["sid"], heard[0]
    assert {"execution_start", "progress", "progress_state", "preview", "execution_success"} <= set(kinds), kinds
    print("progress")
    images = [image for node in entry["outputs"].values() for image in node["images"]]
    for image in images:
        query = urllib.parse.urlencode({key: image[key] for key in ("filename", "subfolder", "type")})
        assert ask(base_url, "/view?" + query).startswith(b"\x89PNG"), image
    assert len(images) == 1 and entry["status"]["completed"] is True, entry
    print("images")
    heard, entry = run(base_url, "a [bad] fox")
    errors = [data for kind, data in heard if kind == "execution_error"]
    assert errors[0]["exception_message"] == "no memory" and entry["status"]["status_str"] == "error", entry
    print("an error")
    try:
        ask(base_url, "/prompt", {"prompt": {"6": workflow("x")["6"]}})
        raise AssertionError("a prompt without outputs was taken")
    except urllib.error.HTTPError as error:
        refused = json.load(error)
        assert error.code == 400 and refused["error"]["type"] == "prompt_no_outputs", refused
    print("a refusal")


main(sys.argv[1])
