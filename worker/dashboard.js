/** `GET /dashboard`: a page that shows the owner `/metrics`. It holds no data itself: it asks for the key. */

import page from "./dashboard.html";

/** Its script and style by their hashes, the gateway's own answers, and nothing else. */
async function policy() {
  const hash = async (/** @type {string} */ tag) => {
    const [, text] = /** @type {RegExpExecArray} */ (new RegExp(`<${tag}>([^]*)</${tag}>`).exec(page));
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
    return `'sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}'`;
  };
  const sources = `script-src ${await hash("script")}; style-src ${await hash("style")}; connect-src 'self'`;
  return `default-src 'none'; ${sources}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
}

/** @returns {Promise<Response>} */
export async function dashboard() {
  return new Response(page, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": await policy(),
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
    },
  });
}
