/** Registers what serves the page offline (../offline.js), and offers a newer version once it is there. */
import { h } from "./dom.js";

/** @param {HTMLElement} line */
export async function serveOffline(line) {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return;
  try {
    const registration = await serviceWorker.register("offline.js", { updateViaCache: "none" });
    if (registration.waiting) offer(registration.waiting);
    registration.addEventListener("updatefound", () => {
      const { installing } = registration;
      installing.addEventListener("statechange", () => {
        if (installing.state === "installed" && registration.active) offer(installing);
      });
    });
    await serviceWorker.ready;
    line.textContent ||= "Works offline from here on.";
  } catch {
    // Not everywhere may a page keep a copy of itself; online it works as well without.
  }

  /** @param {ServiceWorker} waiting */
  function offer(waiting) {
    const onclick = () => {
      serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
      waiting.postMessage("take over");
    };
    line.replaceChildren("A newer version of this page is here. ", h("button", { type: "button", className: "link", textContent: "Use it", onclick }));
  }
}
