// The sim devices themselves: caps, mixed devices, the CPU's bits.
#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/nn/attention.h"
#include "tests/sim/sim_support.h"

namespace diffract::sim {
namespace {

TEST(Sim, HasEightDevicesByTheirNames) {
  EXPECT_EQ(device(3).str(), "sim:3");
  EXPECT_EQ(tensor::parse_device("sim"), device(0));
  EXPECT_THROW(tensor::parse_device("sim:8"), UsageError);
  // The processes of a host have one each, in turn; a number is what it says.
  EXPECT_EQ(tensor::parse_device("sim", 3), device(3));
  EXPECT_EQ(tensor::parse_device("sim", 9), device(1));
  EXPECT_EQ(tensor::parse_device("sim:2", 3), device(2));
}

TEST(Sim, CountsMemoryAndKeepsItsCap) {
  const uint64_t before = backend().memory(1).used;
  backend().set_limit(1, before + 1000);
  backend().reset_peak(1);
  {
    const at::Tensor held = at::empty({200}, at::TensorOptions(device(1)));
    EXPECT_EQ(backend().memory(1).used, before + 800);
    EXPECT_THROW(at::empty({100}, at::TensorOptions(device(1))), c10::OutOfMemoryError);
    EXPECT_NO_THROW(at::empty({100}, at::TensorOptions(device(2))));
  }
  EXPECT_EQ(backend().memory(1).used, before);
  EXPECT_EQ(backend().peak(1), before + 800);
  // Whether devices that were used still do what they are told.
  EXPECT_TRUE(tensor::devices_answer());
  backend().set_broken(true);
  EXPECT_FALSE(tensor::devices_answer());
  backend().set_broken(false);
  EXPECT_TRUE(tensor::devices_answer());
  backend().set_limit(1, {});
}

TEST(Sim, FailsTheAllocationItIsToldTo) {
  const auto options = at::TensorOptions(device(0));
  backend().fail_allocation(2);
  EXPECT_NO_THROW(at::empty({4}, options));
  EXPECT_THROW(at::empty({4}, options), c10::OutOfMemoryError);
  EXPECT_NO_THROW(at::empty({4}, options));
}

TEST(Sim, RefusesMixedDevicesAsCudaDoes) {
  const at::Tensor a = at::ones({4}, device(0)), b = at::ones({4}, device(1)), c = at::ones({4});
  for (const auto& call :
       std::vector<std::function<at::Tensor()>>{[&] { return a + b; }, [&] { return a + c; },
                                                [&] {
                                                  return at::cat({a, b});
                                                },
                                                [&] {
                                                  return at::linear(a.view({1, 4}), b.view({1, 4}));
                                                }})
    EXPECT_THROW(call(), c10::Error);
  EXPECT_EQ((a + at::scalar_tensor(2.0)).sum().item<float>(), 12);  // a number has no device
  EXPECT_EQ((a + b.to(device(0))).device(), device(0));
}

TEST(Sim, ComputesTheBitsOfTheCpu) {
  const c10::InferenceMode no_autograd;
  const at::Tensor x = at::randn({2, 40, 64}), weight = at::randn({64, 64}), bias = at::randn({64});
  const auto compute = [&](at::Device where) {
    const at::Tensor y = at::linear(x.to(where), weight.to(where), bias.to(where));
    const weights::WeightScope scope(weights::meta_source([](const auto&, auto) {}), {}, where);
    const at::Tensor z = nn::AttentionCore(scope, {.heads = 4}, 64)(y, y, y);
    at::Tensor picture = z.transpose(1, 2).reshape({2, 64, 8, 5}).contiguous();
    picture = at::conv2d(picture, weight.to(where).view({64, 64, 1, 1}), bias.to(where));
    picture = at::group_norm(at::upsample_nearest2d(picture, {16, 10}), 8);
    return at::cat({picture.slice(3, 1, 4), picture.slice(3, 5, 8)}, 3).to(at::kCPU);
  };
  EXPECT_TRUE(at::equal(compute(device(0)), compute(at::kCPU)));
}

TEST(Sim, CopiesBesideComputing) {
  const at::Tensor from = backend().pinned_memory(1000).fill_(7),
                   to = at::zeros({1000}, at::TensorOptions(at::kByte).device(device(0)));
  const auto stream = backend().make_copy_stream(0);
  const auto before = backend().transfers();
  stream->copy(to, from);
  stream->record()->compute_waits();
  EXPECT_TRUE(at::equal(to.to(at::kCPU), from));
  EXPECT_EQ(backend().transfers().bytes - before.bytes, 2000u);  // there, and back for the comparison
}

}  // namespace
}  // namespace diffract::sim
