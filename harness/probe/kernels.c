// WebAssembly kernels of the zero-weight probe. Freestanding: every address is passed in by
// worker.js, the module has no allocator and no state. Built by build.sh into kernels.wasm.
//
// They stand for an engine's work, so they are written as the engine's are, not as well as they
// could be: a hand-tuned kernel is the worse predictor. What each stands for:
//   dequant_int4/int8 + gemv/gemm   onnxruntime-web, MatMulNBits without a fused kernel (as in its
//       WebAssembly build): all weights of a matrix are expanded to fp32, one scalar at a time,
//       walking the columns for each pair of blocks; then a general fp32 product packs 128x128
//       panels of the transposed matrix and multiplies 16 columns by one or two rows at a time.
//   dot_int8/int4, dot_q4_k         llama.cpp-like engines: blocks of 32 with an fp16 scale, or
//       K-quants in blocks of 256; the product formed in integers without expanding the weights, in
//       generic loops that the compiler vectorises as it can.
//   simd_int8/int4                  XNNPACK-like engines: weights packed for SIMD, four rows at once,
//       one scale a row.
//   small_ops, attention            what a layer does beside its matrices, at one token.
#include <stdint.h>
#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define BLOCK 32
#define PANEL 128

static inline uint64_t mix(uint64_t value) {  // splitmix64's finaliser
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ull;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBull;
  return value ^ (value >> 31);
}

// Random bits: word i is mix(seed + (i + 1) * the golden ratio); in each half of it only the bits in
// `keep` are random, those in `set` are 1.
EXPORT(fill_words)
void fill_words(uint64_t *out, int words, uint32_t seed, uint32_t keep, uint32_t set) {
  const uint64_t kept = (uint64_t)keep << 32 | keep, ones = (uint64_t)set << 32 | set;
  uint64_t state = seed;
  for (int i = 0; i < words; i++) out[i] = (mix(state += 0x9E3779B97F4A7C15ull) & kept) | ones;
}

// Random floats in [low, high); never denormal for the ranges used.
EXPORT(fill_floats) void fill_floats(float *out, int count, uint32_t seed, float low, float high) {
  uint64_t state = seed;
  const float step = (high - low) / 16777216.0f;
  for (int i = 0; i < count; i++) {
    out[i] = low + step * (float)(mix(state += 0x9E3779B97F4A7C15ull) >> 40);
  }
}

// Expands one strip of one column: kept out of line, as the engine calls it through a function
// pointer for each strip. The scale is looked up again for each weight, as there.
#define STRIP(name, bits)                                                                         \
  static __attribute__((noinline)) void name(float *out, const uint8_t *weights,                  \
                                             const float *scales, int depth, int column,          \
                                             int from, int to) {                                  \
    const int per_byte = 8 / (bits), mask = (1 << (bits)) - 1, zero = 1 << ((bits) - 1);          \
    const int blocks = depth / BLOCK, bytes = depth / per_byte;                                   \
    _Pragma("clang loop vectorize(disable) unroll(disable)") for (int i = from; i < to; i++) {    \
      const float scale = scales[column * blocks + i / BLOCK];                                    \
      const int packed = weights[column * bytes + i / per_byte];                                  \
      const int value = (packed >> ((bits) * (i % per_byte))) & mask;                             \
      out[column * depth + i] = (float)(value - zero) * scale;                                    \
    }                                                                                             \
  }
STRIP(strip_int4, 4)
STRIP(strip_int8, 8)

// out [columns][depth] fp32 from weights [columns][depth * bits / 8] and scales [columns][depth/32].
EXPORT(dequant_int4)
void dequant_int4(float *out, const uint8_t *weights, const float *scales, int columns, int depth) {
  for (int from = 0; from < depth; from += 2 * BLOCK) {
    const int to = from + 2 * BLOCK < depth ? from + 2 * BLOCK : depth;
    for (int c = 0; c < columns; c++) strip_int4(out, weights, scales, depth, c, from, to);
  }
}

EXPORT(dequant_int8)
void dequant_int8(float *out, const uint8_t *weights, const float *scales, int columns, int depth) {
  for (int from = 0; from < depth; from += BLOCK) {
    for (int c = 0; c < columns; c++) strip_int8(out, weights, scales, depth, c, from, from + BLOCK);
  }
}

