// The memory of a worker's isolate, asked of workerd's inspector: what Cloudflare counts against a
// Worker's 128 MB, while the process holds workerd's own code, other services and free pages too.
// Needs Node's WebSocket (`--experimental-websocket` in Node 20).

/**
 * In MB: the JavaScript heap, and buffers and WebAssembly memories outside of it.
 * @param {number} port of the inspector
 * @returns {Promise<{heap_mb: number, buffers_mb: number, wasm_mb: number}>}
 */
export async function isolateMb(port) {
  const targets = await (await fetch(`http://127.0.0.1:${port}/json`)).json();
  const { webSocketDebuggerUrl } = targets.find((/** @type {any} */ { id }) => id.startsWith("core:user:"));
  const socket = new WebSocket(webSocketDebuggerUrl);
  /** @type {Map<number, {resolve: (result: any) => void, reject: (error: Error) => void}>} */
  const waiting = new Map();
  const context = new Promise((resolve) => {
    socket.addEventListener("message", ({ data }) => {
      const { id, method, params, result, error } = JSON.parse(data);
      if (method === "Runtime.executionContextCreated") resolve(params.context.id);
      else if (error) waiting.get(id)?.reject(new Error(error.message));
      else waiting.get(id)?.resolve(result);
    });
  });
  const call = (/** @type {string} */ method, params = {}) => {
    const id = waiting.size + 1;
    socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
  };
  await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
  try {
    await call("Runtime.enable");
    const { result } = await call("Runtime.evaluate", { expression: "WebAssembly.Memory.prototype", contextId: await context });
    const { objects } = await call("Runtime.queryObjects", { prototypeObjectId: result.objectId });
    const sum = "function () { return this.reduce((sum, memory) => sum + memory.buffer.byteLength, 0); }";
    const wasm = await call("Runtime.callFunctionOn", { objectId: objects.objectId, functionDeclaration: sum, returnByValue: true });
    const { usedSize, backingStorageSize } = await call("Runtime.getHeapUsage");
    const mb = (/** @type {number} */ bytes) => Math.round(bytes / 1e5) / 10;
    return { heap_mb: mb(usedSize), buffers_mb: mb(backingStorageSize), wasm_mb: mb(wasm.result.value) };
  } finally {
    socket.close();
  }
}
