// The kernels by themselves, one thread after the other, from block `first` on.
#include "kernels.hpp"

extern "C" __attribute__((visibility("default"))) void run_kernel(const char* name, unsigned first, unsigned grid,
                                                                  unsigned block, char** parameters) {
  run(kernels.at(name), first, grid, block, parameters);
}
