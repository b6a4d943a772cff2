#include <gtest/gtest.h>

#include <cstdlib>

#include "diffract/core/error.h"
#include "diffract/tensor/dtype.h"
#include "diffract/tensor/memory_errors.h"
#include "diffract/tensor/noise.h"
#include "tests/support/temp_folder.h"

namespace diffract::tensor {
namespace {

TEST(ParseDtype, TakesTorchsNamesAndTheirShortForms) {
  EXPECT_EQ(parse_dtype("float16"), at::kHalf);
  EXPECT_EQ(parse_dtype("bf16"), at::kBFloat16);
  EXPECT_EQ(dtype_name(parse_dtype("fp32")), "float32");
  for (const char* name : {"half", "f16", "fp16", "torch.float16", "torch.half", "Float16"})
    EXPECT_EQ(parse_dtype(name), at::kHalf) << name;
  for (const char* name : {"float", "f32", "torch.float32"}) EXPECT_EQ(parse_dtype(name), at::kFloat) << name;
  EXPECT_EQ(parse_dtype("torch.bfloat16"), at::kBFloat16);
  EXPECT_THROW(parse_dtype("int8"), UsageError);
  EXPECT_THROW(parse_dtype(""), UsageError);
  EXPECT_THROW(parse_dtype("torch."), UsageError);
}

TEST(ParseDevice, SaysWhatThisBuildCannotUse) {
  EXPECT_TRUE(parse_device("cpu").is_cpu());
  for (const char* name : {"cuda", "cuda:1", "tpu", "", "cpu:x", "cuda:", "cuda:-1", "cuda:1x"})
    EXPECT_THROW(parse_device(name), UsageError) << name;
}

TEST(DtypePolicy, ComputesInFloat32UnlessAFasterTypeWasAskedFor) {
  EXPECT_EQ(DtypePolicy::choose({}, {}, at::kCPU).arithmetic, at::kFloat);
  EXPECT_FALSE(DtypePolicy::choose({}, {}, at::kCPU).storage);
  for (const auto dtype : {at::kHalf, at::kBFloat16}) {
    const auto policy = DtypePolicy::choose(dtype, {}, at::kCPU);
    EXPECT_EQ(policy.storage, dtype);
    EXPECT_EQ(policy.arithmetic, computes_fast(dtype, at::kCPU) ? dtype : at::kFloat);
  }
  EXPECT_EQ(DtypePolicy::choose(at::kHalf, at::kHalf, at::kCPU).arithmetic, at::kHalf);
}

// As a machine of that kind would choose, be the processor here what it may.
TEST(DtypePolicy, HeedsWhatOneDnnIsHeldTo) {
  const char* const before = std::getenv("ONEDNN_MAX_CPU_ISA");
  const std::string kept = before ? before : "";
  const auto fast = [](const char* limit, at::ScalarType dtype) {
    ::setenv("ONEDNN_MAX_CPU_ISA", limit, 1);
    return computes_fast(dtype, at::kCPU);
  };
  EXPECT_FALSE(fast("AVX2", at::kBFloat16));
  EXPECT_FALSE(fast("avx2", at::kHalf));
  EXPECT_FALSE(fast("AVX512_CORE", at::kBFloat16));
  EXPECT_FALSE(fast("AVX512_CORE_BF16", at::kHalf));
  EXPECT_TRUE(fast("SSE41", at::kFloat));
  for (const auto dtype : {at::kHalf, at::kBFloat16})
    EXPECT_EQ(fast("DEFAULT", dtype), fast("AVX512_CORE_AMX", dtype));
  if (before)
    ::setenv("ONEDNN_MAX_CPU_ISA", kept.c_str(), 1);
  else
    ::unsetenv("ONEDNN_MAX_CPU_ISA");
}

TEST(DtypePolicy, HasNoFloat8OnACpu) {
  const auto policy = DtypePolicy::choose(at::kBFloat16, at::kBFloat16, at::kCPU);
  EXPECT_FALSE(policy.float8);
  const std::string error = test::error_of<UsageError>([&] { policy.with_float8(at::kCPU); });
  EXPECT_NE(error.find("cpu has no float8 products; expected an NVIDIA GPU"), std::string::npos) << error;
}

TEST(MemoryErrors, AreWhatLibtorchAndCudaSayInTheirWays) {
  const auto error = [](auto&& fail) {
    return test::error_of<MemoryError>([&] { with_memory_errors([&] { fail(); }); });
  };
  const std::string device = "out of device memory", host = "out of host memory";
  EXPECT_TRUE(error([] { throw std::bad_alloc(); }).starts_with(host));
  EXPECT_TRUE(
      error([] { TORCH_CHECK(false, "DefaultCPUAllocator: can't allocate memory: 8"); }).starts_with(host));
  EXPECT_TRUE(error([] { TORCH_CHECK_WITH(OutOfMemoryError, false, "4 GiB"); }).starts_with(device));
  EXPECT_TRUE(error([] { TORCH_CHECK(false, "CUDA error: out of memory"); }).starts_with(device));
  EXPECT_TRUE(
      error([] { TORCH_CHECK(false, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when"); }).starts_with(device));
  EXPECT_TRUE(error([] {
                TORCH_CHECK(false, "FIND was unable to find an engine to execute this");
              }).starts_with(device));
  EXPECT_THROW(with_memory_errors([] { TORCH_CHECK(false, "another"); }), c10::Error);
}

// The first values of torch.randn(1, 2, 2, 2, generator=torch.Generator("cpu").manual_seed(7)) and of a
// second draw.
TEST(SeededNoise, GivesTorchsNumbers) {
  SeededNoise noise({7, 8}, {2, 2, 2});
  const at::Tensor first = noise.draw(), second = noise.draw();
  EXPECT_EQ(first.sizes(), (std::vector<int64_t>{2, 2, 2, 2}));
  const at::Tensor expected = at::tensor({-0.1467951, 0.7861413, 0.9468216, -1.1143440}, at::kFloat);
  EXPECT_TRUE(at::allclose(first[0].flatten().slice(0, 0, 4), expected, 0, 1e-6)) << first[0].flatten();
  const at::Tensor then = at::tensor({0.1381727, -1.6821985, 0.3176783, 0.1328070}, at::kFloat);
  EXPECT_TRUE(at::allclose(second[0].flatten().slice(0, 0, 4), then, 0, 1e-6)) << second[0].flatten();
}

// The same in float16 and bfloat16: unrelated to float32's in general, though not at the beginning.
TEST(SeededNoise, GivesTorchsNumbersOfADtype) {
  const auto draw = [](at::ScalarType dtype) { return SeededNoise({7}, {2, 2, 2}).draw(dtype).flatten(); };
  EXPECT_TRUE(
      at::equal(draw(at::kHalf).slice(0, 0, 4),
                at::tensor({-0.1468505859375, 0.7861328125, 0.94677734375, -1.1142578125}, at::kFloat)));
  EXPECT_TRUE(at::equal(draw(at::kBFloat16).slice(0, 0, 4),
                        at::tensor({-0.146484375, 0.78515625, 0.9453125, -1.1171875}, at::kFloat)));
}

TEST(SeededNoise, GivesAnImageTheSameNumbersInAnyBatch) {
  SeededNoise together({7, 8}, {4, 8, 8}), alone({8}, {4, 8, 8});
  EXPECT_TRUE(at::equal(together.draw()[1], alone.draw()[0]));
  EXPECT_TRUE(at::equal(together.draw()[1], alone.draw()[0]));
}

}  // namespace
}  // namespace diffract::tensor
