// Videos: ordered, polled, listed, downloaded and deleted.
"use strict";

const assert = require("node:assert/strict");

const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

// This client has no helper for it.
async function ended(client, id) {
  for (;;) {
    const video = await client.videos.retrieve(id);
    if (video.status !== "queued" && video.status !== "in_progress") return video;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function made(client, body) {
  return ended(client, (await client.videos.create({ model: "sora-2", ...body })).id);
}

module.exports = {
  async create({ client, jobs }) {
    const { data, response } = await client.videos.create({ model: "sora-2", prompt: "a fox", seconds: "8", size: "1280x720" }).withResponse();
    assert(Number(response.headers.get("openai-poll-after-ms")) >= 500);
    const video = await ended(client, data.id);
    assert.deepEqual([video.status, video.progress, video.seconds, video.size], ["completed", 100, "8", "1280x720"]);
    assert.equal((await jobs()).at(-1).body.seconds, "8");
  },

  async pictures({ client, jobs, OpenAI }) {
    const file = await OpenAI.toFile(PNG, "a.png", { type: "image/png" });
    assert.equal((await made(client, { prompt: "a lynx", input_reference: file })).status, "completed");
    assert.equal((await jobs()).at(-1).body.input_reference.size, PNG.length);
    const image_url = `data:image/png;base64,${PNG.toString("base64")}`;
    assert.equal((await made(client, { prompt: "a lynx by address", input_reference: { image_url } })).status, "completed");
    assert.equal((await jobs()).at(-1).body.input_reference.size, PNG.length);
  },

  async listing({ client }) {
    const order = [];
    for (let number = 0; number < 4; number += 1) order.unshift((await made(client, { prompt: `crane ${number}` })).id);
    const listed = [];
    for await (const video of client.videos.list({ limit: 2 })) listed.push(video.id);
    assert.deepEqual(listed.slice(0, 4), order);
    const upwards = [];
    for await (const video of client.videos.list({ limit: 2, order: "asc" })) upwards.unshift(video.id);
    assert.deepEqual(upwards, listed);
  },

  async download({ client }) {
    const video = await made(client, { prompt: "a heron" });
    const whole = Buffer.from(await (await client.videos.downloadContent(video.id)).arrayBuffer());
    assert.equal(whole.subarray(4, 8).toString(), "ftyp");
    const part = await client.videos.downloadContent(video.id, {}, { headers: { Range: "bytes=4-7" } });
    assert.deepEqual([part.status, await part.text()], [206, "ftyp"]);
  },

  async remove({ client, refused, OpenAI }) {
    const video = await made(client, { prompt: "a wolf" });
    assert.deepEqual({ ...(await client.videos.delete(video.id)) }, { id: video.id, object: "video.deleted", deleted: true });
    const error = await refused(OpenAI.NotFoundError, () => client.videos.retrieve(video.id));
    assert.equal(error.code, "video_not_found");
  },

  async refusals({ client, faults, refused, OpenAI }) {
    const error = await refused(OpenAI.BadRequestError, () => client.videos.create({ prompt: "x", model: "sora-2", seconds: "5" }));
    assert.deepEqual([error.param, error.code, error.type], ["seconds", "invalid_value", "invalid_request_error"]);
    const unknown = await refused(OpenAI.NotFoundError, () => client.videos.create({ prompt: "x", model: "none" }));
    assert.equal(unknown.code, "model_not_found");
    await faults("create:prompt=[held]:hold");
    const { id } = await client.videos.create({ prompt: "a [held] fox", model: "sora-2" });
    const early = await refused(OpenAI.ConflictError, () => client.videos.delete(id));
    assert.equal(early.code, "video_not_finished");
    await refused(OpenAI.ConflictError, () => client.videos.downloadContent(id));
  },

  async models({ client, refused, OpenAI }) {
    const listed = [];
    for await (const model of client.models.list()) listed.push(model.id);
    assert(listed.includes("openai/sora-2"));
    assert.equal((await client.models.retrieve("openai/sora-2")).owned_by, "openai");
    assert.equal((await refused(OpenAI.NotFoundError, () => client.models.retrieve("none/such"))).code, "model_not_found");
  },
};
