// Which GPU a backend would run on, and whether it is one in software: asked of the browser before
// any library is, since libraries differ in what they say when there is none.

import { UnsupportedError } from "./page.js";

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|basic render|software/i;

/** @returns {Promise<{adapter: string, software: boolean}>} */
export async function webgpuAdapter() {
  if (!navigator.gpu) throw new UnsupportedError("the browser has no WebGPU");
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) throw new UnsupportedError("no WebGPU adapter");
  const { vendor, architecture, description } = adapter.info;
  const name = [vendor, architecture, description].filter(Boolean).join(" ") || "unnamed";
  return { adapter: name, software: adapter.info.isFallbackAdapter || SOFTWARE.test(name) };
}

/** @returns {{adapter: string, software: boolean}} */
export function webglRenderer() {
  const canvas = document.createElement("canvas");
  const gl = canvas.getContext("webgl2") ?? canvas.getContext("webgl");
  if (!gl) throw new UnsupportedError("the browser has no WebGL");
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(gl.getParameter(names?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return { adapter: name, software: SOFTWARE.test(name) };
}
