// What adapters of streaming engines share.

/**
 * The stream of an artifact's entry, with its progress reported while the engine reads it.
 * @param {any} source @param {(done: number, total: number) => void} onProgress
 * @returns {Promise<ReadableStream<Uint8Array>>}
 */
export async function countedStream(source, onProgress) {
  const { name, bytes } = source.files[0];
  let done = 0;
  return (await source.stream(name)).pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        onProgress((done += chunk.length), bytes);
        controller.enqueue(chunk);
      },
    }),
  );
}

/**
 * Passes lines of the console on, and lets them through: engines in WebAssembly tell what went wrong
 * there and nowhere else.
 * @param {(line: string) => void} onLine
 */
export function watchConsole(onLine) {
  for (const level of /** @type {const} */ (["log", "warn", "error"])) {
    const original = console[level];
    console[level] = (...values) => {
      original.apply(console, values);
      onLine(values.map(String).join(" "));
    };
  }
}
