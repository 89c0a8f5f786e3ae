// A WebGPU device that is measured: buffers, pipelines, bind groups, and submissions with their times.

const SLOTS = 2048;
const MAX_PROBLEMS = 20;
const STORAGE = () => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;

/** What was made or recorded is not valid, or there was no memory for it: the device lives on. */
export class GpuProblem extends Error {}

/**
 * One submission: ms at which its encoding and the submission itself began and the queue was done,
 * and the number of its timestamps, null where it has none.
 * @typedef {{encoded: number, begin: number, end: number, slot: number | null}} Submission
 */

/** A device with its problems collected: nothing here throws for an error outside of `scoped`. */
export class Gpu {
  /**
   * @param {any} device
   * @param {string[]} problems told what goes wrong outside of `scoped`
   * @param {(work: Promise<any>) => Promise<any>} checkpoint rejects once the probe has to end
   * @param {boolean} timestamps whether the device has `timestamp-query`
   */
  constructor(device, problems, checkpoint, timestamps) {
    Object.assign(this, { device, checkpoint, timestamps, bytes: 0, used: 0, failed: null });
    device.addEventListener?.("uncapturederror", (event) => {
      event.preventDefault?.();
      this.failed ??= `${event.error?.constructor?.name}: ${event.error?.message}`;
      if (problems.length < MAX_PROBLEMS) {
        problems.push(`webgpu: ${event.error?.constructor?.name}: ${event.error?.message}`);
      }
    });
    this.gone = device.lost.then((info) => {
      throw new Error(`device lost (${info.reason || "unknown"}): ${info.message}`);
    });
    this.gone.catch(() => {});
    if (timestamps) this.queries = device.createQuerySet({ type: "timestamp", count: 2 * SLOTS });
  }

  /** Waits, but no longer than the device lives or the probe may run. */
  wait(work) {
    return this.checkpoint(Promise.race([work, this.gone]));
  }

  /** Runs `work`; rejects with a GpuProblem where something in it was not valid or out of memory. */
  async scoped(work) {
    this.device.pushErrorScope("out-of-memory");
    this.device.pushErrorScope("validation");
    let answer;
    let failure = null;
    try {
      answer = await work();
    } catch (error) {
      failure = error;
    }
    const scopes = [this.device.popErrorScope(), this.device.popErrorScope()];
    for (const scope of scopes) scope.catch?.(() => {});
    // A loss or an abort is what ended it, whatever the scopes would say.
    if (failure && !(failure instanceof GpuProblem)) throw failure;
    const [validation, memory] = await this.wait(Promise.all(scopes));
    const found = validation ?? memory;
    if (found) throw new GpuProblem(`${found.constructor?.name}: ${found.message}`);
    if (failure) throw failure;
    return answer;
  }

  buffer(size, usage = STORAGE()) {
    this.bytes += size;
    return this.device.createBuffer({ size, usage });
  }

  uniform(values) {
    const buffer = this.buffer(16, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
    this.device.queue.writeBuffer(buffer, 0, new Uint32Array([...values, 0, 0, 0, 0].slice(0, 4)));
    return buffer;
  }

  /** A pipeline and the ms it took to compile. */
  async pipeline(code) {
    const began = performance.now();
    try {
      const module = this.device.createShaderModule({ code });
      const pipeline = await this.wait(this.device.createComputePipelineAsync({
        layout: "auto", compute: { module, entryPoint: "main" },
      }));
      return { pipeline, compile_ms: performance.now() - began };
    } catch (error) {
      if (error?.name !== "GPUPipelineError") throw error;
      throw new GpuProblem(`GPUPipelineError: ${error.message}`);
    }
  }

  /** A bind group of buffers, or of parts of them: {buffer, offset, size}. */
  bind(pipeline, resources) {
    const entries = resources.map((it, binding) => ({
      binding, resource: it.buffer ? it : { buffer: it },
    }));
    return this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  }

  /**
   * One submission of one pass, awaited.
   * @param {(pass: any) => void} record
   * @returns {Promise<Submission>}
   */
  async submit(record, timed = false) {
    const slot = timed && this.timestamps && this.used < SLOTS ? this.used++ : null;
    const encoded = performance.now();
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass(slot === null ? {} : { timestampWrites: {
      querySet: this.queries, beginningOfPassWriteIndex: 2 * slot, endOfPassWriteIndex: 2 * slot + 1,
    } });
    record(pass);
    pass.end();
    const commands = encoder.finish();
    const begin = performance.now();
    this.device.queue.submit([commands]);
    await this.wait(this.device.queue.onSubmittedWorkDone());
    return { encoded, begin, end: performance.now(), slot };
  }

  /** GPU ms by slot, read once all is over so that reading disturbs nothing; null where not known. */
  async times() {
    if (this.used === 0) return [];
    const size = 16 * this.used;
    const resolved = this.buffer(size, GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC);
    const readable = this.buffer(size, GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ);
    const encoder = this.device.createCommandEncoder();
    encoder.resolveQuerySet(this.queries, 0, 2 * this.used, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, readable, 0, size);
    this.device.queue.submit([encoder.finish()]);
    await this.wait(readable.mapAsync(GPUMapMode.READ));
    const stamps = new BigUint64Array(readable.getMappedRange().slice(0));
    readable.unmap();
    return Array.from({ length: this.used }, (_, i) => {
      const [from, to] = [stamps[2 * i], stamps[2 * i + 1]];
      return to > from ? Number(to - from) / 1e6 : null;
    });
  }
}
