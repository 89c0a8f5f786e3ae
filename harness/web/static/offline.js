// Makes the page usable without a network: a service worker keeps it and whatever it loads.

const WORKER = "/page/sw.js";

/** The worker that answers this page's requests, once it does. */
async function controller() {
  const container = navigator.serviceWorker;
  if (container.controller) return container.controller;
  const controlled = new Promise((done) =>
    container.addEventListener("controllerchange", done, { once: true }),
  );
  await container.register(WORKER, { scope: "/" });
  if (!container.controller) await controlled;
  return /** @type {ServiceWorker} */ (container.controller);
}

/**
 * Keep the page and all that it loads from now on. Call it before the engine's worker is started:
 * a worker's requests are answered by whoever answered its creator's.
 * @returns {Promise<number>} how many files were kept that the page had loaded before
 */
export async function keepOffline() {
  if (!navigator.serviceWorker) throw new Error("the browser has no service workers");
  const worker = await controller();
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  const here = location.href.split("#")[0];
  const urls = [...new Set([here, ...loaded])].filter((url) => new URL(url).origin === location.origin);
  const { port1, port2 } = new MessageChannel();
  const answer = new Promise((done) => (port1.onmessage = ({ data }) => done(data)));
  worker.postMessage({ urls }, [port2]);
  const { kept, error } = await answer;
  if (error) throw new Error(`the page cannot be kept: ${error}`);
  return kept;
}
