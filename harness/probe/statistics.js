// Medians, and what the log of a phase says of throttling. Pure functions.

/** The p-quantile (0..1) of sorted numbers, interpolated. @param {number[]} sorted @param {number} p */
export function quantile(sorted, p) {
  if (sorted.length === 0) return NaN;
  const at = (sorted.length - 1) * p;
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
}

/**
 * What a report says of repeated measurements.
 * @param {number[]} values
 * @returns {{n: number, median: number, p10: number, p90: number} | null} null without finite values
 */
export function summary(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  return {
    n: sorted.length,
    median: quantile(sorted, 0.5),
    p10: quantile(sorted, 0.1),
    p90: quantile(sorted, 0.9),
  };
}

/** @param {number[]} values */
export function median(values) {
  return quantile([...values].sort((a, b) => a - b), 0.5);
}

/** The median of values of different weight. @param {[number, number][]} pairs value and weight */
export function weightedMedian(pairs) {
  const sorted = [...pairs].sort(([a], [b]) => a - b);
  let left = sorted.reduce((sum, [, weight]) => sum + weight, 0) / 2;
  for (const [value, weight] of sorted) {
    left -= weight;
    if (left <= 0) return value;
  }
  return NaN;
}

/**
 * One slice of a kernel: the same work in all slices of that kernel; times in ms. `expected`: what it
 * took in the warm-up, roughly, as caches may have helped there.
 * @typedef {{kernel: string, begin: number, end: number, expected?: number}} Slice
 */

/** The quantile of a kernel's times that is free of stops, however many of them were stopped. */
const CALM_QUANTILE = 0.15;
/** How much longer an undisturbed slice may take. */
const CALM_FACTOR = 1.25;
/** How much longer than expected the shortest may be. */
const EXPECTED_FACTOR = 2;
/** A slice that took this much longer than its kernel's burst was stopped in between. */
const STALL_FACTOR = 1.5;
const STALL_MS = 1;
/** Fewer stalls, or such that span less of the log, tell nothing of a period. */
const MIN_STALLS = 3;
const MIN_SPAN = 0.5;

/** The longest time of an undisturbed slice. @param {number[]} times @param {number} expected */
function calmLimit(times, expected) {
  const sorted = [...times].sort((a, b) => a - b);
  const low = sorted[Math.floor((sorted.length - 1) * CALM_QUANTILE)];
  return CALM_FACTOR * Math.min(low, EXPECTED_FACTOR * expected);
}

/**
 * The undisturbed time of a slice: the mean of the short ones. A low quantile decides which they are,
 * so most may have been stopped, or have shared their processor with another thread. Where all were,
 * it is `expected`. The mean, as it is finer than the steps of a coarse clock.
 * @param {number[]} times ms
 * @param {number} [expected] ms
 */
export function burstTime(times, expected = Infinity) {
  const limit = calmLimit(times, expected);
  const calm = times.filter((time) => time <= limit);
  return calm.length > 0 ? calm.reduce((sum, time) => sum + time, 0) / calm.length : expected;
}

/** What `judge(times, expected)` says of each kernel. @param {Slice[]} slices */
function byKernel(slices, judge) {
  const kernels = new Map();
  for (const { kernel, begin, end, expected } of slices) {
    if (!kernels.has(kernel)) kernels.set(kernel, { expected: expected ?? Infinity, times: [] });
    kernels.get(kernel).times.push(end - begin);
  }
  return new Map([...kernels].map(([kernel, { times, expected }]) => [kernel, judge(times, expected)]));
}

/** The slices that ran undisturbed. @param {Slice[]} slices */
export function undisturbed(slices) {
  const limits = byKernel(slices, calmLimit);
  return slices.filter(({ kernel, begin, end }) => end - begin <= limits.get(kernel));
}

/** Whether the thread was stopped in a slice. @param {Map<string, number>} bursts @param {Slice} slice */
function isStall(bursts, { kernel, begin, end }) {
  return end - begin > STALL_FACTOR * bursts.get(kernel) + STALL_MS;
}

/**
 * Burst time over wall time (0..1]: the share of time in which one thread ran at its burst speed. A
 * short burst does not see throttling (a CPU quota, a governor, heat), this does.
 *
 * A quota stops the thread once a period (100 ms in Linux's cgroups). Where such stalls are seen,
 * only whole periods count, from the end of the first stall to the end of the last, as the log begins
 * and ends anywhere in one. Time between slices is left out: it belongs to work that does not count.
 * @param {Slice[]} slices in order
 */
export function dutyOf(slices) {
  const bursts = byKernel(slices, burstTime);
  // Sums up to and including each slice, so that any span is a difference.
  let wall = 0;
  let burst = 0;
  const stalls = [];
  for (const slice of slices) {
    wall += slice.end - slice.begin;
    burst += bursts.get(slice.kernel);
    if (isStall(bursts, slice)) stalls.push({ wall, burst });
  }
  const first = stalls[0];
  const last = stalls[stalls.length - 1];
  const periodic = stalls.length >= MIN_STALLS && last.wall - first.wall >= MIN_SPAN * wall;
  const duty = periodic ? (last.burst - first.burst) / (last.wall - first.wall) : burst / wall;
  return wall > 0 ? Math.min(1, duty) : 1;
}

/**
 * How much slower the last third of the log was than the first: the median over the kernels of the
 * ratio of their median times; 1 is steady. Null where no kernel has slices in both.
 * @param {Slice[]} slices
 */
export function driftOf(slices) {
  if (slices.length === 0) return null;
  const from = slices[0].begin;
  const third = (slices[slices.length - 1].end - from) / 3;
  const bursts = byKernel(slices, burstTime);
  const parts = new Map();
  for (const slice of slices) {
    if (isStall(bursts, slice)) continue;
    const { kernel, begin, end } = slice;
    if (!parts.has(kernel)) parts.set(kernel, [[], [], []]);
    parts.get(kernel)[Math.min(2, Math.floor((begin - from) / third))].push(end - begin);
  }
  const ratios = [...parts.values()].map(([first, , last]) => median(last) / median(first));
  const found = ratios.filter((ratio) => Number.isFinite(ratio));
  return found.length > 0 ? median(found) : null;
}
