// Drives the official fal client against a server, as a user's program would.
//
// Usage: fal_sdk.js BASE_URL, which stands in for all of fal's hosts: the client knows hosts and no paths, so its calls are
// led there by its own `fetch` setting. The client is looked for below NODE_PATH. Prints one line per topic; any difference
// from what the client should see ends the program with a trace.
"use strict";

const assert = require("node:assert/strict");
const { ApiError, ValidationError, createFalClient } = require("@fal-ai/client");

const KLING = "fal-ai/kling-video/v1.6/pro/image-to-video";
const FLUX = "fal-ai/flux/schnell";
const FRAME = "https://images.example/frame.png";
const HOSTS = { "https://queue.fal.run": "", "https://fal.run": "/run", "https://rest.fal.ai": "" };

const base = process.argv[2];

async function toServer(address, options) {
  const url = new URL(address);
  const path = HOSTS[url.origin];
  return fetch(path === undefined ? address : `${base}${path}${url.pathname}${url.search}`, options);
}

async function control(path, body) {
  const url = `${base.replace(/\/fal$/, "")}/_control/${path}`;
  const answer = await fetch(url, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
  assert.equal(answer.status, 200);
}

const topics = {
  async subscribe(fal) {
    const seen = [];
    await control("settings", { latency: "600ms", boot: "300ms" });
    const input = { prompt: "a fox", image_url: FRAME, duration: "5", cfg_scale: 0.5 };
    const onQueueUpdate = (update) => seen.push(update);
    const { data, requestId } = await fal.subscribe(KLING, { input, logs: true, pollInterval: 5, onQueueUpdate });
    await control("settings", { latency: "30ms", boot: "10ms" });
    assert.equal(seen[0].status, "IN_QUEUE");
    assert.equal(seen.at(-1).status, "COMPLETED");
    assert(seen.at(-1).logs.some((entry) => entry.message.includes("100%")));
    assert.equal(seen.at(-1).request_id, requestId);
    const bytes = Buffer.from(await (await fetch(data.video.url)).arrayBuffer());
    assert.equal(bytes.subarray(4, 8).toString(), "ftyp");
  },

  async submitAndResult(fal) {
    const { request_id: requestId } = await fal.queue.submit(FLUX, { input: { prompt: "a lamp", num_images: 2 } });
    const status = await fal.queue.subscribeToStatus(FLUX, { requestId, pollInterval: 5 });
    assert.equal(status.status, "COMPLETED");
    const { data } = await fal.queue.result(FLUX, { requestId });
    assert.equal(data.images.length, 2);
  },

  async cancel(fal) {
    await control("settings", { hold: true });
    const { request_id: requestId } = await fal.queue.submit(FLUX, { input: { prompt: "a lamp" } });
    await fal.queue.cancel(FLUX, { requestId });
    await assert.rejects(fal.queue.result(FLUX, { requestId }), (error) => error instanceof ApiError && error.status === 499);
    await control("settings", { hold: false });
  },

  async refusals(fal) {
    const input = { image_url: FRAME, duration: "7" };
    await assert.rejects(fal.subscribe(KLING, { input, pollInterval: 5 }), (error) => {
      assert(error instanceof ValidationError, `${error}`);
      assert.deepEqual(error.getFieldErrors("prompt").map((entry) => entry.type), ["missing"]);
      return true;
    });
    await assert.rejects(fal.queue.submit("fal-ai/no-such-model", { input: {} }), (error) => error.status === 404);
  },

  async upload(fal) {
    const url = await fal.storage.upload(new Blob(["first frame"], { type: "image/png" }));
    assert(url.startsWith(`${base}/files/`), url);
    const { data } = await fal.subscribe(KLING, { input: { prompt: "a fox", image_url: url }, pollInterval: 5 });
    assert(data.video.url);
  },
};

async function main() {
  const fal = createFalClient({ credentials: "id:simulated", fetch: toServer });
  for (const [name, topic] of Object.entries(topics)) {
    await topic(fal);
    console.log(`ok ${name}`);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
