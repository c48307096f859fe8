// Speech: whole and refused.
"use strict";

const assert = require("node:assert/strict");

module.exports = {
  async whole({ client, jobs }) {
    const answer = await client.audio.speech.create({ model: "tts-1", voice: "coral", input: "hello", speed: 1.25 });
    assert.equal(answer.headers.get("content-type"), "audio/mpeg");
    const bytes = Buffer.from(await answer.arrayBuffer());
    assert.equal(bytes.length, Number(answer.headers.get("content-length")));
    assert.equal((await jobs()).at(-1).body.speed, 1.25);
  },

  async refusals({ client, refused, OpenAI }) {
    const create = (change) => client.audio.speech.create({ model: "tts-1", voice: "alloy", input: "x", ...change });
    const error = await refused(OpenAI.BadRequestError, () => create({ voice: "nobody" }));
    assert.deepEqual([error.param, error.code], ["voice", "invalid_value"]);
    assert.equal((await refused(OpenAI.BadRequestError, () => create({ response_format: "pcm" }))).param, "response_format");
  },
};
