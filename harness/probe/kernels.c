// WebAssembly kernels of the zero-weight probe. Freestanding: every address is passed in by
// worker.js, the module has no allocator and no state. Built by build.sh into kernels.wasm.
//
// They stand for an engine's work, so they are written as the engine's are, not as well as they
// could be: a hand-tuned kernel is the worse predictor. What each stands for:
//   dequant_int4/int8 + gemv/gemm   onnxruntime-web, MatMulNBits without a fused kernel (as in its
//       WebAssembly build): all weights of a matrix are expanded to fp32, one scalar at a time,
//       walking the columns for each pair of blocks; then a general fp32 product packs 128x128
//       panels of the transposed matrix and multiplies 16 columns by one or two rows at a time.
//   dot_int8/int4                   llama.cpp-like engines: blocks of 32 with an fp16 scale, the
//       product formed in integers without expanding the weights.
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

// Random bytes: word i is mix(seed + (i + 1) * the golden ratio).
EXPORT(fill_bytes) void fill_bytes(uint64_t *out, int words, uint32_t seed) {
  uint64_t state = seed;
  for (int i = 0; i < words; i++) out[i] = mix(state += 0x9E3779B97F4A7C15ull);
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
