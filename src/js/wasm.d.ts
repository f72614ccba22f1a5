/** `pennyroute/wasm`: the compiled library, in the form that the host's loader gives such files. */
declare const module: WebAssembly.Module | BufferSource | string;
export default module;
