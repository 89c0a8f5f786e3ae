// How much memory this page can really use, found by using it: step by step, bounded, and off unless
// asked for. Going too far ends the tab on a phone, so every step stands behind a tombstone: a note
// that is written before it and taken away after it. A tab that finds one has died here before; it
// reports how far the other came, and does not try again.

const MIB = 1 << 20;
const GIB = 1 << 30;
const PAGE = 65536;
const DEFAULT_MAX = GIB;
const DEFAULT_STEP = 64 * MIB;
/** One 32-bit WebAssembly memory, less a page: its size has to be a number of 32 bits. */
const ADDRESSABLE = 4 * GIB - PAGE;
/** A step takes well below a second; one that takes this long is stuck in swapping. */
const STEP_LIMIT_MS = 5000;
const KEY = "tierlab-probe-memory";
/** Without Web Locks another tab's note cannot be told from a dead one's, except by its age. */
const FRESH_MS = 30_000;

/** Whether this is a phone or a tablet; iPads call themselves Macs. */
export function isMobile(nav = globalThis.navigator) {
  if (nav?.userAgentData?.mobile) return true;
  const agent = String(nav?.userAgent ?? "");
  if (/Android|iPhone|iPad|iPod|Mobile|Silk/.test(agent)) return true;
  return /Macintosh/.test(agent) && (nav?.maxTouchPoints ?? 0) > 1;
}

/** A promise of an IndexedDB request. @param {IDBRequest} request */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("the database is blocked"));
  });
}

/** One note in IndexedDB: where there is no localStorage, as in workers. */
async function indexed() {
  const opening = indexedDB.open(KEY, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("notes");
  const database = await done(opening);
  const change = (act) => new Promise((resolve, reject) => {
    // "strict" asks for the disk: a note that is lost with the browser would be no tombstone.
    const transaction = database.transaction("notes", "readwrite", { durability: "strict" });
    act(transaction.objectStore("notes"));
    transaction.oncomplete = () => resolve(undefined);
    transaction.onabort = () => reject(transaction.error);
  });
  return {
    read: () => done(database.transaction("notes").objectStore("notes").get(KEY)),
    write: (note) => change((notes) => notes.put(note, KEY)),
    remove: () => change((notes) => notes.delete(KEY)),
    close: () => database.close(),
  };
}

function local() {
  const storage = globalThis.localStorage;
  return {
    read: async () => JSON.parse(storage.getItem(KEY) ?? "null"),
    write: async (note) => storage.setItem(KEY, JSON.stringify(note)),
    remove: async () => storage.removeItem(KEY),
    close: () => {},
  };
}

/** Where notes are kept, or null where nothing outlives the tab: then nothing is probed. */
async function notebook() {
  for (const make of [local, indexed]) {
    try {
      const notes = make === local ? (globalThis.localStorage ? local() : null) : await indexed();
      if (!notes) continue;
      await notes.read();
      return notes;
    } catch {
      // Forbidden (a sandboxed frame, cookies blocked) or unreadable: try the next.
    }
  }
  return null;
}

/** Runs `work` while no other tab does; calls it with false when one does, null without Web Locks. */
function alone(work) {
  const locks = globalThis.navigator?.locks;
  if (!locks) return work(null);
  return locks.request(KEY, { ifAvailable: true }, (lock) => work(lock !== null));
}

function answer(fields) {
  return {
    available: true, reason: null, good_bytes: 0, tried_bytes: 0, limited: false, died: false,
    steps: 0, wall_ms: 0, ...fields,
  };
}

/** Where a tab died before: what it had, and what it was after. */
function recalled(note) {
  return answer({
    good_bytes: Number(note.good) || 0,
    tried_bytes: Number(note.tried) || 0,
    limited: true,
    died: true,
    reason: "a tab of this site died while it probed memory; forgetMemory() lets it try again",
  });
}

/** One step in the worker; rejects on refusal, on the worker's end, on a stuck step, on abort. */
function step(worker, pages, maximum, signal) {
  let timer;
  let abort;
  const result = new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.bytes));
    worker.onerror = (event) => {
      event.preventDefault?.();
      reject(new Error(`worker: ${event.message || "ended"}`));
    };
    timer = setTimeout(() => reject(new Error(`a step took longer than ${STEP_LIMIT_MS} ms`)), STEP_LIMIT_MS);
    abort = () => reject(signal.reason);
    signal?.addEventListener("abort", abort, { once: true });
    worker.postMessage({ pages, maximum });
  });
  return result.finally(() => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  });
}

