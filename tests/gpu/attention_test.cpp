// The kernel for heads of 128 on Hopper beside the definition in float64, and where it steps aside.
#include <fstream>
#include <sstream>

#include "bench/cuda_trace.h"
#include "diffract/kernels/attention.h"
#include "diffract/kernels/cuda_kernels.h"
#include "tests/gpu/kernels.h"
#include "tests/support/temp_folder.h"

namespace diffract::kernels {
namespace {

constexpr int64_t kWidth = 128;

class HopperAttention : public Kernels {
 protected:
  void SetUp() override {
    Kernels::SetUp();
    if (IsSkipped()) return;
    const auto* provider = dynamic_cast<const CudaKernelsProvider*>(backend_);
    ASSERT_TRUE(provider);
    for (const auto& [name, value] : provider->describe(0))
      if (name == "compute capability" && value != "9.0") GTEST_SKIP() << "another GPU's kernels: " << value;
  }

  // One of three parts of a joint projection.
  static Tensor part(int64_t batch, int64_t tokens, int64_t heads, at::ScalarType type) {
    return random({batch, tokens, 3, heads, kWidth}, type).select(2, 1).transpose(1, 2);
  }

  bool is_own(const Tensor& q, const Tensor& k, const Tensor& v, const Scores& scores) {
    const test::TempFolder folder;
    const auto file = folder / "trace.json";
    backend_->synchronize(0);
    bench::trace(file.string(), [&] {
      attention(q, k, v, scores);
      backend_->synchronize(0);
    });
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str().find("attention_kernel<") != std::string::npos;
  }

  // The weights are rounded before they are multiplied, too, and a dominant one is not exactly 1.
  static void expect_parity(const Tensor& q, const Tensor& k, const Tensor& v, const Scores& scores) {
    const Tensor found = attention(q, k, v, scores);
    const auto off = error(found, plain::attention(wide(q), wide(k), wide(v), scores));
    EXPECT_LT(off, 2 * bound(q.scalar_type())) << q.sizes() << " " << k.sizes() << " " << q.scalar_type();
    EXPECT_TRUE(found.equal(attention(q, k, v, scores))) << "another result the second time";
  }
};

TEST_F(HopperAttention, Parity) {
  struct Shape {
    int64_t batch, heads, queries, keys;
  };
  for (const auto type : {at::kHalf, at::kBFloat16})
    for (const Shape& s : {Shape{1, 3, 1, 1}, Shape{2, 3, 77, 77}, Shape{1, 5, 129, 129},
                           Shape{3, 2, 143, 144}, Shape{2, 3, 145, 289}, Shape{2, 24, 513, 513},
                           Shape{1, 24, 4592, 4592}, Shape{1, 24, 1000, 333}, Shape{1, 24, 300, 4592}}) {
      const Tensor q = part(s.batch, s.queries, s.heads, type), k = part(s.batch, s.keys, s.heads, type),
                   v = part(s.batch, s.keys, s.heads, type);
      EXPECT_TRUE(is_own(q, k, v, {})) << s.queries << " " << s.keys;
      expect_parity(q, k, v, {});
      expect_parity(q, k, v, {.scale = 0.3});
    }
}

// The first tile's reference is too low for tiles behind it.
TEST_F(HopperAttention, ScoresThatGrow) {
  for (const auto type : {at::kHalf, at::kBFloat16}) {
    const Tensor q = part(1, 700, 24, type), v = part(1, 2000, 24, type);
    const Tensor fall = at::linspace(40, 0.1, 2000, on_gpu(at::kFloat)).view({1, 1, 2000, 1});
    const Tensor k = (part(1, 2000, 24, at::kFloat) * fall).to(type);
    EXPECT_TRUE(is_own(q, k, v, {}));
    expect_parity(q, k, v, {});
    expect_parity(q, k.flip(2), v, {});
    expect_parity(q, k * 10, v, {});
  }
}

TEST_F(HopperAttention, RowsThatAreNoNumbers) {
  Tensor q = part(1, 400, 24, at::kBFloat16).contiguous();
  const Tensor k = part(1, 700, 24, at::kBFloat16), v = part(1, 700, 24, at::kBFloat16);
  q.select(1, 3).select(1, 5).select(1, 7).fill_(NAN);
  const Tensor bad = attention(q, k, v, {}).isnan().any(3);
  EXPECT_EQ(bad.sum().item<int64_t>(), 1);
  EXPECT_TRUE(bad.select(1, 3).select(1, 5).item<bool>());
}

TEST_F(HopperAttention, TokensThatAreNotAligned) {
  for (const int64_t heads : {24, 2}) {
    const Tensor all = random({1, 512, heads * kWidth + 4}, at::kBFloat16);
    for (const int64_t begin : {0, 4}) {
      const Tensor x = all.narrow(2, begin, heads * kWidth).unflatten(2, {heads, kWidth}).transpose(1, 2);
      expect_parity(x, x, x, {});
      expect_parity(x.narrow(3, 0, 64), x.narrow(3, 0, 64), x.narrow(3, 64, 64), {});
    }
  }
}

// As beside a feed-forward's values; elsewhere libtorch's kernels' results are copied there.
TEST_F(HopperAttention, WritesToAPartOfAWiderTensor) {
  for (const int64_t width : {kWidth, int64_t{64}})
    for (const int64_t begin : {int64_t{0}, int64_t{8}, int64_t{4}}) {  // 4: rows that are not aligned
      const Tensor q = part(2, 300, 24, at::kBFloat16).narrow(3, 0, width);
      const Tensor wider = at::zeros({2, 300, 24 * width + 16}, q.options());
      const Tensor out = wider.narrow(2, begin, 24 * width).unflatten(2, {24, width}).transpose(1, 2);
      EXPECT_TRUE(attention(q, q, q, {}, out).is_same(out));
      EXPECT_TRUE(out.equal(attention(q, q, q, {}))) << width << " " << begin;
      EXPECT_EQ(wider.narrow(2, 0, begin).count_nonzero().item<int64_t>(), 0);
      EXPECT_EQ(wider.narrow(2, begin + 24 * width, 16 - begin).count_nonzero().item<int64_t>(), 0);
    }
}

TEST_F(HopperAttention, StepsAside) {
  const Tensor q = part(1, 512, 24, at::kBFloat16);
  EXPECT_TRUE(is_own(q, q, q, {}));
  EXPECT_FALSE(is_own(q, q, q, {.causal = true}));
  EXPECT_FALSE(is_own(q, q, q, {.mask = at::zeros({1, 24, 512, 512}, q.options())}));
  const Tensor one = part(1, 128, 1, at::kBFloat16), many = part(1, 4096, 1, at::kBFloat16);
  EXPECT_FALSE(is_own(one, many, many, {})) << "one block for all keys";
  const Tensor narrow = q.narrow(3, 0, 64);
  EXPECT_FALSE(is_own(narrow, narrow, narrow, {}));
  expect_parity(narrow, narrow, narrow, {});
}

}  // namespace
}  // namespace diffract::kernels
