// Where an engine's bytes come from. Every source gives the same four ways to a file: a stream, a
// blob, one buffer, an address. Works in a worker and on the page.
//
//   network        fetched anew each time
//   cache          the Cache API, filled at first use
//   opfs           the origin private file system, filled at first use
//   opfs-private   the same; the harness opens a private window, where it is kept in memory
//   file           the user picked the file
//
// What is stored is found again by the path it was fetched from and its size. A file of that size
// is taken for the whole file: writes are sequential, so what was cut off is shorter.

/** @typedef {{name: string, bytes: number, url: string}} SourceFile  `name` may have folders */

/**
 * @typedef {object} Hooks
 * @property {File[]} [picked]  what the user picked
 * @property {(name: string) => void} [onPhase]  called with "store" before something is stored
 * @property {(done: number, total: number) => void} [onProgress]  bytes stored
 * @property {(figures: StorageFigures) => void} [onStorage]  called once
 */

/**
 * What the browser says of the origin's storage; null where it does not say. Chromium 156 tells a
 * quota of 10 GiB even where it grants 2 MiB, so nothing is decided by it.
 * @typedef {object} StorageFigures
 * @property {number | null} quota_bytes
 * @property {number | null} usage_before_bytes
 * @property {number | null} usage_after_bytes
 * @property {boolean | null} persisted  whether the browser promised not to evict it
 */

/**
 * @typedef {object} Entry
 * @property {() => Promise<ReadableStream<Uint8Array>>} stream
 * @property {() => Promise<Blob>} blob
 * @property {() => string} url
 */

/**
 * A place where files are kept. `find` gives null for what is not there.
 * @typedef {object} Place
 * @property {(path: string) => Promise<Blob | null>} find
 * @property {(path: string, bytes: ReadableStream<Uint8Array>, size: number) => Promise<void>} store
 * @property {(path: string) => Promise<unknown>} remove
 */

const CACHE = "tierlab-files";
const FOLDER = "tierlab-files";
const MIB = 1024 * 1024;

/** @param {number | null} bytes */
const mib = (bytes) => (bytes === null ? "unknown" : `${Math.floor(bytes / MIB)} MiB`);

/** @param {SourceFile} file */
async function get(file) {
  let response;
  try {
    response = await fetch(file.url);
  } catch (/** @type {any} */ error) {
    throw new TypeError(`${file.url} cannot be fetched: ${error.message}`);
  }
  if (!response.ok || !response.body) throw new Error(`${file.url}: HTTP ${response.status}`);
  return response;
}

/** The path that a file is kept under. @param {SourceFile} file */
const pathOf = (file) => new URL(file.url, self.location.href).pathname;

/** @param {Blob} blob @returns {Entry} */
function entryOf(blob) {
  /** @type {string | undefined} */ let url;
  return {
    stream: async () => blob.stream(),
    blob: async () => blob,
    url: () => (url ??= URL.createObjectURL(blob)),
  };
}

/** @param {SourceFile} file @returns {Entry} */
const networkEntry = (file) => ({
  stream: async () => /** @type {ReadableStream<Uint8Array>} */ ((await get(file)).body),
  blob: async () => (await get(file)).blob(),
  url: () => file.url,
});

/** @param {SourceFile} file @param {File[]} picked @returns {Entry} */
function pickedEntry(file, picked) {
  // Pickers give no folders.
  const base = file.name.slice(file.name.lastIndexOf("/") + 1);
  const fitting = picked.filter((item) => item.name === base);
  // Of two files of one name in different folders, the size tells which is meant.
  const found = fitting.find((item) => item.size === file.bytes) ?? fitting[0];
  if (!found) throw new Error(`file: ${base} was not picked`);
  if (found.size !== file.bytes) {
    throw new Error(`file: ${base} has ${found.size} bytes, ${file.bytes} were expected`);
  }
  return entryOf(found);
}

