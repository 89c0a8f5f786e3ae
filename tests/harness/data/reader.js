// An engine that only reads: it takes each file in every way that a source gives, and its tokens are
// the sizes and sums of what came, so that the harness sees whether those were the right bytes.

const MODULUS = 65_521;

/** @param {Uint8Array} data @param {number} sum */
function add(data, sum) {
  let total = sum;
  for (const byte of data) total += byte;
  return total % MODULUS;
}

/** @param {ReadableStream<Uint8Array>} stream @returns {Promise<[number, number]>} */
async function ofStream(stream) {
  let size = 0;
  let sum = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return [size, sum];
    size += value.length;
    sum = add(value, sum);
  }
}

/** @type {Record<string, (source: any, name: string) => Promise<[number, number]>>} */
const ways = {
  stream: async (source, name) => ofStream(await source.stream(name)),
  blob: async (source, name) => ofStream((await source.blob(name)).stream()),
  url: async (source, name) => ofStream((await fetch(source.url(name))).body),
  async buffer(source, name) {
    let told = 0;
    const data = await source.buffer(name, (/** @type {number} */ bytes) => (told += bytes));
    return [told, add(data, 0)];
  },
  never: () => new Promise(() => {}),
};

/** @param {{ways: string[]}} config */
export async function createEngine(config) {
  /** @type {number[]} */ const read = [];
  return {
    async download(source, onProgress) {
      for (const way of config.ways) {
        for (const { name, bytes } of source.files) {
          onProgress(0, bytes);
          read.push(...(await ways[way](source, name)));
          onProgress(bytes, bytes);
        }
      }
    },
    async create() {},
    async generate(_, count, onTokens) {
      onTokens(read.slice(0, count).map((id) => ({ id, finite: true })));
    },
    async dispose() {},
  };
}
