// The WebGPU kernels (WGSL). Sizes that differ between dispatches come in a uniform.

/**
 * Random words by a counter hash (the pcg output function); also what first touches a buffer. The
 * mask makes both halves of a word half floats below 2: none is infinite or not a number.
 */
export const FILL = /* wgsl */ `
struct Parameters { count: u32, seed: u32, stride: u32 }
@group(0) @binding(0) var<storage, read_write> words: array<u32>;
@group(0) @binding(1) var<uniform> parameters: Parameters;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  for (var i = id.x; i < parameters.count; i += parameters.stride) {
    let state = (i + parameters.seed) * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    words[i] = ((word >> 22u) ^ word) & 0xbbffbbffu;
  }
}`;

/**
 * Fused int4 GEMV: a workgroup reduces four rows at once, a thread takes one block of 32 weights
 * (a vec4u) of each. Depth is 64 * 32 = 2048. Scales are random bits with a fixed exponent, which
 * makes them normal numbers.
 */
export const GEMV = /* wgsl */ `
struct Parameters { rows: u32, first: u32 }
@group(0) @binding(0) var<storage, read> weights: array<vec4u>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<uniform> parameters: Parameters;
var<workgroup> partial: array<vec4f, 64>;

fn small(word: u32) -> f32 { return bitcast<f32>((word & 0x807fffffu) | 0x3c000000u); }
fn nibbles(word: u32) -> vec4f { return vec4f((vec4u(word) >> vec4u(0, 4, 8, 12)) & vec4u(15)) - 8.0; }
fn product(packed: vec4u, at: u32) -> f32 {
  return dot(nibbles(packed.x), x[at]) + dot(nibbles(packed.x >> 16u), x[at + 1u])
    + dot(nibbles(packed.y), x[at + 2u]) + dot(nibbles(packed.y >> 16u), x[at + 3u])
    + dot(nibbles(packed.z), x[at + 4u]) + dot(nibbles(packed.z >> 16u), x[at + 5u])
    + dot(nibbles(packed.w), x[at + 6u]) + dot(nibbles(packed.w >> 16u), x[at + 7u]);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let quad = group.x + group.y * groups.x;
  if (quad * 4u >= parameters.rows) { return; }
  let block = (parameters.first + quad * 4u) * 64u + lane;
  let at = lane * 8u;
  partial[lane] = vec4f(
    product(weights[block], at) * small(scales[block]),
    product(weights[block + 64u], at) * small(scales[block + 64u]),
    product(weights[block + 128u], at) * small(scales[block + 128u]),
    product(weights[block + 192u], at) * small(scales[block + 192u]));
  for (var half = 32u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] += partial[lane + half]; }
  }
  if (lane == 0u) { y[quad] = partial[0]; }
}`;

/** Tiled fp32 matrix product, n x n (n a multiple of 64): tiles of 64 x 64, 4 x 4 a thread. */
export const MATMUL = /* wgsl */ `
struct Parameters { n: u32 }
@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
var<workgroup> tile_a: array<f32, 1024>;
var<workgroup> tile_b: array<vec4f, 256>;

fn small(word: u32) -> f32 { return bitcast<f32>((word & 0x807fffffu) | 0x3c000000u); }

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let n = parameters.n;
  let row = group.y * 64u;
  let column = group.x * 64u;
  var sums = array<vec4f, 4>();
  for (var k = 0u; k < n; k += 16u) {
    for (var i = 0u; i < 4u; i++) {
      tile_a[lane + 256u * i] = small(a[(row + local.y + 16u * i) * n + k + local.x]);
    }
    let at = (k + local.y) * n + column + 4u * local.x;
    tile_b[lane] = vec4f(small(b[at]), small(b[at + 1u]), small(b[at + 2u]), small(b[at + 3u]));
    workgroupBarrier();
    for (var i = 0u; i < 16u; i++) {
      let values = tile_b[i * 16u + local.x];
      for (var r = 0u; r < 4u; r++) { sums[r] += tile_a[(local.y + 16u * r) * 16u + i] * values; }
    }
    workgroupBarrier();
  }
  for (var r = 0u; r < 4u; r++) {
    let at = (row + local.y + 16u * r) * n + column + 4u * local.x;
    for (var i = 0u; i < 4u; i++) { c[at + i] = sums[r][i]; }
  }
}`;

/** One small operation over 2048 floats in place: each dispatch depends on the one before. */
export const CHAIN = /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let value = values[id.x];
  values[id.x] = (1.0 + value) / (1.0 + abs(value));
}`;

const REDUCTION = /* wgsl */ `
  for (var half = 32u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] += partial[lane + half]; }
  }
  if (lane == 0u) { y[quad] = partial[0]; }
}`;

/** As `GEMV` with 8-bit weights: a block of 32 is two vec4u, a row of 2048 is 2 KiB. */
export const GEMV_INT8 = /* wgsl */ `
struct Parameters { rows: u32, first: u32 }
@group(0) @binding(0) var<storage, read> weights: array<vec4u>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<uniform> parameters: Parameters;
var<workgroup> partial: array<vec4f, 64>;