/** @returns {Promise<Place>} */
async function cachePlace() {
  if (!self.caches) throw new DOMException("the page has no Cache API", "NotSupportedError");
  const cache = await caches.open(CACHE);
  return {
    // The body of a kept response is a file of the browser's: its blob costs no memory.
    find: async (path) => (await (await cache.match(path))?.blob()) ?? null,
    store: (path, bytes, size) =>
      cache.put(path, new Response(bytes, { headers: { "Content-Length": String(size) } })),
    remove: (path) => cache.delete(path),
  };
}

/** @returns {Promise<Place>} */
async function opfsPlace() {
  if (!navigator.storage?.getDirectory) {
    throw new DOMException("the page has no origin private file system", "NotSupportedError");
  }
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle(FOLDER, { create: true });
  return {
    async find(path) {
      try {
        return await (await folder.getFileHandle(encodeURIComponent(path))).getFile();
      } catch (/** @type {any} */ error) {
        if (error.name === "NotFoundError") return null;
        throw error;
      }
    },
    async store(path, bytes) {
      const handle = await folder.getFileHandle(encodeURIComponent(path), { create: true });
      // Only workers have it. It writes in place, and `createWritable` into a copy first.
      if ("createSyncAccessHandle" in handle) await writeInPlace(handle, bytes);
      else await bytes.pipeTo(await handle.createWritable());
    },
    remove: (path) => folder.removeEntry(encodeURIComponent(path)),
  };
}

/** @param {any} handle @param {ReadableStream<Uint8Array>} bytes */
async function writeInPlace(handle, bytes) {
  const access = await handle.createSyncAccessHandle();
  try {
    access.truncate(0);
    let at = 0;
    const reader = bytes.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      // It writes as much as it can: a part of what was given is no error.
      for (let from = 0; from < value.length; ) {
        const written = access.write(value.subarray(from), { at });
        // Beyond the quota it throws; but in private windows Chromium 156 throws nothing, and answers
        // that it wrote 4294967288 bytes (its error -8, "no space", without the sign).
        if (written < 1 || written > value.length - from) {
          throw new DOMException("no space is left", "QuotaExceededError");
        }
        from += written;
        at += written;
      }
    }
    access.flush();
  } finally {
    access.close();
  }
}

/**
 * The same bytes; an error where they end early or do not end.
 * @param {ReadableStream<Uint8Array>} bytes @param {SourceFile} file
 * @param {(bytes: number) => void} onBytes
 */
function counted(bytes, file, onBytes) {
  let count = 0;
  return bytes.pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        count += chunk.length;
        if (count > file.bytes) throw new Error(`${file.url}: longer than ${file.bytes} bytes`);
        onBytes(chunk.length);
        controller.enqueue(chunk);
      },
      flush() {
        if (count < file.bytes) {
          throw new Error(`${file.url}: ends after ${count} of ${file.bytes} bytes`);
        }
      },
    }),
  );
}

/** @returns {Promise<{quota: number | null, usage: number | null}>} */
async function estimate() {
  const { quota = null, usage = null } = (await navigator.storage?.estimate()) ?? {};
  return { quota, usage };
}

/**
 * What is not there in its size is fetched and stored.
 * @param {string} kind @param {Place} place @param {SourceFile[]} files @param {Hooks} hooks
 * @returns {Promise<Entry[]>}
 */
