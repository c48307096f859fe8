// Calls a server by gRPC-Web as a page in a browser would: through Connect's clients, over fetch and over HTTP/1.1 and HTTP/2 of Node.
//
// Usage: grpc_web.js BASE_URL DESCRIPTOR_SET_FILE. Nothing is generated: the clients read the descriptors themselves. They are looked
// for below NODE_PATH. Prints one line per transport; any difference from what a page should see ends the program with a trace.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { createFileRegistry, fromBinary } = require("@bufbuild/protobuf");
const { FileDescriptorSetSchema } = require("@bufbuild/protobuf/wkt");
const { Code, ConnectError, createClient } = require("@connectrpc/connect");
const web = require("@connectrpc/connect-web");
const node = require("@connectrpc/connect-node");

const [baseUrl, descriptors] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, fs.readFileSync(descriptors)));
const service = (name) => registry.getService(`filmgate.v1.${name}`);
const SUCCEEDED = registry.getEnum("filmgate.v1.State").values.find((value) => value.name === "STATE_SUCCEEDED").number;

const transports = {
  fetch: web.createGrpcWebTransport({ baseUrl }),
  "HTTP/1.1": node.createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "HTTP/2": node.createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
};

async function unary(transport) {
  const models = createClient(service("ModelService"), transport);
  let id;
  const answer = await models.listModels({}, { headers: { "x-request-id": "page-1" }, onHeader: (headers) => (id = headers.get("x-request-id")) });
  assert(answer.models.length > 0);
  assert.equal(id, "page-1");
}

async function stream(transport, prompt) {
  const generations = createClient(service("GenerationService"), transport);
  const seen = [];
  let trailers;
  for await (const message of generations.generateVideo({ prompt }, { onTrailer: (told) => (trailers = told) })) {
    seen.push(message.generation);
  }
  assert(seen.length > 1, "snapshots come one by one");
  assert.equal(seen.at(-1).state, SUCCEEDED);
  assert(trailers.get("x-session-id"), "the last word comes in the trailers");
  // And once more what is finished.
  const again = createClient(service("GenerationService"), transport);
  const { generation } = await again.getGeneration({ name: seen[0].name });
  assert.equal(generation.artifacts.length, 1);
}

async function refusals(transport) {
  const generations = createClient(service("GenerationService"), transport);
  const refused = await generations.getGeneration({ name: "generations/none" }).then(() => undefined, ConnectError.from);
  assert.equal(refused.code, Code.InvalidArgument);
  assert.deepEqual(refused.details.map((detail) => detail.type).sort(), ["google.rpc.BadRequest", "google.rpc.ErrorInfo"]);
  assert.match(refused.metadata.get("x-request-id"), /^req_/);
  const streamed = await (async () => {
    for await (const message of generations.generateVideo({ prompt: " " })) return message;
  })().catch(ConnectError.from);
  assert.equal(streamed.code, Code.InvalidArgument);
}

(async () => {
  for (const [name, transport] of Object.entries(transports)) {
    await unary(transport);
    await stream(transport, `a page by ${name}`);
    await refusals(transport);
    console.log(`ok ${name}`);
  }
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