async function climb(notes, { maxBytes, stepBytes, signal, onProgress }) {
  const began = performance.now();
  const maximum = Math.floor(maxBytes / PAGE);
  const worker = new Worker(new URL("./memory-worker.js", import.meta.url), { type: "module" });
  const found = answer({});
  // Leaving the page is no death. What localStorage is asked here, it does at once.
  const leave = () => void notes.remove();
  globalThis.addEventListener?.("pagehide", leave);
  try {
    while (found.good_bytes < maximum * PAGE) {
      const pages = Math.min(Math.ceil(stepBytes / PAGE), maximum - found.good_bytes / PAGE);
      found.tried_bytes = found.good_bytes + pages * PAGE;
      await notes.write({ good: found.good_bytes, tried: found.tried_bytes, at: Date.now() });
      signal?.throwIfAborted();
      try {
        found.good_bytes = await step(worker, pages, maximum, signal);
        found.steps++;
      } catch (error) {
        signal?.throwIfAborted();
        found.limited = true;
        found.reason = error.message;
        break;
      }
      onProgress?.({ backend: "memory", step: "grow", bytes: found.good_bytes });
    }
    found.wall_ms = performance.now() - began;
    return found;
  } finally {
    worker.terminate();
    globalThis.removeEventListener?.("pagehide", leave);
    await notes.remove();
  }
}

/**
 * Probes memory. Resolves also where it may not or cannot: `available` is then false and `reason`
 * says why. `limited` says that `good_bytes` was all there was; else only the bound ended it.
 * Rejects only when `signal` aborts.
 * @param {import("./index.d.ts").MemoryProbeOptions} [options]
 * @returns {Promise<import("./index.d.ts").MemoryProbe>}
 */
export async function probeMemory(options = {}) {
  const { signal, onProgress, force = false } = options;
  signal?.throwIfAborted();
  const refused = (reason) => answer({ available: false, reason });
  const deviceMemory = globalThis.navigator?.deviceMemory;
  const half = deviceMemory ? (deviceMemory * GIB) / 2 : Infinity;
  const maxBytes = Math.min(options.maxBytes ?? DEFAULT_MAX, half, ADDRESSABLE);
  const stepBytes = Math.max(PAGE, options.stepBytes ?? DEFAULT_STEP);
  if (typeof WebAssembly !== "object") return refused("WebAssembly is missing");
  if (typeof Worker !== "function") return refused("workers are missing");
  const notes = await notebook();
  if (!notes) return refused("nothing can be stored here, so a tab that died would not be noticed");
  try {
    return await alone(async (free) => {
      if (free === false) return refused("another tab is probing memory");
      const note = await notes.read();
      if (note && free === null && Date.now() - note.at < FRESH_MS) {
        return refused("another tab may be probing memory");
      }
      if (note) return recalled(note);
      if (isMobile() && !force) return refused("not on phones and tablets unless forced: it can end the tab");
      return await climb(notes, { maxBytes, stepBytes, signal, onProgress });
    });
  } catch (error) {
    signal?.throwIfAborted();
    return refused(`${error?.name}: ${error?.message}`);
  } finally {
    notes.close();
  }
}

/** Forgets that a tab died while it probed memory, so that the next probe tries again. */
export async function forgetMemory() {
  const notes = await notebook();
  await notes?.remove();
  notes?.close();
}

/** What Android leaves to one app: the rule of tierlab's device profiles (docs/profiles.md). */
const androidShare = (gib) => Math.max(0.55 * gib - 1, 0.1);

/**
 * How much memory an engine may use in this page: from `low_bytes` on it may fail, above
 * `high_bytes` it will (null: not known). Null where nothing is known at all.
 *
 * `navigator.deviceMemory` is the nearest power of two of what the system sees, so the device was
 * sold with as much or up to half as much again; 8 (32 in newer desktop browsers) means that or more.
 * @param {{user_agent: string, device_memory_gib: number | null}} environment
 */
export function estimateMemory(environment, { memoryBytes, memoryProbe } = {}) {
  if (memoryBytes) return { low_bytes: memoryBytes, high_bytes: memoryBytes, source: "the limit that was given" };
  if (memoryProbe?.limited) {
    const { good_bytes, tried_bytes, died } = memoryProbe;
    const source = died ? "the memory at which a tab died" : "what the memory probe could write";
    return { low_bytes: good_bytes, high_bytes: tried_bytes, source };
  }
  const gib = environment.device_memory_gib;
  if (!gib) return null;
  const android = /Android/.test(environment.user_agent);
  const capped = gib === 8 || gib >= 32;
  const share = android ? androidShare : (whole) => whole;
  return {
    low_bytes: Math.round(share(android ? gib : gib / 2) * GIB),
    high_bytes: capped ? null : Math.round(share(1.5 * gib) * GIB),
    source: `the memory of this device, estimated from navigator.deviceMemory of ${gib} GiB`,
  };
}
