// A stand-in for NVIDIA's driver library, so that the real bindings and our engine run where there is no GPU: device
// memory is host memory, kernels are their own text compiled for the host. It is as unkind as the documentation allows:
// a stream runs nothing before somebody waits, then streams take turns at random; no context, no call; and an error of
// the device is there to stay. Only what the engine uses is there.
#include "kernels.hpp"

#include <dlfcn.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <set>

typedef int Result;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
       INVALID_CONTEXT = 201, NO_BINARY = 209, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600,
       ILLEGAL_ADDRESS = 700, ALREADY_REGISTERED = 712, NOT_REGISTERED = 713, LAUNCH_FAILED = 719,
       CAPTURE_UNSUPPORTED = 900 };

struct Event {
  bool done = true;
  std::chrono::steady_clock::time_point when;
};
struct Operation {
  std::function<Result()> work;
  std::shared_ptr<Event> after;  // not before this event
};
struct Graph {
  std::vector<Operation> operations;
};
struct Stream {
  std::deque<Operation> waiting;
  std::unique_ptr<Graph> capture;
};
struct State {
  std::recursive_mutex lock;
  std::mt19937 random{7};
  bool started = false;
  int retained = 0;
  Result broken = OK;
  std::map<uintptr_t, size_t> device, pinned;
  std::set<Stream*> streams;
  Stream legacy;
  size_t used = 0;
  // What tests set and ask for.
  long version = 13000, count = 1, major = 9, minor = 0, memory = 1L << 32, lose_after = -1;
  long launches = 0, graphs = 0, pageable = 0, most_waiting = 0;
};
static State& s = *new State;  // never destroyed: whatever is released when the process ends finds it
static thread_local std::vector<int> stack;  // of contexts
#define current (!stack.empty() && stack.back())

typedef std::lock_guard<std::recursive_mutex> Lock;
#define API extern "C" __attribute__((visibility("default"))) Result
#define ENTER                         \
  Lock lock(s.lock);                  \
  if (!s.started) return NOT_INITIALIZED; \
  if (!current || !s.retained) return INVALID_CONTEXT;
#define ENTER_SOUND \
  ENTER if (s.broken) return s.broken;

static bool inside(const std::map<uintptr_t, size_t>& blocks, uintptr_t at, size_t size) {
  auto next = blocks.upper_bound(at);
  if (next == blocks.begin()) return false;
  auto block = std::prev(next);
  return at + size <= block->first + block->second;
}
static Stream* stream_of(void* handle) {
  if (!handle || handle == (void*)1 || handle == (void*)2) return &s.legacy;
  return s.streams.count((Stream*)handle) ? (Stream*)handle : nullptr;
}
static Result step(Stream* stream) {
  Operation next = std::move(stream->waiting.front());
  stream->waiting.pop_front();
  if (s.broken) return s.broken;
  Result result = next.work();
  if (result) s.broken = result;
  return result;
}
// Run whatever is allowed to, in any order, until `done`.
static Result until(const std::function<bool()>& done) {
  while (!done()) {
    if (s.broken) return s.broken;
    std::vector<Stream*> ready;
    for (Stream* each : s.streams)
      if (!each->waiting.empty() && (!each->waiting.front().after || each->waiting.front().after->done))
        ready.push_back(each);
    if (!s.legacy.waiting.empty()) ready.push_back(&s.legacy);
    if (ready.empty()) return LAUNCH_FAILED;
    step(ready[s.random() % ready.size()]);
  }
  return s.broken;
}
static Result add(Stream* stream, std::function<Result()> work, std::shared_ptr<Event> after = nullptr) {
  if (!stream) return INVALID_HANDLE;
  if (stream->capture) {
    stream->capture->operations.push_back({std::move(work), after});
    return OK;
  }
  stream->waiting.push_back({std::move(work), after});
  long waiting = 0;
  for (Stream* each : s.streams) waiting += !each->waiting.empty();
  s.most_waiting = std::max(s.most_waiting, waiting);
  return OK;
}
static Result copy(void* to, const void* from, size_t size, bool into_device, bool from_device) {
  if (into_device && !inside(s.device, (uintptr_t)to, size)) return ILLEGAL_ADDRESS;
  if (from_device && !inside(s.device, (uintptr_t)from, size)) return ILLEGAL_ADDRESS;
  std::memmove(to, from, size);
  return OK;
}

