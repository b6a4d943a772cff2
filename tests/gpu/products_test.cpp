// Products and what is rounded for them, beside their plain twins in float64.
#include "diffract/kernels/cuda_kernels.h"
#include "diffract/kernels/linear.h"
#include "diffract/kernels/linear_float8.h"
#include "diffract/kernels/residual_norm.h"
#include "tests/gpu/kernels.h"

namespace diffract::kernels {
namespace {

using kernels::wide;

TEST_F(Kernels, Linear) {
  struct Shape {
    int64_t batch, rows, in, out;
  };
  for (const auto type : kTypes)
    for (const Shape& s : {Shape{2, 77, 768, 320}, Shape{1, 512, 4096, 1024}, Shape{1, 1, 256, 3072},
                           Shape{3, 1, 64, 128}, Shape{2, 5, 7, 3}, Shape{1, 9, 32, 33},
                           Shape{2, 1, 1280, 320}, Shape{1, 4, 320, 77}, Shape{1, 1, 3072, 9216}})
      for (const bool with_bias : {false, true}) {
        const Tensor x = random({s.batch, s.rows, s.in}, type), weight = random({s.out, s.in}, type);
        const Tensor bias = with_bias ? random({s.out}, type) : Tensor();
        const Tensor residual = random({s.batch, s.rows, s.out}, type);
        const auto exact = [&](const LinearEnd& end) {
          return plain::linear(wide(x), wide(weight), wide(bias), end);
        };
        EXPECT_LT(error(linear(x, weight, bias), exact({})), 2 * bound(type)) << s.in;
        EXPECT_LT(error(linear(x, weight, bias, {.gelu = true}), exact({.gelu = true})), 2 * bound(type))
            << s.in;
        EXPECT_LT(error(linear(x, weight, bias, {.residual = residual}), exact({.residual = wide(residual)})),
                  2 * bound(type))
            << s.in;
        const Tensor room = at::full({s.batch, s.rows, 3 * s.out}, 7.0, on_gpu(type));
        linear(x, weight, bias, {.out = room.narrow(2, s.out, s.out)});
        EXPECT_LT(error(room.narrow(2, s.out, s.out), exact({})), 2 * bound(type)) << s.in;
        EXPECT_TRUE(room.narrow(2, 0, s.out).eq(7.0).all().item<bool>());
        EXPECT_TRUE(room.narrow(2, 2 * s.out, s.out).eq(7.0).all().item<bool>());
        // A part of a wider tensor.
        const Tensor parts = random({s.batch, s.rows, 3 * s.in}, type), part = parts.narrow(2, s.in, s.in);
        EXPECT_LT(error(linear(part, weight, bias), plain::linear(wide(part), wide(weight), wide(bias))),
                  2 * bound(type));
      }
}

// Factors of 10 bits, rounded by up to 2^-11, sums in float32. Rows enough for cublasLt, not few.
TEST_F(Kernels, LinearInTf32) {
  const Tensor x = random({2, 77, 768}, at::kFloat), weight = random({320, 768}, at::kFloat);
  const Tensor exact = plain::linear(wide(x), wide(weight), Tensor(), {.gelu = true});
  const auto found = [&] { return error(linear(x, weight, Tensor(), {.gelu = true}), exact); };
  if (!backend_->allow_tf32(0, true)) GTEST_SKIP() << "this GPU has no TF32";
  const double rounded = found();
  backend_->allow_tf32(0, false);
  EXPECT_LT(rounded, 1e-3);
  EXPECT_GT(rounded, 1e-5);
  EXPECT_LT(found(), 2 * bound(at::kFloat));
}

// cublasLt's handle is for one GPU; the first is asked before the others, as libraries are prepared for it.
TEST_F(Kernels, LinearOnEachGpu) {
  if (backend_->device_count() < 2) GTEST_SKIP() << "one GPU";
  for (const auto type : kTypes) {
    const Tensor x = random({1, 512, 1024}, type), weight = random({3072, 1024}, type);
    const Tensor exact = plain::linear(wide(x), wide(weight), Tensor());
    for (int i = 0; i < backend_->device_count(); ++i) {
      const at::Device gpu(at::kCUDA, static_cast<c10::DeviceIndex>(i));
      EXPECT_LT(error(linear(x.to(gpu), weight.to(gpu), Tensor()).to(x.device()), exact), 2 * bound(type))
          << i;
    }
  }
}

// Half a step of e4m3 below its largest value, over that value; and the roundings before.
constexpr double kFloat8Bound = 0.037;

Tensor wide(const Rows& rows) { return rows.values.to(at::kDouble) * rows.scales.to(at::kDouble); }

TEST_F(Kernels, RoundRows) {
  for (const auto type : kTypes)
    for (const int64_t width : {3072, 1024, 72, 7, 24000})
      for (const int64_t batch : {1, 2}) {
        const Tensor all = random({batch, 37, 3 * width}, type) * 5, x = all.narrow(2, width, width);
        EXPECT_LT(error(wide(round_rows(x)), wide(x)), kFloat8Bound) << type << " " << width;
        const Tensor hidden = random({batch, 37, 2 * width}, type) * 5,
                     active = at::gelu(wide(hidden), "tanh");
        EXPECT_LT(error(wide(round_beside_gelu({}, hidden)), active), kFloat8Bound) << type << " " << width;
        EXPECT_LT(error(wide(round_beside_gelu(x, hidden)), at::cat({wide(x), active}, 2)), kFloat8Bound)
            << type << " " << width;
        // Every row has a scale of its own: its largest value stays what it is.
        const Tensor largest = wide(x).abs().amax(2);
        EXPECT_LT(error(wide(round_rows(x)).abs().amax(2), largest), 1e-5) << type << " " << width;
      }
}

TEST_F(Kernels, NormInFloat8) {
  for (const auto type : kTypes)
    for (const int64_t width : {3072, 320, 100, 7, 4096}) {
      const Tensor x = random({2, 37, width}, type), y = random({2, 37, width}, type);
      const auto vectors = random({2, 3 * width}, type).unsqueeze(1).chunk(3, 2);
      const ResidualNorm narrow{.scale = vectors[0], .shift = vectors[1], .to_float8 = true};
      const ResidualNorm exact{.scale = wide(vectors[0]), .shift = wide(vectors[1])};
      const auto found = residual_norm(x, y, vectors[2], narrow);
      EXPECT_LT(error(found.sum, plain::gated_residual(wide(x), wide(y), wide(vectors[2]))), bound(type));
      EXPECT_LT(error(wide(found.norm), plain::residual_norm(wide(found.sum), {}, {}, exact).norm.values),
                kFloat8Bound)
          << type << " " << width;
    }
}

TEST_F(Kernels, LinearFloat8) {
  for (const bool with_bias : {false, true})
    for (const int64_t rows : {77, 1, 128}) {
      const Tensor weight = random({1024, 2048}, at::kBFloat16);
      const Tensor bias = with_bias ? random({1024}, at::kBFloat16) : Tensor();
      const Tensor residual = random({2, rows, 1024}, at::kBFloat16);
      ASSERT_TRUE(can_multiply_float8(weight, 1024));
      const auto narrow = to_float8(weight);
      const Rows x = round_rows(random({2, rows, 2048}, at::kBFloat16));
      const auto exact = [&](const LinearEnd& end) {
        return plain::linear(wide(x), wide({narrow.values, narrow.scales}), wide(bias), end);
      };
      // The sums' order, and the matrix units' narrower accumulator.
      constexpr double kBound = 3e-2;
      const Tensor found = linear_float8(x, narrow, bias);
      EXPECT_LT(error(found, exact({})), kBound);
      EXPECT_LT(error(linear_float8(x, narrow, bias, {.gelu = true}), exact({.gelu = true})), kBound);
      EXPECT_LT(
          error(linear_float8(x, narrow, bias, {.residual = residual}), exact({.residual = wide(residual)})),
          kBound);
      const Tensor room = at::full({2, rows, 3072}, 7.0, on_gpu(at::kBFloat16));
      linear_float8(x, narrow, bias, {.out = room.narrow(2, 1024, 1024)});
      EXPECT_LT(error(room.narrow(2, 1024, 1024), exact({})), kBound);
      EXPECT_TRUE(room.narrow(2, 0, 1024).eq(7.0).all().item<bool>());
      EXPECT_TRUE(room.narrow(2, 2048, 1024).eq(7.0).all().item<bool>());
    }
}

TEST_F(Kernels, MeasuredProductsGiveTheSame) {
  const Tensor x = random({1, 77, 640}, at::kHalf), weight = random({1024, 640}, at::kHalf);
  const Tensor first = linear(x, weight, {}, {.gelu = true});
  Tensor measured;
  cuda_kernels(x)->measure([&] { measured = linear(x, weight, {}, {.gelu = true}); });
  EXPECT_LT(error(measured, wide(first)), 2 * bound(at::kHalf));
  EXPECT_TRUE(measured.equal(linear(x, weight, {}, {.gelu = true}))) << "what was chosen stays";
}

}  // namespace
}  // namespace diffract::kernels
