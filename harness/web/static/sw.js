// A service worker that keeps what the trial page and the engine are made of, so that a second load
// works without a network. Model files are not its business: they are kept by their source, or not.

const CACHE = "tierlab-app";
const FILES = "/artifacts/";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

/**
 * The network first, since what is kept may be of an older version. Nothing is handed out before it
 * is kept: when the load is over, all of it is there. The headers of cross-origin isolation are kept
 * with the rest of the response, so that the page has threads again.
 * @param {Request} request
 */
async function keep(request) {
  const cache = await caches.open(CACHE);
  let response;
  try {
    response = await fetch(request);
  } catch (error) {
    const kept = await cache.match(request);
    if (kept) return kept;
    throw error;
  }
  if (response.status !== 200) return response; // a part of a file cannot be kept
  await cache.put(request, response);
  return (await cache.match(request)) ?? Response.error();
}

self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  const own = origin === self.location.origin && event.request.method === "GET";
  if (own && !pathname.startsWith(FILES)) event.respondWith(keep(event.request));
});

// What the page had loaded before this worker was there.
self.addEventListener("message", (event) => {
  const [port] = event.ports;
  const all = event.data.urls.map((/** @type {string} */ url) => keep(new Request(url)));
  event.waitUntil(
    Promise.all(all).then(
      () => port.postMessage({ kept: all.length }),
      (error) => port.postMessage({ error: String(error?.message ?? error) }),
    ),
  );
});
