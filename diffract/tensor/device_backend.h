#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace diffract::tensor {

/// Bytes of one device.
struct DeviceMemory {
  uint64_t total = 0;
  uint64_t free = 0;  // that may still be allocated, by this or another process
  uint64_t used = 0;  // by this process's tensors
};

/// A mark in a stream of work.
class DeviceEvent {
 public:
  virtual ~DeviceEvent() = default;
  /// What the compute stream is told from now on begins only when the work before the mark is done.
  virtual void compute_waits() const = 0;
  /// Returns when the work before the mark is done.
  virtual void synchronize() const = 0;
};
using DeviceEventPtr = std::shared_ptr<const DeviceEvent>;

/// Copies beside the device's computing. Belongs to one thread at a time.
class CopyStream {
 public:
  virtual ~CopyStream() = default;
  /// Begins to copy `from` (a contiguous host tensor, pinned, that stays as it is until the copy is done) to
  /// `to` (a contiguous tensor of the same size and dtype on the device).
  virtual void copy(const at::Tensor& to, const at::Tensor& from) = 0;
  /// The copies that follow begin only when the work before `event` is done.
  virtual void wait(const DeviceEvent& event) = 0;
  /// A mark behind the copies so far.
  virtual DeviceEventPtr record() = 0;
};

/// What computing takes on a GPU beside the tensors that a model makes, bytes: workspaces of libraries, the
/// allocator's pages that are partly used, weights that are laid out anew for a product. Measured with FLUX.1
/// (docs/notes/memory.md). A plan counts it for a GPU that is not here, too.
inline constexpr uint64_t kGpuOverhead = uint64_t{384} << 20;

/// What diffract asks of an accelerator beyond ATen's operations. Devices are numbered from 0. Calls come
/// from any thread.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;

  /// "cuda" or "sim", as --device names it.
  virtual std::string name() const = 0;
  virtual c10::DeviceType type() const = 0;
  virtual int device_count() const = 0;
  /// True when products in `dtype` are at least about as fast as in float32.
  virtual bool computes_fast(at::ScalarType dtype, int device) const = 0;

  virtual DeviceMemory memory(int device) const = 0;
  /// kGpuOverhead, for a device that has it. It counts within set_limit().
  virtual uint64_t overhead() const { return 0; }
  /// Bytes: the most that this process's tensors used since reset_peak(). Touches no device.
  virtual uint64_t peak(int device) const = 0;
  virtual void reset_peak(int device) = 0;
  /// Allocations beyond `bytes` of this process fail from now on; unset: all there is.
  virtual void set_limit(int device, std::optional<uint64_t> bytes) = 0;
  /// Gives back what the allocators keep and nobody uses.
  virtual void empty_cache() = 0;

  /// Page-locked host memory, from which copies run beside the computing: uint8 [bytes], a CPU tensor.
  virtual at::Tensor pinned_memory(int64_t bytes) = 0;
  virtual std::unique_ptr<CopyStream> make_copy_stream(int device) = 0;
  /// A mark behind what this thread has told the device to compute.
  virtual DeviceEventPtr record_compute(int device) = 0;
  /// Returns when the device has done all that it was told.
  virtual void synchronize(int device) = 0;
  /// Begins to load what the first work on the device needs, beside the caller. A second call does nothing.
  virtual void prepare(int device) = 0;
  /// Returns when nothing that prepare() began is left to do.
  virtual void await_work() = 0;

  /// Whether float32 products and convolutions may round their factors to TF32's 10 bits: what is
  /// torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32. It holds for the whole
  /// process, from now on; until it is called they may not. Nothing may compute meanwhile. False where
  /// `device` has no such arithmetic: nothing changes then.
  virtual bool allow_tf32(int device, bool allow) = 0;
};

/// The backend of this name, or null. It is loaded from libdiffract_NAME.so on the first call: from the
/// folders in DIFFRACT_BACKEND_PATH (with ':' between), from beside the program, from ../lib/diffract and
/// ../lib. The library exports `diffract_device_backend` (DIFFRACT_DEVICE_BACKEND below).
DeviceBackend* find_backend(std::string_view name);
/// The backend of an accelerator's device type, loaded if it is CUDA's. Throws UsageError where there is
/// none.
DeviceBackend& backend_of(at::Device device);
/// Why find_backend gave null, for a message: where it looked, or what the loader said.
std::string why_no_backend(std::string_view name);
/// The backends that are loaded now.
std::vector<DeviceBackend*> loaded_backends();
/// await_work() of these, before a process ends: the end takes libraries down that a thread may still be
/// loading. Pipelines do so at the end of a request, also of one that fails; a program that ends without one,
/// soon after it loaded a model on an accelerator, calls it itself.
void await_backends() noexcept;
/// False when a device that this process has used fails whatever it is told: a CUDA context after an illegal
/// access, a GPU that fell off its bus.
bool devices_answer() noexcept;

/// Changes with every change of this header and of kernels/cuda_kernels.h, so that a library of another build
/// is refused.
inline constexpr int kBackendInterface = 5;
/// What the library's entry function gives.
struct BackendEntry {
  int interface_version;
  DeviceBackend* backend;    // lives as long as the process; null: cannot be used here
  const char* why_unusable;  // where it is null, e.g. "no NVIDIA driver"
};

}  // namespace diffract::tensor

/// Defines the entry function of a backend's library; `make` is an expression that gives a BackendEntry.
#define DIFFRACT_DEVICE_BACKEND(make)                                              \
  extern "C" __attribute__((visibility("default"))) diffract::tensor::BackendEntry \
  diffract_device_backend() {                                                      \
    return make;                                                                   \
  }