// For normal halves only (the callers' masks see to that): moves the exponent bias from 15 to 127.
static inline float half_to_float(uint16_t half) {
  union { uint32_t bits; float value; } out;
  out.bits = ((uint32_t)(half & 0x8000) << 16) | (((uint32_t)(half & 0x7fff) << 13) + (112u << 23));
  return out.value;
}

// fp16 to fp32; the masks make random bits a normal number below 2 in magnitude.
EXPORT(cast_fp16) void cast_fp16(float *out, const uint16_t *in, int count) {
  for (int i = 0; i < count; i++) out[i] = half_to_float((in[i] & 0xbfff) | 0x0400);
}

// Packs `columns` x `depth` of b [columns][stride] so that 16 columns lie side by side for each k.
static __attribute__((noinline)) void pack(float *panel, const float *b, int stride, int columns,
                                           int depth) {
  for (int c = 0; c < columns; c += 16, b += 16 * stride) {
    for (int k = 0; k < depth; k += 4, panel += 64) {
      for (int g = 0; g < 4; g++) {
        const float *s = b + g * 4 * stride + k;
        v128_t r0 = wasm_v128_load(s), r1 = wasm_v128_load(s + stride);
        v128_t r2 = wasm_v128_load(s + 2 * stride), r3 = wasm_v128_load(s + 3 * stride);
        v128_t a = wasm_i32x4_shuffle(r0, r1, 0, 4, 1, 5), d = wasm_i32x4_shuffle(r2, r3, 0, 4, 1, 5);
        v128_t e = wasm_i32x4_shuffle(r0, r1, 2, 6, 3, 7), f = wasm_i32x4_shuffle(r2, r3, 2, 6, 3, 7);
        wasm_v128_store(panel + g * 4, wasm_i64x2_shuffle(a, d, 0, 2));
        wasm_v128_store(panel + 16 + g * 4, wasm_i64x2_shuffle(a, d, 1, 3));
        wasm_v128_store(panel + 32 + g * 4, wasm_i64x2_shuffle(e, f, 0, 2));
        wasm_v128_store(panel + 48 + g * 4, wasm_i64x2_shuffle(e, f, 1, 3));
      }
    }
  }
}

#define FMA(sum, b, a) sum = wasm_f32x4_add(sum, wasm_f32x4_mul(b, a))

static __attribute__((noinline)) void rows1(float *y, const float *x, const float *panel,
                                            int columns, int depth, int first) {
  for (int c = 0; c < columns; c += 16, y += 16) {
    v128_t s0 = wasm_f32x4_splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (int k = 0; k < depth; k++, panel += 16) {
      const v128_t a = wasm_f32x4_splat(x[k]);
      FMA(s0, wasm_v128_load(panel), a);
      FMA(s1, wasm_v128_load(panel + 4), a);
      FMA(s2, wasm_v128_load(panel + 8), a);
      FMA(s3, wasm_v128_load(panel + 12), a);
    }
    if (!first) {
      s0 = wasm_f32x4_add(s0, wasm_v128_load(y));
      s1 = wasm_f32x4_add(s1, wasm_v128_load(y + 4));
      s2 = wasm_f32x4_add(s2, wasm_v128_load(y + 8));
      s3 = wasm_f32x4_add(s3, wasm_v128_load(y + 12));
    }
    wasm_v128_store(y, s0);
    wasm_v128_store(y + 4, s1);
    wasm_v128_store(y + 8, s2);
    wasm_v128_store(y + 12, s3);
  }
}

static __attribute__((noinline)) void rows2(float *y, const float *x, const float *panel,
                                            int columns, int depth, int first, int x_stride,
                                            int y_stride) {
  for (int c = 0; c < columns; c += 16, y += 16) {
    v128_t s[8];
    for (int i = 0; i < 8; i++) s[i] = wasm_f32x4_splat(0);
    for (int k = 0; k < depth; k++, panel += 16) {
      const v128_t a = wasm_f32x4_splat(x[k]), b = wasm_f32x4_splat(x[k + x_stride]);
#pragma clang loop unroll(full)
      for (int i = 0; i < 4; i++) {
        const v128_t p = wasm_v128_load(panel + 4 * i);
        FMA(s[i], p, a);
        FMA(s[i + 4], p, b);
      }
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; i++) {
      float *out = y + (i < 4 ? 0 : y_stride) + 4 * (i & 3);
      wasm_v128_store(out, first ? s[i] : wasm_f32x4_add(s[i], wasm_v128_load(out)));
    }
  }
}

