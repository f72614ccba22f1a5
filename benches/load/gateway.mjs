// One gateway in a process of its own: a workerd, which a signal can kill and /proc can weigh. The
// first message says with which options; the answer says where it stands. The message "memory" is
// answered with what its isolate holds.

import { createServer } from "node:net";
import { once } from "node:events";
import { startGateway } from "../../src/js/tools/gateway.mjs";
import { isolateMb } from "./isolate.mjs";
import { workerdOf } from "./process.mjs";

process.once("message", async (/** @type {NonNullable<Parameters<typeof startGateway>[0]>} */ { options, ...rest }) => {
  const inspectorPort = await freePort();
  // Every request is logged; here only what is not a log line matters.
  const onOutput = (/** @type {string} */ text) => process.stderr.write(text.replace(/^\{.*\}\n/gm, ""));
  // Without Miniflare's own workers before and behind it, and its imitation of the Cache API in the
  // same process, which no deployed worker has.
  const direct = { unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }], stripCfConnectingIp: false, cache: false };
  const gateway = await startGateway({ ...rest, onOutput, options: { ...options, ...direct, inspectorPort } });
  process.on("disconnect", () => gateway.close().finally(() => process.exit()));
  process.on("message", async () => process.send?.(await isolateMb(inspectorPort)));
  process.send?.({ url: gateway.url, pid: workerdOf(process.pid) });
});

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  await new Promise((resolve) => server.close(resolve));
  return port;
}
