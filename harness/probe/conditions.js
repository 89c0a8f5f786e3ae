// Under what conditions the figures of a report came to be: hints of the browser, and what the probe
// itself noticed. Everything here may be missing.

/** Resolves with null when `work` fails or takes longer than `limitMs`: hints are worth no wait. */
function soon(work, limitMs = 500) {
  let timer;
  const late = new Promise((resolve) => { timer = setTimeout(() => resolve(null), limitMs); });
  return Promise.race([Promise.resolve().then(work).catch(() => null), late]).finally(() => clearTimeout(timer));
}

async function battery(nav) {
  if (!nav.getBattery) return null;
  const { charging, level } = await nav.getBattery();
  return { charging, level };
}

async function storage(nav) {
  if (!nav.storage?.estimate) return null;
  const { quota, usage } = await nav.storage.estimate();
  return { quota_bytes: quota ?? null, usage_bytes: usage ?? null };
}

function network(nav) {
  const { connection } = nav;
  if (!connection) return null;
  return {
    save_data: connection.saveData ?? null,
    effective_type: connection.effectiveType ?? null,
    downlink_mbit_s: connection.downlink ?? null,
    rtt_ms: connection.rtt ?? null,
  };
}

const hidden = () => globalThis.document?.visibilityState === "hidden";

/** Watches whether the page is ever hidden; browsers slow hidden pages down. */
export function watchVisibility() {
  let seen = hidden();
  const look = () => { seen ||= hidden(); };
  globalThis.document?.addEventListener?.("visibilitychange", look);
  return {
    stop() {
      globalThis.document?.removeEventListener?.("visibilitychange", look);
      return seen;
    },
  };
}

/** What the browser says of the surroundings. */
export async function hints(nav = globalThis.navigator ?? {}) {
  const [power, stored] = await Promise.all([soon(() => battery(nav)), soon(() => storage(nav))]);
  return { battery: power, storage: stored, network: network(nav) };
}

/**
 * The conditions section of a preflight report.
 * @param {import("./index.d.ts").ProbeReport} report
 */
export function conditions(report, around, wasHidden) {
  const { wasm, webgpu } = report.backends;
  const phases = wasm?.available ? wasm.phases : [];
  const gpu = webgpu?.available ? webgpu : null;
  return {
    cross_origin_isolated: report.environment.cross_origin_isolated,
    hidden: wasHidden,
    settle: { wasm: wasm?.settle ?? null, webgpu: gpu?.settle ?? null },
    phases: phases.map(({ threads, duty, drift = null }) => ({ threads, duty, drift })),
    webgpu: gpu && { duty: gpu.duty ?? null, drift: gpu.drift ?? null },
    software_adapter: webgpu?.adapter?.software ?? null,
    ...around,
  };
}

/** Below this share of the time a device was held back by something. */
const LOW_DUTY = 0.8;
/** From this ratio of the last third to the first on, a device got slower while it was measured. */
const HIGH_DRIFT = 1.15;

/** What a reader of the figures should know, in words. */
export function warnings(at, predictions) {
  const found = [];
  if (at.hidden) found.push("the page was hidden while it was measured: browsers slow hidden pages down");
  for (const [name, settle] of Object.entries(at.settle)) {
    const what = name === "wasm" ? "processor" : "GPU";
    if (settle && !settle.steady) found.push(`the ${what} did not come to rest before it was measured`);
  }
  for (const { threads, duty, drift } of at.phases) {
    const where = `${threads} ${threads === 1 ? "thread" : "threads"}`;
    if (duty < LOW_DUTY) found.push(`throttled: ${where} ran for ${Math.round(100 * duty)} % of the time`);
    if (drift !== null && drift > HIGH_DRIFT) {
      found.push(`${where} got ${Math.round(100 * (drift - 1))} % slower while they were measured`);
    }
  }
  if (at.webgpu?.duty !== null && at.webgpu?.duty < LOW_DUTY) {
    found.push(`throttled: the GPU ran for ${Math.round(100 * at.webgpu.duty)} % of the time`);
  }
  if (at.webgpu?.drift > HIGH_DRIFT) {
    found.push(`the GPU got ${Math.round(100 * (at.webgpu.drift - 1))} % slower while it was measured`);
  }
  if (at.software_adapter) found.push("the WebGPU adapter is software: it runs on the processor");
  if (at.battery && !at.battery.charging && at.battery.level <= 0.2) {
    found.push(`on battery at ${Math.round(100 * at.battery.level)} %: the device may save power`);
  }
  if (at.network?.save_data) found.push("the user asked for less data to be downloaded");
  const { quota_bytes: quota, usage_bytes: used } = at.storage ?? {};
  const room = typeof quota === "number" ? quota - (used ?? 0) : Infinity;
  if (predictions[0]?.file_bytes > room) {
    found.push("the model is larger than what this site may store: every visit would download it");
  }
  if (predictions.some(({ verdict, calibrated }) => verdict !== "unsupported" && !calibrated)) {
    found.push("not calibrated for every engine: intervals are wide where it is not");
  }
  return found;
}