// y [rows][columns] = x [rows][depth] times b [columns][depth] transposed, fp32. `panel` holds
// 128 * 128 floats. columns: multiple of 16; depth: multiple of 4.
EXPORT(gemm)
void gemm(float *y, const float *x, const float *b, float *panel, int rows, int columns, int depth) {
  for (int c = 0; c < columns; c += PANEL) {
    const int wide = columns - c < PANEL ? columns - c : PANEL;
    for (int k = 0; k < depth; k += PANEL) {
      const int deep = depth - k < PANEL ? depth - k : PANEL;
      pack(panel, b + c * depth + k, depth, wide, deep);
      int r = 0;
      for (; r + 2 <= rows; r += 2) {
        rows2(y + r * columns + c, x + r * depth + k, panel, wide, deep, k == 0, depth, columns);
      }
      if (r < rows) rows1(y + r * columns + c, x + r * depth + k, panel, wide, deep, k == 0);
    }
  }
}

// The scale of a packed block; the mask makes random bits a normal number in [2^-7, 2^-6).
static inline float block_scale(const uint8_t *block) {
  return half_to_float((uint16_t)(((block[0] | block[1] << 8) & 0x03ff) | 0x2000));
}

// y [rows]: blocks of 34 bytes (fp16 scale, 32 signed bytes) against x of the same format.
EXPORT(dot_int8) void dot_int8(float *y, const uint8_t *weights, const uint8_t *x, int rows, int blocks) {
  for (int r = 0; r < rows; r++) {
    float sum = 0;
    for (int b = 0; b < blocks; b++, weights += 34) {
      const int8_t *w = (const int8_t *)weights + 2, *v = (const int8_t *)x + b * 34 + 2;
      int dot = 0;
      for (int i = 0; i < BLOCK; i++) dot += w[i] * v[i];
      sum += (float)dot * (block_scale(weights) * block_scale(x + b * 34));
    }
    y[r] = sum;
  }
}

// y [rows]: blocks of 18 bytes (fp16 scale, 32 nibbles minus 8: the low ones first) against x as above.
EXPORT(dot_int4) void dot_int4(float *y, const uint8_t *weights, const uint8_t *x, int rows, int blocks) {
  for (int r = 0; r < rows; r++) {
    float sum = 0;
    for (int b = 0; b < blocks; b++, weights += 18) {
      const uint8_t *w = weights + 2;
      const int8_t *v = (const int8_t *)x + b * 34 + 2;
      int dot = 0;
      for (int i = 0; i < BLOCK / 2; i++) {
        dot += ((w[i] & 15) - 8) * v[i] + ((w[i] >> 4) - 8) * v[i + BLOCK / 2];
      }
      sum += (float)dot * (block_scale(weights) * block_scale(x + b * 34));
    }
    y[r] = sum;
  }
}

