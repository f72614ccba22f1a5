/** `pennyroute/artifacts`: what was trained, in the form that the host's loader gives such files. */
declare const artifacts: Uint8Array | ArrayBuffer | string;
export default artifacts;
