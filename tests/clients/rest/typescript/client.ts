// The demo's start, watch and stop by a client that @hey-api/openapi-ts generated: node client.js ADDRESS TOKEN GROUP.

import assert from "node:assert/strict";

import { Clos, type Event } from "./clos";
import { createClient } from "./clos/client";

const [address, token, group] = process.argv.slice(2);
const client = createClient({ baseUrl: `http://${address}`, auth: token });
const clos = new Clos({ client });

/** The events of an operation as they come, until it ends. */
async function* watch(id: string): AsyncGenerator<Event> {
  const { data } = await clos.operations.watch({ path: { id }, parseAs: "stream", throwOnError: true });
  const stream = data as unknown as ReadableStream<BufferSource>;
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line);
  }
}

async function statuses() {
  const { data } = await clos.services.list({ query: { group }, throwOnError: true });
  return Object.fromEntries((data.services ?? []).map((service) => [service.name, service.status]));
}

const started = await clos.groups.start({ path: { name: group }, body: {}, throwOnError: true });
const seen: (string | undefined)[] = [];
for await (const event of watch(started.data.id!)) seen.push(event.type);
assert(seen.includes("operation.progress"), `${seen}`);
assert.equal(seen.at(-1), "group.operation_completed");
assert.deepEqual(await statuses(), { db: "running", web: "running" });

const stopped = await clos.groups.stop({ path: { name: group }, body: { timeout: 1 }, throwOnError: true });
const ended = await clos.operations.wait({ path: { id: stopped.data.id! }, query: { timeout: "30s" }, throwOnError: true });
assert.equal(ended.data.status, "completed");
assert.deepEqual(await statuses(), { db: "stopped", web: "stopped" });

const { error } = await clos.groups.start({ path: { name: "nobody" }, body: {} });
assert.equal(error?.code, "GROUP_NOT_FOUND");
