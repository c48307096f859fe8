// Conversations: whole and streamed, with tools and schemas, and what goes wrong.
"use strict";

const assert = require("node:assert/strict");

const model = "gpt-5.4-mini";
const user = (content) => [{ role: "user", content }];
const tool = (run) => ({
  type: "function",
  function: {
    name: "weather",
    description: "What the weather is like",
    parameters: { type: "object", properties: { town: { type: "string" } }, required: ["town"] },
    ...run,
  },
});

module.exports = {
  async whole({ client }) {
    const { data, request_id } = await client.chat.completions.create({ model, messages: user("Hello") }).withResponse();
    assert.equal(data.choices[0].message.content, "You said: Hello");
    assert.equal(data.object, "chat.completion");
    assert(data.usage.total_tokens > 0 && request_id, JSON.stringify(data));
  },

  async streamed({ client }) {
    const stream = await client.chat.completions.create({
      model,
      messages: user("one two"),
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, "You said: one two");
    assert(usage.total_tokens > 0);
  },

  async helperForStreams({ client }) {
    const runner = client.chat.completions.stream({ model, messages: user("a b c") });
    assert.equal(await runner.finalContent(), "You said: a b c");
  },

  async toolsThereAndBack({ client }) {
    const asked = [];
    const runner = client.chat.completions.runTools({
      model,
      messages: user("Rain in Bonn? [tool]"),
      tools: [tool({ parse: JSON.parse, function: (call) => (asked.push(call), "rain") })],
    });
    assert.equal(await runner.finalContent(), "The tool said: rain");
    assert.equal(typeof asked[0].town, "string");
  },

  async parsed({ client }) {
    const schema = {
      type: "object",
      properties: { name: { type: "string" }, people: { type: "integer" } },
      required: ["name", "people"],
      additionalProperties: false,
    };
    const response_format = { type: "json_schema", json_schema: { name: "town", strict: true, schema } };
    const answer = await client.chat.completions.parse({ model, messages: user("Bonn"), response_format });
    assert.deepEqual(Object.keys(JSON.parse(answer.choices[0].message.content)).sort(), ["name", "people"]);
  },

  async refusals({ client, refused, OpenAI }) {
    const wrong = (more) => () => client.chat.completions.create({ model, messages: user("Hi"), ...more });
    const error = await refused(OpenAI.BadRequestError, wrong({ temperature: 3 }));
    assert.deepEqual([error.param, error.code], ["temperature", "invalid_value"]);
    assert.equal((await refused(OpenAI.NotFoundError, wrong({ model: "none" }))).code, "model_not_found");
  },

  async brokenOff({ client, faults, refused, OpenAI }) {
    await faults("chat:pace=100ms", "chat:cut=4");
    const stream = await client.chat.completions.create({ model, messages: user("a b c d e"), stream: true });
    const read = async () => {
      for await (const chunk of stream) assert(chunk.choices);
    };
    const error = await refused(OpenAI.APIError, read);
    assert(error.code, `${error}`);
  },

  async hungUp({ client, control }) {
    const stream = await client.chat.completions.create({ model, messages: user("[words=100000000]"), stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0].delta.content) break;
    }
    for (let counts = {}; !counts.openai?.chats_hung_up; counts = await control("counts")) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  },
};
