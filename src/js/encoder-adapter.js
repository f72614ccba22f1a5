/** Why there is no GPU to be had; null where there is one. @returns {Promise<string | null>} */
export async function lacking() {
  if (!globalThis.navigator?.gpu) return "this host has no WebGPU (pages have it over TLS alone)";
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  return adapter ? null : "WebGPU offers no adapter";
}