async function keptEntries(kind, place, files, hooks) {
  const missing = [];
  for (const file of files) {
    if ((await place.find(pathOf(file)))?.size !== file.bytes) missing.push(file);
  }
  if (missing.length) hooks.onPhase?.("store");
  const total = missing.reduce((sum, file) => sum + file.bytes, 0);
  let done = 0;
  for (const file of missing) {
    await place.remove(pathOf(file)).catch(() => {}); // most often there is none
    const { body } = await get(file);
    const bytes = counted(/** @type {ReadableStream<Uint8Array>} */ (body), file, (more) =>
      hooks.onProgress?.((done += more), total),
    );
    try {
      await place.store(pathOf(file), bytes, file.bytes);
    } catch (/** @type {any} */ error) {
      await place.remove(pathOf(file)).catch(() => {});
      if (error?.name !== "QuotaExceededError") throw error;
      const { quota, usage } = await estimate();
      throw new DOMException(
        `${kind}: ${file.name} of ${mib(file.bytes)} does not fit into the storage of this page ` +
          `(it tells a quota of ${mib(quota)}, ${mib(usage)} used): ${error.message}`,
        "QuotaExceededError",
      );
    }
  }
  const entries = [];
  for (const file of files) {
    const blob = await place.find(pathOf(file));
    if (blob?.size !== file.bytes) {
      throw new Error(`${kind}: ${file.name} was stored and has ${blob?.size} of ${file.bytes} bytes`);
    }
    entries.push(entryOf(blob));
  }
  return entries;
}

/**
 * @param {string} kind @param {SourceFile[]} files @param {Hooks} hooks
 * @returns {Promise<Entry[]>}  in the order of `files`
 */
async function entriesOf(kind, files, hooks) {
  switch (kind) {
    case "network":
      return files.map(networkEntry);
    case "cache":
      return keptEntries(kind, await cachePlace(), files, hooks);
    case "opfs":
    case "opfs-private":
      return keptEntries(kind, await opfsPlace(), files, hooks);
    case "file":
      return files.map((file) => pickedEntry(file, hooks.picked ?? []));
    default:
      throw new Error(`unknown source: ${kind}`);
  }
}

/**
 * Open the files of an artifact; what a source has to store first is stored when this resolves.
 *
 * Rejects with a `QuotaExceededError` when the storage is too small, and with a
 * `NotSupportedError` when the browser lacks the storage at all.
 * @param {string} kind @param {SourceFile[]} files  the entry first @param {Hooks} [hooks]
 */
export async function openSource(kind, files, hooks = {}) {
  const before = await estimate();
  const entries = await entriesOf(kind, files, hooks);
  const after = await estimate();
  hooks.onStorage?.({
    quota_bytes: after.quota,
    usage_before_bytes: before.usage,
    usage_after_bytes: after.usage,
    persisted: (await navigator.storage?.persisted?.()) ?? null,
  });

  /** @param {string} name */
  function find(name) {
    const index = files.findIndex((file) => file.name === name);
    if (index < 0) throw new Error(`the artifact has no file ${name}`);
    return { file: files[index], entry: entries[index] };
  }

  return {
    kind,
    files: files.map(({ name, bytes }) => ({ name, bytes })),

    /** @param {string} name @returns {Promise<ReadableStream<Uint8Array>>} */
    stream: async (name) => find(name).entry.stream(),

    /** @param {string} name @returns {Promise<Blob>} */
    blob: async (name) => find(name).entry.blob(),

    /** For engines that fetch by themselves. @param {string} name @returns {string} */
    url: (name) => find(name).entry.url(),

    /**
     * The whole file in one buffer. `arrayBuffer()` of responses and blobs ends at 2 GiB; reading
     * the stream into a buffer of the known size does not, and needs no second copy.
     * @param {string} name @param {(bytes: number) => void} [onBytes]  bytes that came, not a sum
     */
    async buffer(name, onBytes = () => {}) {
      const { file, entry } = find(name);
      const data = new Uint8Array(file.bytes);
      const reader = (await entry.stream()).getReader();
      let offset = 0;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        if (offset + value.length > data.length) {
          await reader.cancel();
          throw new Error(`${name}: longer than ${file.bytes} bytes`);
        }
        data.set(value, offset);
        offset += value.length;
        onBytes(value.length);
      }
      if (offset !== data.length) {
        throw new Error(`${name}: ends after ${offset} of ${file.bytes} bytes`);
      }
      return data;
    },
  };
}