// y [rows]: K-quant blocks of 144 bytes for 256 weights: fp16 scale of the scales, fp16 scale of the
// minima, 8 scales and 8 minima of 6 bits in 12 bytes, then 4 x 32 bytes of nibbles (the low ones
// are the 32 weights before the high ones). x: blocks of 292 bytes: fp32 scale, 256 signed bytes, 16
// sums of 16 of them (int16). A weight is scale * s * nibble - minimum * m.
static __attribute__((noinline)) float row_q4_k(const uint8_t *weights, const uint8_t *x, int blocks) {
  int8_t wide[256];
  int16_t products[8];
  int32_t total[8];
  uint8_t scale[8], minimum[8];
  float lanes[8] = {0}, sum = 0;
  for (int b = 0; b < blocks; b++, weights += 144, x += 292) {
    const uint8_t *packed = weights + 4, *nibbles = weights + 16;
    const int8_t *v = (const int8_t *)x + 4;
    const int16_t *sums = (const int16_t *)(x + 260);
    int8_t *w = wide;
    for (int l = 0; l < 8; l++) total[l] = 0;
    // Unrolled, these loops would stay scalar (clang 14); in engines they do not.
    for (int g = 0; g < 4; g++, nibbles += 32) {
#pragma clang loop unroll(disable)
      for (int i = 0; i < 32; i++) w[i] = (int8_t)(nibbles[i] & 15);
      w += 32;
#pragma clang loop unroll(disable)
      for (int i = 0; i < 32; i++) w[i] = (int8_t)(nibbles[i] >> 4);
      w += 32;
    }
    for (int i = 0; i < 4; i++) {
      scale[i] = packed[i] & 63;
      minimum[i] = packed[i + 4] & 63;
      scale[i + 4] = (packed[i + 8] & 15) | (packed[i] >> 6) << 4;
      minimum[i + 4] = packed[i + 8] >> 4 | (packed[i + 4] >> 6) << 4;
    }
    int offset = 0;
    for (int i = 0; i < 16; i++) offset += sums[i] * minimum[i / 2];
    w = wide;
    for (int g = 0; g < 8; g++) {
      const int factor = scale[g];
      for (int i = 0; i < 4; i++, w += 8, v += 8) {
        for (int l = 0; l < 8; l++) products[l] = (int16_t)(v[l] * w[l]);
        for (int l = 0; l < 8; l++) total[l] += factor * products[l];
      }
    }
    const float factor = *(const float *)x, d = block_scale(weights) * factor;
    for (int l = 0; l < 8; l++) lanes[l] += d * (float)total[l];
    sum -= block_scale(weights + 2) * factor * (float)offset;
  }
  for (int l = 0; l < 8; l++) sum += lanes[l];
  return sum;
}

EXPORT(dot_q4_k) void dot_q4_k(float *y, const uint8_t *weights, const uint8_t *x, int rows, int blocks) {
  for (int r = 0; r < rows; r++) y[r] = row_q4_k(weights + r * blocks * 144, x, blocks);
}

static inline v128_t across(v128_t a, v128_t b, v128_t c, v128_t d) {  // the four sums
  const v128_t ab = wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 2, 6), wasm_i32x4_shuffle(a, b, 1, 5, 3, 7));
  const v128_t cd = wasm_i32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 2, 6), wasm_i32x4_shuffle(c, d, 1, 5, 3, 7));
  return wasm_i32x4_add(wasm_i64x2_shuffle(ab, cd, 0, 2), wasm_i64x2_shuffle(ab, cd, 1, 3));
}

#define DOT(sum, a, b) sum = wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(a, b))

// y [rows] = scale * weights times x [depth] of signed bytes. Weights: for four rows together, 8
// signed bytes of each row in turn. rows: multiple of 4; depth: of 8.
EXPORT(simd_int8)
void simd_int8(float *y, const int8_t *weights, const int8_t *x, int rows, int depth, float scale) {
  for (int r = 0; r < rows; r += 4) {
    v128_t s0 = wasm_i32x4_splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (int k = 0; k < depth; k += 8, weights += 32) {
      const v128_t a = wasm_i16x8_load8x8(x + k);
      const v128_t b01 = wasm_v128_load(weights), b23 = wasm_v128_load(weights + 16);
      DOT(s0, a, wasm_i16x8_extend_low_i8x16(b01));
      DOT(s1, a, wasm_i16x8_extend_high_i8x16(b01));
      DOT(s2, a, wasm_i16x8_extend_low_i8x16(b23));
      DOT(s3, a, wasm_i16x8_extend_high_i8x16(b23));
    }
    const v128_t sum = wasm_f32x4_convert_i32x4(across(s0, s1, s2, s3));
    wasm_v128_store(y + r, wasm_f32x4_mul(sum, wasm_f32x4_splat(scale)));
  }
}

