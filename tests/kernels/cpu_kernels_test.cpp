#include "diffract/kernels/cpu_kernels.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "diffract/kernels/group_norm.h"

namespace diffract::kernels {
namespace {

double error(const at::Tensor& found, const at::Tensor& expected) {
  return ((found.to(at::kDouble) - expected).abs().max() / expected.abs().max()).item<double>();
}

struct Shape {
  std::vector<int64_t> x;
  int64_t groups;
};

class GroupNormOnCpu : public ::testing::TestWithParam<Shape> {
 protected:
  // Of numbers that lie around `middle`.
  void expect_plain(double middle, bool silu, int64_t addends) {
    at::manual_seed(1);
    const int64_t channels = GetParam().x[1];
    const at::Tensor x = at::randn(GetParam().x) + middle;
    const at::Tensor addend = addends ? at::randn({addends, channels}) : at::Tensor();
    const GroupNorm norm{GetParam().groups, 1e-5, silu, at::randn({channels}), at::randn({channels})};
    const GroupNorm wide{norm.groups, norm.eps, silu, norm.weight.to(at::kDouble), norm.bias.to(at::kDouble)};
    const at::Tensor expected =
        plain::group_norm(x.to(at::kDouble), wide, addend.defined() ? addend.to(at::kDouble) : addend);
    EXPECT_LT(error(group_norm(x, norm, addend), expected), 1e-5) << "around " << middle;
  }
};

TEST_P(GroupNormOnCpu, IsThePlainFormInFloat64) {
  for (const bool silu : {false, true})
    for (const int64_t addends : {int64_t{0}, int64_t{1}, GetParam().x[0]})
      for (const double middle : {0.0, 30.0}) expect_plain(middle, silu, addends);
}

INSTANTIATE_TEST_SUITE_P(Shapes, GroupNormOnCpu,
                         ::testing::Values(Shape{{2, 32, 16, 16}, 32}, Shape{{1, 12, 3, 5}, 4},
                                           Shape{{3, 6, 1, 1}, 2}, Shape{{1, 8, 65, 129}, 1},
                                           Shape{{2, 64, 33, 7}, 8}));

TEST(GroupNormOnCpu, LeavesOtherLayoutsAndTypesToThePlainForm) {
  const GroupNorm norm{2, 1e-5, true, at::randn({4}), at::randn({4})};
  const at::Tensor x = at::randn({2, 4, 5, 5});
  const at::Tensor expected = plain::group_norm(x.clone(), norm);
  EXPECT_LT(error(group_norm(x.to(at::MemoryFormat::ChannelsLast), norm), expected.to(at::kDouble)), 1e-5);
  const GroupNorm wide{2, 1e-5, true, norm.weight.to(at::kDouble), norm.bias.to(at::kDouble)};
  EXPECT_LT(error(group_norm(x.to(at::kDouble), wide), expected.to(at::kDouble)), 1e-5);
}

TEST(GroupNormOnCpu, IsAsExactBesideAFirstNumberThatLiesFarAway) {
  const GroupNorm norm{1, 1e-5, false, at::ones({2}), at::zeros({2})};
  const GroupNorm wide{1, 1e-5, false, at::ones({2}, at::kDouble), at::zeros({2}, at::kDouble)};
  const at::Tensor x = at::randn({1, 2, 180, 180});
  x[0][0][0][0] = 200;
  EXPECT_LT(error(group_norm(x, norm), plain::group_norm(x.to(at::kDouble), wide)), 1e-5);
}

TEST(GroupNormOnCpu, KeepsAConstantMapFinite) {
  const GroupNorm norm{1, 1e-5, true, at::ones({2}), at::zeros({2})};
  EXPECT_TRUE(group_norm(at::full({1, 2, 40, 40}, 1e4f), norm).isfinite().all().item<bool>());
}

// On a processor that has neither, or with DIFFRACT_KERNELS=plain, the tests above compare the plain form
// with itself.
TEST(CpuKernels, AreThereOnThisKindOfProcessor) {
  const char* wanted = std::getenv("DIFFRACT_KERNELS");
  const bool expected =
      at::get_cpu_capability().starts_with("AVX") && !(wanted && std::string(wanted) == "plain");
  EXPECT_EQ(cpu_kernels(at::zeros({1})) != nullptr, expected);
}

}  // namespace
}  // namespace diffract::kernels
