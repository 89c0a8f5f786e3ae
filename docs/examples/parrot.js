// An engine that says the prompt again: the smallest adapter that the trial page accepts.

/** @param {{vocabulary: number}} config @param {any} events */
export async function createEngine(config, events) {
  /** @type {Uint8Array[]} */ let weights = [];
  return {
    /** Get the bytes from wherever they are. @param {any} source @param {Function} onProgress */
    async download(source, onProgress) {
      const sizes = source.files.map((/** @type {any} */ file) => file.bytes);
      const total = sizes.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0);
      let done = 0;
      const parts = [];
      for (const file of source.files) {
        parts.push(
          await source.buffer(file.name, (/** @type {number} */ n) => onProgress((done += n), total)),
        );
      }
      return parts;
    },

    /** Make the session. @param {Uint8Array[]} parts */
    async create(parts) {
      if (parts.some((part) => part.length === 0)) {
        events.onArtifactRefused("a file is empty");
        return;
      }
      weights = parts;
    },

    /**
     * @param {{ids: number[], text: string}} prompt @param {number} count
     * @param {(batch: {id: number, finite: boolean | null}[]) => void} onTokens  tokens, a batch
     *   for what came together
     */
    async generate(prompt, count, onTokens) {
      for (let i = 0; i < count; i++) {
        const id = prompt.ids[i % prompt.ids.length] % config.vocabulary;
        onTokens([{ id, finite: weights.length > 0 }]);
      }
    },

    async dispose() {
      weights = [];
    },
  };
}
