#include "diffract/tensor/host_memory.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace diffract::tensor {
namespace {

constexpr int64_t kMegabyteOfFloats = 1 << 18;

TEST(HostMemory, UsesAFreedBlockAgainAndGivesItBackOnRequest) {
  keep_host_memory();
#ifdef __SANITIZE_ADDRESS__
  EXPECT_EQ(kept_host_bytes(), 0u);  // not installed, so that the sanitizer sees every tensor
#else
  release_host_memory();
  void* first = nullptr;
  {
    const at::Tensor tensor = at::ones({64 * kMegabyteOfFloats});
    first = tensor.data_ptr();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % (2 << 20), 0u);
    EXPECT_EQ(kept_host_bytes(), 0u);
  }
  EXPECT_EQ(kept_host_bytes(), 64u << 20);
  EXPECT_EQ(at::empty({60 * kMegabyteOfFloats}).data_ptr(), first);
  EXPECT_NE(at::empty({8 * kMegabyteOfFloats}).data_ptr(), first);  // too small to take it
  release_host_memory();
  EXPECT_EQ(kept_host_bytes(), 0u);
#endif
}

TEST(HostMemory, KeepsNoMoreThanItsBound) {
  keep_host_memory();
  for (int64_t megabytes = 100; megabytes < 600; megabytes += 100) {
    std::vector<at::Tensor> tensors;
    for (int i = 0; i < 4; ++i) tensors.push_back(at::empty({megabytes * kMegabyteOfFloats}));
    tensors.clear();
    EXPECT_LE(kept_host_bytes(), 1u << 30);
  }
  release_host_memory();
}

TEST(HostMemory, LeavesSmallTensorsToTheUsualAllocator) {
  keep_host_memory();
  release_host_memory();
  { const at::Tensor small = at::ones({1000}); }
  EXPECT_EQ(kept_host_bytes(), 0u);
  EXPECT_TRUE(at::equal(at::arange(5).clone(), at::arange(5)));
}

}  // namespace
}  // namespace diffract::tensor
