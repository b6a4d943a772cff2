#include "diffract/tensor/measured_speed.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace diffract::tensor {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
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

double matmul_gflops(at::ScalarType dtype, double seconds) {
  constexpr int64_t kSize = 512;
  const at::Tensor a = at::rand({kSize, kSize}).to(dtype), b = at::rand({kSize, kSize}).to(dtype);
  at::mm(a, b);  // starts the threads and chooses the kernel
  double best = 1e9, total = 0;
  while (total < seconds) {
    const auto begin = Clock::now();
    at::mm(a, b);
    const double took = seconds_since(begin);
    best = std::min(best, took);
    total += took;
  }
  return 2.0 * kSize * kSize * kSize / best / 1e9;
}

double copy_bytes_per_second() {
  constexpr int64_t kBytes = 64 << 20;
  constexpr int kTries = 4;
  const at::Tensor from = at::zeros({kBytes}, at::kByte);
  at::Tensor to = at::zeros({kBytes}, at::kByte);  // touched, so that no page fault is timed
  double best = 1e9;
  for (int i = 0; i < kTries; ++i) {
    const auto begin = Clock::now();
    to.copy_(from);
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
