// What CUDA gives a kernel, for the host's C++ compiler: the kernels' own text follows, and runs one thread at a time.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(x)
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct Dim {
  unsigned x;
};
static Dim blockIdx, threadIdx, blockDim;
template <class T> static T __ldg(const T* p) { return *p; }
template <class T> static void __stcs(T* p, T v) { *p = v; }
static unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  shift &= 31;
  return shift ? low >> shift | high << (32 - shift) : low;
}
using std::exp;
using std::fma;
using std::rint;
using std::tanh;

#include KERNELS

// A kernel by name: the sizes of its parameters, and a thread of it.
struct Kernel {
  std::vector<size_t> sizes;
  void (*thread)(char**);
};
template <class T> static T at(char** p, int k) {
  T value;
  std::memcpy(&value, p[k], sizeof value);
  return value;
}
#define LOOK_UP(f)                                                                                       \
  {                                                                                                      \
#f, {                                                                                                \
      {8, 8, 8, 4, 4}, [](char** p) {                                                                    \
        f(at<const u8*>(p, 0), at<u8*>(p, 1), at<const u32*>(p, 2), at<u32>(p, 3), at<u32>(p, 4));       \
      }                                                                                                  \
    }                                                                                                    \
  }
static const std::map<std::string, Kernel> kernels = {
    LOOK_UP(lut16), LOOK_UP(lut4), LOOK_UP(lut1),
    {"bake", {{8, 4, 8, 4, 8}, [](char** p) {
                bake(at<const double*>(p, 0), at<u32>(p, 1), at<u32*>(p, 2), at<u32>(p, 3), at<u32*>(p, 4));
              }}}};

static void run(const Kernel& kernel, unsigned first, unsigned grid, unsigned block, char** parameters) {
  blockDim.x = block;
  for (blockIdx.x = first; blockIdx.x < grid; ++blockIdx.x)
    for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x) kernel.thread(parameters);
}
