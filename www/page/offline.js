/** Registers what serves the page offline (../offline.js), and offers a newer version once it is there. */
import { h } from "./dom.js";

const { serviceWorker } = navigator;
/** The page's folder, which is what its worker serves. */
const scope = new URL("./", location.href);

/** @param {HTMLElement} line */
export async function serveOffline(line) {
  if (!serviceWorker) return;
  // Another tab has taken a newer version: the files of this one's are gone.
  serviceWorker.addEventListener("controllerchange", () => offer("This page was updated in another tab. ", "Load it again", () => location.reload()));
  try {
    const registration = await serviceWorker.register("offline.js", { updateViaCache: "none" });
    const watch = (worker) => {
      const look = () => worker.state === "installed" && registration.active && newer(worker);
      worker?.addEventListener("statechange", look);
      if (worker) look();
    };
    watch(registration.waiting);
    watch(registration.installing);
    registration.addEventListener("updatefound", () => watch(registration.installing));
    await serviceWorker.ready;
    line.textContent ||= "Works offline from here on.";
  } catch {
    // Not everywhere may a page keep a copy of itself; online it works as well without.
  }

  /** @param {ServiceWorker} worker that waits */
  function newer(worker) {
    offer("A newer version of this page is here. ", "Use it", () => {
      // A tab that no worker controls yet, as on a first visit, hears of no other controller.
      worker.addEventListener("statechange", () => worker.state === "activated" && location.reload());
      worker.postMessage("take over");
    });
  }

  /** @param {string} text @param {string} label @param {() => void} onclick */
  function offer(text, label, onclick) {
    line.replaceChildren(text, h("button", { type: "button", className: "link", textContent: label, onclick }));
  }
}

/** Removes the copy and what serves it; those of other folders of the host are not the page's. */
export async function forgetOffline() {
  const registration = await serviceWorker?.getRegistration();
  if (registration?.scope === scope.href) await registration.unregister();
  const copies = (await globalThis.caches?.keys() ?? []).filter((key) => key.startsWith(`pennyroute ${scope.pathname} `));
  await Promise.all(copies.map((key) => caches.delete(key)));
}
