// An order whose first answer is lost on its way: the client sends it again by itself, without any key.
"use strict";

const assert = require("node:assert/strict");

module.exports = {
  async anOrderIsSentAgain({ OpenAI, baseURL }) {
    const client = new OpenAI({ baseURL, apiKey: "sk-any", maxRetries: 2 });
    const video = await client.videos.create({ prompt: "a fox that is paid for once", model: "sora-2" });
    assert.match(video.id, /^video_/);
  },
};
