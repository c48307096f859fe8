// Drives the official OpenAI client against a served filmgate, as a user's program would.
//
// Usage: run.js TOPIC BASE_URL CONTROL_URL. A topic is a module beside this one that exports its cases by name, each of which takes what `main` makes
// below. BASE_URL ends in `/v1`; CONTROL_URL is the control side of the simulator that is the server's vendor. The client is looked for below
// NODE_PATH. Prints one line a case and `all of TOPIC`; any difference from what the client should see ends the program with a trace.
"use strict";

const assert = require("node:assert/strict");
const OpenAI = require("openai");

async function main(topic, baseURL, controlURL) {
  const client = new OpenAI({ baseURL, apiKey: "sk-any", maxRetries: 0 });

  async function control(path, body) {
    const options = body && { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } };
    const answer = await fetch(`${controlURL}/${path}`, options);
    assert.equal(answer.status, 200);
    return answer.json();
  }
  const faults = (...rules) => control("faults", { faults: rules });
  const jobs = async () => (await control("jobs")).openai;

  // The error of a call that must fail as this kind, and no other.
  async function refused(kind, call) {
    try {
      await call();
    } catch (error) {
      assert.equal(error.constructor.name, kind.name, `${error}`);
      return error;
    }
    assert.fail("the call was not refused");
  }

  const it = { OpenAI, baseURL, client, control, faults, jobs, refused };
  for (const [name, topicCase] of Object.entries(require(`./${topic}.js`))) {
    await faults();
    await topicCase(it);
    console.log(name);
  }
  console.log(`all of ${topic}`);
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
