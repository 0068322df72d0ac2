// The exact table of 256^3 colors on packed 8-bit RGB, and its making. No headers, so that NVRTC needs no toolkit; the
// tests compile this very text with the host's C++ compiler.
//
// Table: 2^24 words, index r | g << 8 | b << 16 (a pixel's three bytes read as a little-endian number), word
// R | G << 8 | B << 16 with a zero byte on top. The working set of a tissue image is below 1.5 MiB, which stays in the
// L2 cache of every card; a reordered table would save up to 6 % of its sectors and cost twice the instructions.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

// Four pixels in three words, looked up.
__device__ __forceinline__ void quad(const u32* __restrict__ table, u32& w0, u32& w1, u32& w2) {
  u32 q0 = __ldg(table + (w0 & 0xFFFFFFu));
  u32 q1 = __ldg(table + (__funnelshift_r(w0, w1, 24) & 0xFFFFFFu));
  u32 q2 = __ldg(table + (__funnelshift_r(w1, w2, 16) & 0xFFFFFFu));
  u32 q3 = __ldg(table + (w2 >> 8));
  w0 = q0 | q1 << 24;
  w1 = q1 >> 8 | q2 << 16;
  w2 = q2 >> 16 | q3 << 8;
}

__device__ __forceinline__ void one(const u8* source, u8* target, const u32* __restrict__ table, u64 pixel) {
  const u8* s = source + 3 * pixel;
  u8* t = target + 3 * pixel;
  u32 q = __ldg(table + (s[0] | s[1] << 8 | s[2] << 16));
  t[0] = (u8)q;
  t[1] = (u8)(q >> 8);
  t[2] = (u8)(q >> 16);
}

// A thread a group of pixels, then a thread for each pixel beside the groups: the `head` before the first aligned group
// and the tail behind the last. `source` and `target` may be the same; a thread reads all that it writes first, and no
// other thread reads it. At most 2^30 pixels, so that 32-bit indices do.

// 16 pixels: three loads of 16 bytes, 16 gathers under way. Beyond `head`, both addresses are multiples of 16.
extern "C" __global__ void __launch_bounds__(256)
lut16(const u8* source, u8* target, const u32* __restrict__ table, u32 pixels, u32 head) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  u32 groups = (pixels - head) / 16;
  if (i < groups) {
    const uint4* s = (const uint4*)(source + 3 * head) + 3 * i;
    uint4* t = (uint4*)(target + 3 * head) + 3 * i;
    uint4 a = s[0], b = s[1], c = s[2];
    quad(table, a.x, a.y, a.z);
    quad(table, a.w, b.x, b.y);
    quad(table, b.z, b.w, c.x);
    quad(table, c.y, c.z, c.w);
    __stcs(t, a);
    __stcs(t + 1, b);
    __stcs(t + 2, c);
    return;
  }
  u32 rest = i - groups;
  if (rest < pixels - 16 * groups) one(source, target, table, rest < head ? rest : 16 * groups + rest);
}

// 4 pixels: four times the threads, which fill the GPU with one small frame. Beyond `head`, multiples of 4.
extern "C" __global__ void __launch_bounds__(256)
lut4(const u8* source, u8* target, const u32* __restrict__ table, u32 pixels, u32 head) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  u32 groups = (pixels - head) / 4;
  if (i < groups) {
    const u32* s = (const u32*)(source + 3 * head) + 3 * i;
    u32* t = (u32*)(target + 3 * head) + 3 * i;
    u32 a = s[0], b = s[1], c = s[2];
    quad(table, a, b, c);
    __stcs(t, a);
    __stcs(t + 1, b);
    __stcs(t + 2, c);
    return;
  }
  u32 rest = i - groups;
  if (rest < pixels - 4 * groups) one(source, target, table, rest < head ? rest : 4 * groups + rest);
}

// Any addresses.
extern "C" __global__ void __launch_bounds__(256)
lut1(const u8* source, u8* target, const u32* __restrict__ table, u32 pixels, u32 head) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < pixels) one(source, target, table, i);
}

// A thread a color: runs a chain of operations in double precision and rounds once, as color.lut.quantize does.
// The chain: [operation, channels in, channels out, its numbers...] one after another; see normalizers/chain.py.
#define WIDEST 64
enum { ADD, SUBTRACT, SUBTRACT_FROM, MULTIPLY, DIVIDE, DIVIDE_INTO, MAXIMUM, MINIMUM, LEAKY_RELU, TANH, SIGMOID, ROUND,
       PRODUCT };

extern "C" __global__ void __launch_bounds__(128)
bake(const double* __restrict__ chain, u32 length, u32* table, u32 truncate, u32* broken) {
  u32 color = blockIdx.x * blockDim.x + threadIdx.x;
  double x[WIDEST], y[WIDEST];
  for (int k = 0; k < 3; ++k) x[k] = (double)(color >> 8 * k & 255u) / 255.0 * 255.0;
  for (u32 at = 0; at < length;) {
    int operation = (int)chain[at], wide = (int)chain[at + 1], out = (int)chain[at + 2];
    const double* c = chain + at + 3;
    if (operation == PRODUCT) {
      // Weights [out][in], then biases.
      for (int o = 0; o < out; ++o) {
        double sum = 0.0;
        for (int k = 0; k < wide; ++k) sum = fma(c[o * wide + k], x[k], sum);
        y[o] = sum + c[out * wide + o];
      }
      for (int o = 0; o < out; ++o) x[o] = y[o];
      at += 3 + out * wide + out;
      continue;
    }
    for (int k = 0; k < wide; ++k) {
      double v = x[k], n = c[k];
      switch (operation) {
        case ADD: v = v + n; break;
        case SUBTRACT: v = v - n; break;
        case SUBTRACT_FROM: v = n - v; break;
        case MULTIPLY: v = v * n; break;
        case DIVIDE: v = v / n; break;
        case DIVIDE_INTO: v = n / v; break;
        case MAXIMUM: v = v > n || v != v ? v : n; break;
        case MINIMUM: v = v < n || v != v ? v : n; break;
        case LEAKY_RELU: v = v < 0.0 ? n * v : v; break;
        case TANH: v = tanh(v); break;
        case SIGMOID: v = 1.0 / (1.0 + exp(-v)); break;
        case ROUND: v = rint(v); break;
      }
      x[k] = v;
    }
    at += 3 + wide;
  }
  u32 word = 0;
  for (int k = 0; k < 3; ++k) {
    double v = x[k] / 255.0;
    if (!(v - v == 0.0)) *broken = 1;  // not a number, or infinite
    v = (v > 0.0 ? v < 1.0 ? v : 1.0 : 0.0) * 255.0;
    word |= (u32)(truncate ? v : rint(v)) << 8 * k;
  }
  table[color] = word;
}
