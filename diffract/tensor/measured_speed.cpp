#include "diffract/tensor/measured_speed.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "diffract/tensor/device_backend.h"

namespace diffract::tensor {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Waits for what the device was told.
void finish(at::Device device) {
  if (!device.is_cpu()) backend_of(device).synchronize(device.index());
}

struct Descriptor {
  int number;
  explicit Descriptor(int n) : number(n) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

}  // namespace

double matmul_gflops(at::ScalarType dtype, double seconds, at::Device device) {
  const int64_t size = device.is_cpu() ? 512 : 4096;  // enough to keep it busy
  const auto random = [&] { return at::rand({size, size}).to(dtype).to(device); };
  const at::Tensor a = random(), b = random();
  at::mm(a, b);  // starts the threads and chooses the kernel
  finish(device);
  double best = 1e9, total = 0;
  while (total < seconds) {
    const auto begin = Clock::now();
    at::mm(a, b);
    finish(device);
    const double took = seconds_since(begin);
    best = std::min(best, took);
    total += took;
  }
  const auto side = static_cast<double>(size);
  return 2 * side * side * side / best / 1e9;
}

double copy_bytes_per_second(at::Device device) {
  constexpr int64_t kBytes = 64 << 20;
  constexpr int kTries = 4;
  at::Tensor from =
      device.is_cpu() ? at::empty({kBytes}, at::kByte) : backend_of(device).pinned_memory(kBytes);
  from.zero_();
  at::Tensor to = at::zeros({kBytes}, at::TensorOptions(at::kByte).device(device));
  double best = 1e9;  // both are touched, so that no page fault is timed
  for (int i = 0; i < kTries; ++i) {
    finish(device);
    const auto begin = Clock::now();
    to.copy_(from);
    finish(device);
    best = std::min(best, seconds_since(begin));
  }
  return static_cast<double>(kBytes) / best;
}

std::optional<double> read_bytes_per_second(const std::filesystem::path& file) {
  constexpr size_t kBlock = 4 << 20, kMost = 128 << 20, kAlignment = 4096;
  Descriptor from(::open(file.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (from.number <
      0) {  // a file system without direct reads: what the page cache has of it is dropped first
    const int number = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (number < 0) return {};
    ::posix_fadvise(number, 0, 0, POSIX_FADV_DONTNEED);
    from.number = number;
  }
  const std::unique_ptr<void, decltype(&std::free)> block(std::aligned_alloc(kAlignment, kBlock), &std::free);
  if (!block) return {};
  size_t total = 0;
  const auto begin = Clock::now();
  while (total < kMost) {
    const ssize_t count = ::pread(from.number, block.get(), kBlock, static_cast<off_t>(total));
    if (count <= 0) break;
    total += static_cast<size_t>(count);
  }
  if (total < kBlock) return {};
  return static_cast<double>(total) / seconds_since(begin);
}

}  // namespace diffract::tensor
