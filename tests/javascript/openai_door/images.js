// Images: made, edited, streamed and refused.
"use strict";

const assert = require("node:assert/strict");

const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

function isPicture(text) {
  assert.equal(Buffer.from(text, "base64").subarray(1, 4).toString(), "PNG");
}

module.exports = {
  async inBase64({ client, jobs }) {
    const made = await client.images.generate({ model: "gpt-image-2", prompt: "a fox", n: 2, size: "1024x1536" });
    assert.equal(made.data.length, 2);
    made.data.forEach((image) => isPicture(image.b64_json));
    assert.deepEqual([(await jobs()).at(-1).body.n, made.output_format], [2, "png"]);
  },

  async byUrl({ client }) {
    const made = await client.images.generate({ model: "gpt-image-2", prompt: "a hare", response_format: "url" });
    const answer = await fetch(made.data[0].url);
    assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "image/png"]);
    await answer.arrayBuffer();
  },

  async streamed({ client }) {
    const stream = await client.images.generate({ model: "gpt-image-2", prompt: "a stoat", stream: true });
    const events = [];
    for await (const event of stream) events.push(event);
    assert.deepEqual(events.map((event) => event.type), ["image_generation.completed"]);
    isPicture(events[0].b64_json);
  },

  async edited({ client, jobs, OpenAI }) {
    const file = (name) => OpenAI.toFile(PNG, name, { type: "image/png" });
    await client.images.edit({ model: "gpt-image-2", prompt: "at night", image: await file("a.png") });
    assert.equal((await jobs()).at(-1).body.image.size, PNG.length);
    const image = [await file("a.png"), await file("b.png")];
    const made = await client.images.edit({ model: "gpt-image-2", prompt: "both", image, mask: await file("m.png") });
    isPicture(made.data[0].b64_json);
    const { body } = (await jobs()).at(-1);
    assert.deepEqual([body["image[]"].length, body.mask.size], [2, PNG.length]);
  },

  async refusals({ client, faults, refused, OpenAI }) {
    const generate = (change) => client.images.generate({ model: "gpt-image-2", prompt: "x", ...change });
    const error = await refused(OpenAI.BadRequestError, () => generate({ n: 11 }));
    assert.deepEqual([error.param, error.code], ["n", "invalid_value"]);
    await refused(OpenAI.NotFoundError, () => generate({ model: "dall-e-9" }));
    await faults('create:failed="moderation_blocked: it was refused"');
    assert.equal((await refused(OpenAI.BadRequestError, () => generate({ prompt: "a shrew" }))).code, "moderation_blocked");
  },

  async unknownEndsAreNotBoughtAgain({ OpenAI, baseURL, faults, jobs, refused }) {
    const client = new OpenAI({ baseURL, apiKey: "sk-any", maxRetries: 2 });
    await faults("create:drop,effect=after");
    const before = (await jobs()).length;
    const call = () => client.images.generate({ model: "gpt-image-2", prompt: "paid for once" });
    assert.equal((await refused(OpenAI.InternalServerError, call)).code, "unresolved");
    assert.equal((await refused(OpenAI.InternalServerError, call)).code, "unresolved");
    assert.equal((await jobs()).length, before + 1);
  },
};
