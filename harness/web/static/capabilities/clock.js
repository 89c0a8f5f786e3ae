// Repeated timing, bounded: at least three times, so that there is a spread, and no longer than the
// budget beyond that.

const LEAST = 3;
const MOST = 30;

/**
 * Seconds of each run of `work`, which has run at least once before: compilation and first use are
 * not part of it.
 * @param {() => Promise<unknown>} work @param {number} budgetMs
 */
export async function timed(work, budgetMs) {
  const seconds = [];
  const end = performance.now() + budgetMs;
  while (seconds.length < LEAST || (performance.now() < end && seconds.length < MOST)) {
    const start = performance.now();
    await work();
    seconds.push((performance.now() - start) / 1e3);
  }
  return seconds;
}
