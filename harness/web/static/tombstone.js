// The page's own tombstone: where the load is, written down before it goes on, so that the next page
// can tell where a tab died of which nobody else saw anything. Kept by the browser's own process
// with strict durability: it outlives the death of the tab, and of the browser.

const DATABASE = "tierlab-tombstone";
const STORE = "phases";
const KEY = "last";

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {(store: IDBObjectStore) => IDBRequest} act @param {IDBTransactionMode} mode */
async function withStore(act, mode) {
  const database = await open();
  try {
    const transaction = database.transaction(STORE, mode, { durability: "strict" });
    const request = act(transaction.objectStore(STORE));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
    return request.result;
  } finally {
    database.close();
  }
}

/** Writes one after the other; one that fails is not worth a trial. */
let queue = Promise.resolve();

/** @param {(store: IDBObjectStore) => IDBRequest} act */
function write(act) {
  const done = () => undefined;
  queue = queue.then(() => withStore(act, "readwrite")).then(done, done);
}

/** The load is in this phase now. @param {string} phase */
export function mark(phase) {
  const words = { phase, at: Date.now() };
  write((store) => store.put(words, KEY));
}

/** The load ended, one way or the other, and the page lives to tell. */
export function clear() {
  write((store) => store.delete(KEY));
}

/** What a page that died left. @returns {Promise<{phase: string, at: number} | null>} */
export async function read() {
  try {
    return (await withStore((store) => store.get(KEY), "readonly")) ?? null;
  } catch {
    return null;
  }
}