// As simd_int8 with signed nibbles: for four rows, 8 bytes of each row in turn, whose low nibbles are
// the 8 weights before those of the high ones. depth: multiple of 16. Both nibbles are used in the
// upper half of a byte, where the sign is right: 16 times too much, which the scale takes back.
EXPORT(simd_int4)
void simd_int4(float *y, const int8_t *weights, const int8_t *x, int rows, int depth, float scale) {
  const v128_t high = wasm_i8x16_splat((int8_t)0xf0);
  for (int r = 0; r < rows; r += 4) {
    v128_t s0 = wasm_i32x4_splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (int k = 0; k < depth; k += 16, weights += 32) {
      const v128_t a = wasm_i16x8_load8x8(x + k), b = wasm_i16x8_load8x8(x + k + 8);
      const v128_t w01 = wasm_v128_load(weights), w23 = wasm_v128_load(weights + 16);
      const v128_t l01 = wasm_i8x16_shl(w01, 4), l23 = wasm_i8x16_shl(w23, 4);
      const v128_t h01 = wasm_v128_and(w01, high), h23 = wasm_v128_and(w23, high);
      DOT(s0, a, wasm_i16x8_extend_low_i8x16(l01));
      DOT(s1, a, wasm_i16x8_extend_high_i8x16(l01));
      DOT(s2, a, wasm_i16x8_extend_low_i8x16(l23));
      DOT(s3, a, wasm_i16x8_extend_high_i8x16(l23));
      DOT(s0, b, wasm_i16x8_extend_low_i8x16(h01));
      DOT(s1, b, wasm_i16x8_extend_high_i8x16(h01));
      DOT(s2, b, wasm_i16x8_extend_low_i8x16(h23));
      DOT(s3, b, wasm_i16x8_extend_high_i8x16(h23));
    }
    const v128_t sum = wasm_f32x4_convert_i32x4(across(s0, s1, s2, s3));
    wasm_v128_store(y + r, wasm_f32x4_mul(sum, wasm_f32x4_splat(scale / 16)));
  }
}

static __attribute__((noinline)) void norm(float *out, const float *x, const float *gain, int n) {
  float sum = 0;
  for (int i = 0; i < n; i++) sum += x[i] * x[i];
  const float factor = 1.0f / __builtin_sqrtf(sum / (float)n + 1e-6f);
  for (int i = 0; i < n; i++) out[i] = x[i] * factor * gain[i];
}

static __attribute__((noinline)) void gate(float *out, const float *x, int n) {
  // The cost of an activation (a division each) without a library's exp; the 1 keeps a long chain
  // from decaying into denormals, which would time something else.
  for (int i = 0; i < n; i++) out[i] = (1.0f + x[i]) / (1.0f + __builtin_fabsf(x[i]));
}

static __attribute__((noinline)) void add(float *out, const float *x, const float *y, int n) {
  for (int i = 0; i < n; i++) out[i] = 0.5f * (x[i] + y[i]);
}

// A chain of 3 * rounds small operations over n floats, each reading what the last one wrote.
// work: 3 * n floats (the vector, a scratch, the gains).
EXPORT(chain) void chain(float *work, int n, int rounds) {
  for (int r = 0; r < rounds; r++) {
    norm(work + n, work, work + 2 * n, n);
    gate(work + n, work + n, n);
    add(work, work, work + n, n);
  }
}

// exp within 0.1 % (a cubic for the fraction): an engine's costs about as much. x in [-80, 0].
static inline float rough_exp(float x) {
  const float t = x * 1.44269504f;
  const int whole = (int)(t - 1.0f);
  const float part = t - (float)whole;
  union { int32_t bits; float value; } power;
  power.bits = (whole + 127) << 23;
  return power.value * (1.0f + part * (0.6955569f + part * (0.2261736f + part * 0.0781456f)));
}

static __attribute__((noinline)) void softmax(float *out, const float *x, int n, float scale) {
  float highest = x[0], sum = 0;
  for (int i = 1; i < n; i++) highest = x[i] > highest ? x[i] : highest;
#pragma clang loop vectorize(disable)
  for (int i = 0; i < n; i++) sum += out[i] = rough_exp(scale * (x[i] - highest));
  for (int i = 0; i < n; i++) out[i] /= sum;
}

// out = gain * x * sigmoid(1.7 x): the gated activation of a feed-forward layer.
static __attribute__((noinline)) void gated(float *out, const float *x, const float *gain, int n) {
#pragma clang loop vectorize(disable)
  for (int i = 0; i < n; i++) {
    const float e = rough_exp(-1.702f * __builtin_fabsf(x[i]));
    out[i] = gain[i] * x[i] * (x[i] < 0 ? e : 1.0f) / (1.0f + e);
  }
}

