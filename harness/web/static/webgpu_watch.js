// Watches WebGPU in the realm that it is called in: whoever asks for a device here, its loss and its
// errors are reported, pipelines are timed, and the bytes of its buffers and textures are summed (some
// engines keep weights in textures). Engines show little of this themselves: a load may "succeed" with
// warnings on the console, and a "GPU" run may have its weights on the CPU.

/** Bytes of one texel, as far as the format's name tells (`rgba16float`). @param {string} format */
function texelBytes(format) {
  const [, channels = "", bits = "0"] = /^(rgba|bgra|rg|r)(8|16|32)/.exec(format) ?? [];
  return (channels.length * Number(bits)) / 8;
}

/** Bytes of a texture without its smaller copies. @param {any} descriptor */
function textureBytes({ size, format }) {
  const [width, height = 1, layers = 1] = Symbol.iterator in Object(size)
    ? size
    : [size.width, size.height, size.depthOrArrayLayers];
  return width * height * layers * texelBytes(format);
}

/**
 * @param {{onDeviceLost: Function, onValidation: Function}} events
 * @returns {{figures: () => {bytes: number, peak_bytes: number, pipelines: number,
 *   compile_ms: number}}}
 */
export function watchWebGpu(events) {
  const sums = { bytes: 0, peak_bytes: 0, pipelines: 0, compile_ms: 0 };
  const figures = () => ({ ...sums });
  const { GPUAdapter, GPUBuffer, GPUDevice, GPUTexture } = /** @type {any} */ (globalThis);
  if (!GPUAdapter || !GPUDevice) return { figures };

  let busyUntil = 0;
  /** Adds one interval; what several compilations share counts once. */
  function compiled(/** @type {number} */ began) {
    const now = performance.now();
    sums.compile_ms += Math.max(0, now - Math.max(began, busyUntil));
    busyUntil = Math.max(busyUntil, now);
  }

  /** @param {any} prototype @param {string} name @param {(original: Function) => Function} make */
  function wrap(prototype, name, make) {
    const original = prototype[name];
    if (original) prototype[name] = make(original);
  }

  wrap(GPUAdapter.prototype, "requestDevice", (original) =>
    async function (/** @type {any} */ descriptor) {
      // @ts-ignore: `this` is the adapter
      const device = await original.call(this, descriptor);
      device.lost.then((/** @type {any} */ info) => {
        if (info.reason !== "destroyed") events.onDeviceLost(info);
      });
      device.addEventListener("uncapturederror", (/** @type {any} */ event) =>
        events.onValidation(`${event.error.constructor.name}: ${event.error.message}`),
      );
      return device;
    });

  // A pipeline is compiled in another process: the answer to an error scope around it comes when
  // that is done.
  wrap(GPUDevice.prototype, "createComputePipeline", (original) =>
    function (/** @type {any} */ descriptor) {
      const began = performance.now();
      // @ts-ignore: `this` is the device
      const device = this;
      device.pushErrorScope("internal");
      const pipeline = original.call(device, descriptor);
      device
        .popErrorScope()
        .then((/** @type {any} */ error) => {
          compiled(began);
          if (error) events.onValidation(`GPUInternalError: ${error.message}`);
        })
        .catch(() => {}); // the device is lost, and says so itself
      sums.pipelines += 1;
      return pipeline;
    });
  wrap(GPUDevice.prototype, "createComputePipelineAsync", (original) =>
    async function (/** @type {any} */ descriptor) {
      const began = performance.now();
      sums.pipelines += 1;
      try {
        // @ts-ignore: `this` is the device
        return await original.call(this, descriptor);
      } finally {
        compiled(began);
      }
    });

  /** @type {WeakMap<object, number>} */
  const living = new WeakMap();
  /** Sums what a method of a device makes. @param {string} method @param {Function} sizeOf */
  function sum(method, sizeOf) {
    wrap(GPUDevice.prototype, method, (original) =>
      function (/** @type {any} */ descriptor) {
        // @ts-ignore: `this` is the device
        const made = original.call(this, descriptor);
        const size = sizeOf(descriptor);
        living.set(made, size);
        sums.bytes += size;
        sums.peak_bytes = Math.max(sums.peak_bytes, sums.bytes);
        return made;
      });
  }
  sum("createBuffer", (/** @type {any} */ descriptor) => descriptor.size);
  sum("createTexture", textureBytes);
  for (const { prototype } of [GPUBuffer, GPUTexture]) {
    wrap(prototype, "destroy", (original) =>
      function () {
        // @ts-ignore: `this` is the buffer or the texture
        sums.bytes -= living.get(this) ?? 0;
        // @ts-ignore: as above
        living.delete(this);
        // @ts-ignore: as above
        return original.call(this);
      });
  }
  return { figures };
}