fn small(word: u32) -> f32 { return bitcast<f32>((word & 0x807fffffu) | 0x3c000000u); }
fn bytes(word: u32) -> vec4f {
  return vec4f((vec4i(bitcast<i32>(word)) << vec4u(24, 16, 8, 0)) >> vec4u(24));
}
fn quarter(packed: vec4u, at: u32) -> f32 {
  return dot(bytes(packed.x), x[at]) + dot(bytes(packed.y), x[at + 1u])
    + dot(bytes(packed.z), x[at + 2u]) + dot(bytes(packed.w), x[at + 3u]);
}
fn product(block: u32, at: u32) -> f32 {
  return (quarter(weights[2u * block], at) + quarter(weights[2u * block + 1u], at + 4u))
    * small(scales[block]);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let quad = group.x + group.y * groups.x;
  if (quad * 4u >= parameters.rows) { return; }
  let block = (parameters.first + quad * 4u) * 64u + lane;
  let at = lane * 8u;
  partial[lane] = vec4f(product(block, at), product(block + 64u, at), product(block + 128u, at),
                        product(block + 192u, at));${REDUCTION}`;

/** As `GEMV` with half floats and no scales: 4 KiB a row, products and sums in fp32. */
export const GEMV_F16 = /* wgsl */ `
enable f16;
struct Parameters { rows: u32, first: u32 }
@group(0) @binding(0) var<storage, read> weights: array<vec4<f16>>;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
var<workgroup> partial: array<vec4f, 64>;

fn product(row: u32, lane: u32) -> f32 {
  var sum = 0.0;
  for (var i = lane; i < 512u; i += 64u) { sum += dot(vec4f(weights[row * 512u + i]), x[i]); }
  return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let quad = group.x + group.y * groups.x;
  if (quad * 4u >= parameters.rows) { return; }
  let row = parameters.first + quad * 4u;
  partial[lane] = vec4f(product(row, lane), product(row + 1u, lane), product(row + 2u, lane),
                        product(row + 3u, lane));${REDUCTION}`;

/** As `MATMUL` with half floats: sums of 16 products in halves, of these in fp32. */
export const MATMUL_F16 = /* wgsl */ `
enable f16;
struct Parameters { n: u32 }
@group(0) @binding(0) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
var<workgroup> tile_a: array<f16, 1024>;
var<workgroup> tile_b: array<vec4<f16>, 256>;

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let n = parameters.n;
  let row = group.y * 64u;
  let column = group.x * 64u;
  var sums = array<vec4f, 4>();
  for (var k = 0u; k < n; k += 16u) {
    let four = a[((row + lane / 4u) * n + k) / 4u + lane % 4u];
    for (var i = 0u; i < 4u; i++) { tile_a[4u * lane + i] = four[i]; }
    tile_b[lane] = b[((k + local.y) * n + column) / 4u + local.x];
    workgroupBarrier();
    var part = array<vec4<f16>, 4>();
    for (var i = 0u; i < 16u; i++) {
      let values = tile_b[i * 16u + local.x];
      for (var r = 0u; r < 4u; r++) { part[r] += tile_a[(local.y + 16u * r) * 16u + i] * values; }
    }
    for (var r = 0u; r < 4u; r++) { sums[r] += vec4f(part[r]); }
    workgroupBarrier();
  }
  for (var r = 0u; r < 4u; r++) {
    let at = (row + local.y + 16u * r) * n + column + 4u * local.x;
    for (var i = 0u; i < 4u; i++) { c[at + i] = sums[r][i]; }
  }
}`;

/**
 * Attention of one token, the first stage of it: a workgroup takes 64 positions of one head of 128
 * floats, keys stored by fours across positions, values by position. Out come, for each block, the
 * weighted sum of its values (32 vec4f), then the largest score and the sum of the weights. The
 * query of a block is one of the 16 in `x`.
 */
export const ATTENTION = /* wgsl */ `
struct Parameters { blocks: u32 }
@group(0) @binding(0) var<storage, read> keys: array<vec4u>;
@group(0) @binding(1) var<storage, read> values: array<vec4u>;
@group(0) @binding(2) var<storage, read> x: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
@group(0) @binding(4) var<uniform> parameters: Parameters;
var<workgroup> scores: array<f32, 64>;
var<workgroup> weights: array<f32, 64>;
var<workgroup> partial: array<vec4f, 64>;
var<workgroup> totals: array<f32, 64>;

fn small(words: vec4u) -> vec4f {
  return bitcast<vec4f>((words & vec4u(0x807fffffu)) | vec4u(0x3c000000u));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let block = group.x;
  if (block >= parameters.blocks) { return; }
  let query = (block % 16u) * 32u;
  var score = 0.0;
  for (var i = 0u; i < 32u; i++) {
    score += dot(small(keys[(block * 32u + i) * 64u + lane]), x[query + i]);
  }
  score *= 0.08838834764831845;
  scores[lane] = score;
  for (var half = 32u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) { scores[lane] = max(scores[lane], scores[lane + half]); }
  }
  workgroupBarrier();
  weights[lane] = exp(score - scores[0]);
  workgroupBarrier();
  let column = lane % 32u;
  let first = (lane / 32u) * 32u;
  var sum = vec4f();
  var total = 0.0;
  for (var i = first; i < first + 32u; i++) {
    sum += weights[i] * small(values[(block * 64u + i) * 32u + column]);
    total += weights[i];
  }
  partial[lane] = sum;
  totals[lane] = total;
  workgroupBarrier();
  if (lane < 32u) { result[block * 33u + lane] = partial[lane] + partial[lane + 32u]; }
  if (lane == 0u) { result[block * 33u + 32u] = vec4f(scores[0], totals[0] + totals[32], 0.0, 0.0); }
}`;
