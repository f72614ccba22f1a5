/** NumPy's file format, version 1.0: what `numpy.load` reads. */

/**
 * A matrix of float32, row by row, as a file.
 * @param {Float32Array} values
 * @param {number} columns
 */
export function npy(values, columns) {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${values.length / columns}, ${columns}), }`;
  // Magic, version and length take ten bytes, and the numbers begin at a multiple of 64.
  const length = Math.ceil((10 + header.length + 1) / 64) * 64 - 10;
  const start = Uint8Array.of(0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, length & 0xff, length >> 8);
  return new Blob([start, `${header.padEnd(length - 1)}\n`, values], { type: "application/octet-stream" });
}
