// Grows one WebAssembly memory a step at a time and writes every page of it. In a worker, so that the
// page stays responsive and ending the worker gives everything back at once.

const PAGE = 65536; // also the most that getRandomValues() fills in one call
/** @type {WebAssembly.Memory | undefined} */
let memory;

/** @param {{pages: number, maximum: number}} step */
function grow({ pages, maximum }) {
  memory ??= new WebAssembly.Memory({ initial: 0, maximum });
  const from = memory.grow(pages);
  // Random: a kernel that is short of memory compresses pages, and zeros to nothing.
  for (let page = from; page < from + pages; page++) {
    crypto.getRandomValues(new Uint8Array(memory.buffer, page * PAGE, PAGE));
  }
  return (from + pages) * PAGE;
}

self.onmessage = ({ data }) => {
  try {
    self.postMessage({ bytes: grow(data) });
  } catch (error) {
    self.postMessage({ error: `${error?.name}: ${error?.message}` });
  }
};
