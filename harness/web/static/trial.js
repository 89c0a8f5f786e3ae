// The trial page. It starts the engine in a worker, so that the page itself stays alive to report
// while the engine is busy (or here, for engines that need what workers do not have), and hands
// every event on to the harness. Nothing waits inside a call into this page: `tierlabStart` and
// `tierlabProbe` answer at once, and the rest are events.

/** @param {Record<string, unknown>} event */
function emit(event) {
  globalThis.tierlabEmit?.(event);
}

/** @param {string} id @param {string} text */
function show(id, text) {
  const element = document.getElementById(id);
  if (element) element.textContent = text;
}

const MIB = 1024 * 1024;
let count = 0;

/** @param {Record<string, any>} event */
function draw(event) {
  switch (event.type) {
    case "phase":
      show("phase", event.name);
      break;
    case "progress": {
      const bar = /** @type {HTMLProgressElement} */ (document.getElementById("progress"));
      bar.max = event.total;
      bar.value = event.done;
      show("bytes", `${Math.round(event.done / MIB)} of ${Math.round(event.total / MIB)} MiB`);
      break;
    }
    case "tokens":
      count += event.ids.length;
      show("tokens", String(count));
      break;
    case "done":
      show("outcome", `done: ${event.tokens} tokens`);
      break;
    case "error":
      show("outcome", `${event.name}: ${event.message}`);
      break;
    case "device-lost":
      show("outcome", `GPU device lost: ${event.message}`);
      break;
  }
}

/** Leaves word, in the page's storage, of how far the load came. @type {any} */
let tombstone = null;

// After these the page lives to tell, and its word is not needed any more.
const ENDS = new Set(["done", "error", "unsupported", "cpu-fallback", "artifact-refused"]);

/** Pass one event to the page's own display and to the harness. @param {any} event */
function report(event) {
  if (event.type === "phase") tombstone?.mark(event.name);
  if (ENDS.has(event.type)) tombstone?.clear();
  draw(event);
  emit(event);
}

/**
 * Keep the page for a load without a network. Where that does not work this load goes on: it is the
 * later one that will fail. What the engine loads is kept only when this is done before it starts.
 */
async function keep() {
  try {
    const { keepOffline } = await import("/page/offline.js");
    await keepOffline();
  } catch (error) {
    console.warn("the page is not kept:", error);
  }
}

/** @param {any} job */
async function start(job) {
  if (job.tombstone) {
    tombstone = await import("/page/tombstone.js");
    tombstone.mark("start");
  }
  if (job.keepOffline) await keep();
  if (job.host === "page") {
    const { runEngine } = await import("/page/engine.js");
    await runEngine(job, report);
    return;
  }
  const worker = new Worker("/page/worker.js", { type: "module" });
  worker.onmessage = ({ data }) => report(data);
  // A worker that fails to start, or throws outside of its own handlers, ends here.
  worker.onerror = (event) => {
    event.preventDefault();
    report({
      type: "error",
      name: "WorkerError",
      message: event.message || "the engine's worker could not be started",
    });
  };
  worker.postMessage(job);
}

/**
 * Start a full load. @param {any} job  see `runEngine` in engine.js; `host`: "page" or "worker";
 *   `keepOffline`: whether to keep the page and the engine for a load without a network;
 *   `tombstone`: whether to leave word, in the page's storage, of how far the load came
 * @returns {boolean} true: the load was started; what it does arrives as events
 */
globalThis.tierlabStart = (job) => {
  show("workload", job.workload);
  const picker = /** @type {HTMLInputElement} */ (document.getElementById("files"));
  job.source.picked = [...(picker.files ?? [])];
  start(job).catch((error) =>
    report({ type: "error", name: "PageError", message: String(error?.message ?? error) }),
  );
  return true;
};

/**
 * Run the zero-weight probe. @param {object} options
 * @returns {boolean} true: the probe was started; its report arrives as an event
 */
globalThis.tierlabProbe = (options) => {
  show("workload", "zero-weight probe");
  import("/probe/index.js")
    .then(({ probe }) =>
      probe({
        ...options,
        onProgress: (/** @type {any} */ progress) => report({ type: "probe-progress", progress }),
      }),
    )
    .then((result) => {
      show("outcome", "probe done");
      emit({ type: "probe-report", report: result });
    })
    .catch((error) =>
      report({ type: "error", name: String(error?.name), message: String(error?.message ?? error) }),
    );
  return true;
};

/** What a load left that died here; null: nothing, or it ended well. */
globalThis.tierlabTombstone = async () => (await import("/page/tombstone.js")).read();

globalThis.tierlabReady = true;