API cuInit(unsigned) {
  Lock lock(s.lock);
  if (!s.count) return NO_DEVICE;
  s.started = true;
  return OK;
}
API cuDriverGetVersion(int* version) { return *version = (int)s.version, OK; }
API cuDeviceGetCount(int* count) { return *count = (int)s.count, s.started ? OK : NOT_INITIALIZED; }
API cuDeviceGet(int* device, int ordinal) {
  if (!s.started) return NOT_INITIALIZED;
  return *device = ordinal, ordinal >= 0 && ordinal < s.count ? OK : INVALID_DEVICE;
}
API cuDeviceGetName(char* name, int length, int) { return std::strncpy(name, "Simulated GPU", length), OK; }
API cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 75: return *value = (int)s.major, OK;
    case 76: return *value = (int)s.minor, OK;
    case 16: return *value = 132, OK;
    case 38: return *value = 50 << 20, OK;
  }
  return *value = 0, INVALID_VALUE;
}
API cuDeviceTotalMem(size_t* bytes, int) { return *bytes = (size_t)s.memory, OK; }
API cuDevicePrimaryCtxRetain(void** context, int) {
  Lock lock(s.lock);
  ++s.retained;
  return *context = (void*)16, OK;
}
API cuDevicePrimaryCtxRelease(int) {
  Lock lock(s.lock);
  if (!s.retained) return INVALID_CONTEXT;
  if (!--s.retained) {
    s.streams.clear();
    s.pinned.clear();
  }
  return OK;
}
API cuCtxPushCurrent(void* context) { return stack.push_back(context != nullptr), OK; }
API cuCtxPopCurrent(void** context) {
  if (stack.empty()) return INVALID_CONTEXT;
  *context = (void*)16;
  return stack.pop_back(), OK;
}
API cuCtxSetCurrent(void* context) {
  if (!stack.empty()) stack.pop_back();
  return stack.push_back(context != nullptr), OK;
}
API cuCtxGetCurrent(void** context) { return *context = current ? (void*)16 : nullptr, OK; }
API cuCtxSynchronize() {
  ENTER return until([] {
    for (Stream* each : s.streams)
      if (!each->waiting.empty()) return false;
    return s.legacy.waiting.empty();
  });
}
API cuModuleLoadData(void** module, const void* image) {
  ENTER_SOUND
  if (std::memcmp(image, "\177ELF", 4)) return NO_BINARY;
  return *module = (void*)32, OK;
}
API cuModuleUnload(void*) { ENTER return OK; }
API cuModuleGetFunction(void** function, void*, const char* name) {
  ENTER_SOUND
  auto found = kernels.find(name);
  if (found == kernels.end()) return NOT_FOUND;
  return *function = (void*)&found->second, OK;
}
API cuMemAlloc(uintptr_t* pointer, size_t size) {
  ENTER_SOUND
  if (!size) return INVALID_VALUE;
  if (s.used + size > (size_t)s.memory) return OUT_OF_MEMORY;
  *pointer = (uintptr_t)aligned_alloc(256, (size + 255) / 256 * 256);
  std::memset((void*)*pointer, 0xCD, size);
  s.used += size;
  s.device[*pointer] = size;
  return OK;
}
API cuMemFree(uintptr_t pointer) {
  ENTER
  auto found = s.device.find(pointer);
  if (found == s.device.end()) return INVALID_VALUE;
  until([] {  // cudaFree waits for the device
    for (Stream* each : s.streams)
      if (!each->waiting.empty()) return false;
    return true;
  });
  s.used -= found->second;
  std::memset((void*)pointer, 0xDD, found->second);
  free((void*)pointer);
  s.device.erase(found);
  return OK;
}
API cuPointerGetAttribute(void* value, int attribute, uintptr_t pointer) {
  ENTER_SOUND
  if (attribute != 9 || !inside(s.device, pointer, 1)) return INVALID_VALUE;
  return *(int*)value = 0, OK;
}
API cuMemHostRegister(void* pointer, size_t size, unsigned) {
  ENTER_SOUND
  uintptr_t at = (uintptr_t)pointer;
  for (auto& each : s.pinned)
    if (at < each.first + each.second && each.first < at + size) return ALREADY_REGISTERED;
  s.pinned[at] = size;
  return OK;
}
API cuMemHostUnregister(void* pointer) {
  ENTER return s.pinned.erase((uintptr_t)pointer) ? OK : NOT_REGISTERED;
}
API cuMemcpyHtoDAsync(uintptr_t to, const void* from, size_t size, void* handle) {
  ENTER_SOUND
  if (inside(s.pinned, (uintptr_t)from, size))
    return add(stream_of(handle), [=] { return copy((void*)to, from, size, true, false); });
  ++s.pageable;  // read before the call returns
  auto staged = std::make_shared<std::vector<char>>((const char*)from, (const char*)from + size);
  return add(stream_of(handle), [=] { return copy((void*)to, staged->data(), size, true, false); });
}
API cuMemcpyDtoHAsync(void* to, uintptr_t from, size_t size, void* handle) {
  ENTER_SOUND
  Stream* stream = stream_of(handle);
  Result result = add(stream, [=] { return copy(to, (void*)from, size, false, true); });
  if (result || inside(s.pinned, (uintptr_t)to, size)) return result;
  ++s.pageable;  // has arrived when the call returns
  return until([=] { return stream->waiting.empty(); });
}
API cuMemcpyDtoDAsync(uintptr_t to, uintptr_t from, size_t size, void* handle) {
  ENTER_SOUND return add(stream_of(handle), [=] { return copy((void*)to, (void*)from, size, true, true); });
}
API cuMemcpyHtoD(uintptr_t to, const void* from, size_t size) {
  ENTER_SOUND return copy((void*)to, from, size, true, false);
}
API cuMemcpyDtoH(void* to, uintptr_t from, size_t size) { ENTER_SOUND return copy(to, (void*)from, size, false, true); }
API cuStreamCreate(void** stream, unsigned) {
  ENTER_SOUND
  Stream* made = new Stream;
  s.streams.insert(made);
  return *stream = made, OK;
}
API cuStreamDestroy(void* handle) {
  ENTER
  if (!s.streams.erase((Stream*)handle)) return INVALID_HANDLE;
  delete (Stream*)handle;
  return OK;
}
API cuStreamSynchronize(void* handle) {
  ENTER_SOUND
  Stream* stream = stream_of(handle);
  if (!stream) return INVALID_HANDLE;
  if (stream->capture) return CAPTURE_UNSUPPORTED;
  return until([=] { return stream->waiting.empty(); });
}
API cuStreamBeginCapture(void* handle, int) {
  ENTER_SOUND
  Stream* stream = stream_of(handle);
  if (!stream || stream == &s.legacy) return CAPTURE_UNSUPPORTED;
  return stream->capture = std::make_unique<Graph>(), OK;
}
API cuStreamEndCapture(void* handle, void** graph) {
  ENTER_SOUND return *graph = stream_of(handle)->capture.release(), OK;
}
API cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  ENTER_SOUND return *executable = new Graph(*(Graph*)graph), OK;
}
API cuGraphDestroy(void* graph) { ENTER return delete (Graph*)graph, OK; }
API cuGraphExecDestroy(void* graph) { ENTER return delete (Graph*)graph, OK; }
API cuGraphLaunch(void* graph, void* handle) {
  ENTER_SOUND
  ++s.graphs;
  for (auto& each : ((Graph*)graph)->operations)
    if (Result result = add(stream_of(handle), each.work, each.after)) return result;
  return OK;
}
API cuLaunchKernel(void* function, unsigned grid, unsigned grid_y, unsigned grid_z, unsigned block, unsigned block_y,
                   unsigned block_z, unsigned, void* handle, void** parameters, void** extra) {
  ENTER_SOUND
  if (!grid || grid_y != 1 || grid_z != 1 || !block || block > 1024 || block_y != 1 || block_z != 1 || extra)
    return INVALID_VALUE;
  const Kernel& kernel = *(const Kernel*)function;
  auto held = std::make_shared<std::vector<std::vector<char>>>();
  for (size_t k = 0; k < kernel.sizes.size(); ++k)
    held->emplace_back((char*)parameters[k], (char*)parameters[k] + kernel.sizes[k]);
  return add(stream_of(handle), [=, &kernel] {
    if (s.lose_after >= 0 && s.launches >= s.lose_after) return (Result)LAUNCH_FAILED;
    ++s.launches;
    std::vector<char*> pointers;
    for (auto& each : *held) pointers.push_back(each.data());
    for (size_t k = 0; k < kernel.sizes.size(); ++k)
      if (kernel.sizes[k] == 8 && !inside(s.device, at<uintptr_t>(pointers.data(), (int)k), 1))
        return (Result)ILLEGAL_ADDRESS;
    run(kernel, 0, grid, block, pointers.data());
    return (Result)OK;
  });
}
API cuEventCreate(void** event, unsigned) {
  ENTER_SOUND return *event = new std::shared_ptr<Event>(std::make_shared<Event>()), OK;
}
API cuEventDestroy(void* event) { ENTER return delete (std::shared_ptr<Event>*)event, OK; }
API cuEventRecord(void* handle, void* stream) {
  ENTER_SOUND
  auto event = *(std::shared_ptr<Event>*)handle;
  event->done = false;
  return add(stream_of(stream), [=] {
    event->done = true;
    event->when = std::chrono::steady_clock::now();
    return (Result)OK;
  });
}
API cuEventSynchronize(void* handle) {
  ENTER_SOUND
  auto event = *(std::shared_ptr<Event>*)handle;
  return until([=] { return event->done; });
}
API cuEventElapsedTime(float* ms, void* first, void* last) {
  ENTER_SOUND
  auto a = *(std::shared_ptr<Event>*)first, b = *(std::shared_ptr<Event>*)last;
  if (!a->done || !b->done) return NOT_READY;
  return *ms = std::chrono::duration<float, std::milli>(b->when - a->when).count(), OK;
}
API cuStreamWaitEvent(void* stream, void* handle, unsigned) {
  ENTER_SOUND return add(stream_of(stream), [] { return (Result)OK; }, *(std::shared_ptr<Event>*)handle);
}
API cuGetErrorName(int error, const char** text) { return *text = error == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR", OK; }
API cuGetErrorString(int error, const char** text) {
  return *text = error == OUT_OF_MEMORY ? "out of memory" : error == LAUNCH_FAILED ? "unspecified launch failure" : "some error", OK;
}
API cuGetProcAddress_v2(const char* symbol, void** function, int, uint64_t, int* status) {
  Dl_info self;
  dladdr((void*)&cuInit, &self);
  void* library = dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  *function = dlsym(library, symbol);
  if (status) *status = *function ? 0 : 1;
  return *function ? OK : NOT_FOUND;
}

// NVRTC asks for the driver's private tables; theirs begin with a size, this one has nothing else.
API cuGetExportTable(const void** table, const void*) {
  static const size_t empty[2] = {sizeof empty, 0};
  return *table = empty, OK;
}

// For tests: set what the device is like, ask what it has been through, run a kernel by itself.
API sim_set(const char* what, long value) {
  Lock lock(s.lock);
  std::map<std::string, long*> known = {{"version", &s.version}, {"count", &s.count}, {"major", &s.major},
                                        {"minor", &s.minor}, {"memory", &s.memory}, {"lose_after", &s.lose_after}};
  if (!std::strcmp(what, "broken")) return s.broken = (Result)value, OK;
  return *known.at(what) = value, OK;
}
extern "C" __attribute__((visibility("default"))) long sim_get(const char* what) {
  Lock lock(s.lock);
  std::map<std::string, long> known = {{"launches", s.launches}, {"graphs", s.graphs}, {"pageable", s.pageable},
                                       {"most_waiting", s.most_waiting}, {"used", (long)s.used},
                                       {"allocations", (long)s.device.size()}, {"pinned", (long)s.pinned.size()},
                                       {"streams", (long)s.streams.size()}, {"retained", (long)s.retained},
                                       {"version", s.version}, {"count", s.count}, {"major", s.major},
                                       {"minor", s.minor}, {"memory", s.memory}, {"lose_after", s.lose_after}};
  return known.at(what);
}
