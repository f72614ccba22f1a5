/** Files that the user gives. */

/**
 * Throws for a file that is larger than is read, before it is.
 * @param {File} file
 * @param {number} most in bytes
 */
export function checkSize({ name, size }, most) {
  if (size <= most) return;
  throw Object.assign(new Error(`${name} has ${Math.ceil(size / 1e6)} MB; up to ${most / 1e6} MB are read.`), { code: "too_large" });
}