// Rounds x to the blocks of 34 bytes that dot_int8 takes; the stored scale is a stand-in.
static __attribute__((noinline)) void round_int8(uint8_t *out, const float *x, int n) {
  for (int b = 0; b < n / BLOCK; b++, x += BLOCK, out += 34) {
    float most = 0;
    for (int i = 0; i < BLOCK; i++) most = __builtin_fabsf(x[i]) > most ? __builtin_fabsf(x[i]) : most;
    const v128_t factor = wasm_f32x4_splat(most > 0 ? 127.0f / most : 0);
    out[0] = 0;
    out[1] = 0x24;
    for (int i = 0; i < BLOCK; i += 4) {
      const v128_t v = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_mul(wasm_v128_load(x + i), factor));
      out[2 + i] = (uint8_t)wasm_i32x4_extract_lane(v, 0);
      out[3 + i] = (uint8_t)wasm_i32x4_extract_lane(v, 1);
      out[4 + i] = (uint8_t)wasm_i32x4_extract_lane(v, 2);
      out[5 + i] = (uint8_t)wasm_i32x4_extract_lane(v, 3);
    }
  }
}

// What a layer of width n does beside its matrices, `rounds` times: two norms, two roundings to int8,
// a gated activation over 3 n, a softmax of 256, a residual. work: 14 n floats: the vector, its gains
// and 3 n gate values are read; the rest is scratch.
EXPORT(small_ops) void small_ops(float *work, int n, int rounds) {
  float *x = work, *gains = work + n, *gates = work + 2 * n, *t = work + 5 * n;
  float *scores = work + 6 * n, *wide = work + 7 * n;
  uint8_t *rounded = (uint8_t *)(work + 10 * n);
  for (int r = 0; r < rounds; r++) {
    norm(t, x, gains, n);
    round_int8(rounded, t, n);
    softmax(scores, t, 256, 1.0f);
    gated(wide, gates, gates, 3 * n);
    round_int8(rounded, wide, 3 * n);
    norm(t, t, gains, n);
    add(x, x, t, n);
  }
}

// One head at one token: out [width] = softmax(q keys) values, over `tokens`; keys and values
// [tokens][width] fp32. scores: room for 2 * tokens floats.
EXPORT(attention)
void attention(float *out, const float *q, const float *keys, const float *values, float *scores,
               int tokens, int width) {
  for (int t = 0; t < tokens; t++) {
    float sum = 0;
    for (int i = 0; i < width; i++) sum += q[i] * keys[t * width + i];
    scores[tokens + t] = sum;
  }
  softmax(scores, scores + tokens, tokens, 1.0f / __builtin_sqrtf((float)width));
  for (int i = 0; i < width; i++) out[i] = 0;
  for (int t = 0; t < tokens; t++) {
    for (int i = 0; i < width; i++) out[i] += scores[t] * values[t * width + i];
  }
}

// Copies `bytes` (a multiple of 32).
EXPORT(copy) void copy(uint8_t *out, const uint8_t *in, int bytes) {
  for (int i = 0; i < bytes; i += 32) {
    const v128_t a = wasm_v128_load(in + i), b = wasm_v128_load(in + i + 16);
    wasm_v128_store(out + i, a);
    wasm_v128_store(out + i + 16, b);
  }
}

// Reads `bytes` (a multiple of 64); the sum of all 32-bit words, so that nothing is skipped.
EXPORT(stream) int stream(const uint8_t *in, int bytes) {
  v128_t a = wasm_i32x4_splat(0), b = a, c = a, d = a;
  for (int i = 0; i < bytes; i += 64) {
    a = wasm_i32x4_add(a, wasm_v128_load(in + i));
    b = wasm_i32x4_add(b, wasm_v128_load(in + i + 16));
    c = wasm_i32x4_add(c, wasm_v128_load(in + i + 32));
    d = wasm_i32x4_add(d, wasm_v128_load(in + i + 48));
  }
  a = wasm_i32x4_add(wasm_i32x4_add(a, b), wasm_i32x4_add(c, d));
  return wasm_i32x4_extract_lane(a, 0) + wasm_i32x4_extract_lane(a, 1) +
         wasm_i32x4_extract_lane(a, 2) + wasm_i32x4_extract_lane(a, 3);
}
