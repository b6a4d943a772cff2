// Every kernel beside its plain twin, in float64 on the same numbers, over even and odd shapes.
#include "tests/gpu/kernels.h"
#include "diffract/kernels/attention.h"
#include "diffract/kernels/bias_residual.h"
#include "diffract/kernels/gated_gelu.h"
#include "diffract/kernels/group_norm.h"
#include "diffract/kernels/linear.h"
#include "diffract/kernels/norm_rotary.h"
#include "diffract/kernels/residual_norm.h"
#include "diffract/kernels/step_graph.h"
#include "diffract/kernels/step_math.h"

namespace diffract::kernels {
namespace {

TEST_F(Kernels, GroupNorm) {
  struct Shape {
    int64_t batch, channels, height, width, groups;
  };
  for (const auto type : kTypes)
    for (const Shape& s :
         {Shape{2, 320, 64, 64, 32}, Shape{1, 128, 256, 256, 32}, Shape{2, 2560, 8, 8, 32},
          Shape{1, 6, 5, 7, 3}, Shape{3, 36, 1, 1, 4}, Shape{1, 513, 9, 3, 27}, Shape{2, 64, 33, 31, 32},
          Shape{2, 960, 64, 64, 32}, Shape{1, 1280, 16, 16, 32}, Shape{5, 96, 3, 1, 32}})
      for (const bool silu : {false, true})
        for (const bool with_addend : {false, true}) {
          const Tensor x = (random({s.batch, s.channels, s.height, s.width}, type) + 3)
                               .contiguous(at::MemoryFormat::ChannelsLast);
          const Tensor addend = with_addend ? random({s.batch, s.channels}, type) : Tensor();
          const GroupNorm norm{s.groups, 1e-5, silu, random({s.channels}, type), random({s.channels}, type)};
          const GroupNorm exact{s.groups, 1e-5, silu, wide(norm.weight), wide(norm.bias)};
          const Tensor wanted = plain::group_norm(wide(x), exact, wide(addend));
          const Tensor found = group_norm(x, norm, addend);
          EXPECT_LT(error(found, wanted), 4 * bound(type)) << type << " " << s.channels << " " << s.height;
          EXPECT_TRUE(found.equal(group_norm(x, norm, addend))) << "another result the second time";
        }
}

TEST_F(Kernels, ResidualNorm) {
  for (const auto type : kTypes)
    for (const int64_t width : {320, 640, 1280, 3072, 4096, 7, 100, 768, 16})
      for (const int64_t batch : {1, 2})
        for (const bool rms : {false, true}) {
          const Tensor x = random({batch, 37, width}, type), y = random({batch, 37, width}, type);
          const auto vectors = random({batch, 3 * width}, type).unsqueeze(1).chunk(3, 2);
          const ResidualNorm affine{.rms = rms,
                                    .eps = 1e-5,
                                    .weight = random({width}, type),
                                    .bias = rms ? Tensor() : random({width}, type)};
          const ResidualNorm modulated{.rms = rms, .eps = 1e-6, .scale = vectors[0], .shift = vectors[1]};
          for (const ResidualNorm& n : {affine, modulated}) {
            const ResidualNorm exact{.rms = n.rms,
                                     .eps = n.eps,
                                     .weight = wide(n.weight),
                                     .bias = wide(n.bias),
                                     .scale = wide(n.scale),
                                     .shift = wide(n.shift)};
            const Tensor alone = residual_norm(x, {}, {}, n).norm.values;
            EXPECT_LT(error(alone, plain::residual_norm(wide(x), {}, {}, exact).norm.values), 4 * bound(type))
                << width;
            const auto found = residual_norm(x, y, vectors[2], n);
            const auto sum = plain::gated_residual(wide(x), wide(y), wide(vectors[2]));
            EXPECT_LT(error(found.sum, sum), bound(type)) << width;
            EXPECT_LT(
                error(found.norm.values, plain::residual_norm(wide(found.sum), {}, {}, exact).norm.values),
                4 * bound(type))
                << width;
          }
          EXPECT_LT(error(gated_residual(x, y, {}), wide(x) + wide(y)), bound(type));
        }
}

TEST_F(Kernels, SumsStayInFloat16sRange) {
  const Tensor x = at::full({1, 4, 64}, 60000.0, on_gpu(at::kHalf));
  x.select(1, 1).neg_();
  x.select(1, 2).fill_(INFINITY);
  x.select(1, 3).fill_(NAN);
  for (const Tensor& sum : {gated_residual(x, x, {}), residual_norm(x, x, {}, {}).sum}) {
    EXPECT_TRUE(at::equal(sum.slice(1, 0, 3), plain::gated_residual(x, x, {}).slice(1, 0, 3)));
    EXPECT_TRUE(sum.select(1, 0).eq(65504).all().item<bool>());
    EXPECT_TRUE(sum.select(1, 3).isnan().all().item<bool>());
  }
}

TEST_F(Kernels, NormRotary) {
  for (const auto type : kTypes)
    for (const int64_t width : {128, 64, 32, 6, 130, 136, 258, 512})
      for (const int64_t heads : {24, 3}) {
        const Tensor qkv = random({2, 19, 3 * heads * width}, type);
        const Tensor rope = at::randn({19, width / 2, 2}, on_gpu(at::kFloat));
        const QueryKey weights{.query = random({width}, type), .key = random({width}, type)};
        const auto part = [&](const Tensor& all, int64_t which) {
          return all.narrow(2, which * heads * width, heads * width).unflatten(2, {heads, width});
        };
        const Tensor before = qkv.clone();
        const auto wanted = [&](int64_t which, const Tensor& weight) {
          const Tensor x = wide(part(before, which));
          const Tensor normed = x / (x.square().mean(3, true) + 1e-6).sqrt() * wide(weight);
          return at::view_as_real(at::view_as_complex(normed.unflatten(3, {-1, 2}).contiguous()) *
                                  at::view_as_complex(wide(rope)).unsqueeze(1))
              .flatten(3);
        };
        const auto found = norm_rotary({.query = part(qkv, 0), .key = part(qkv, 1)}, weights, 1e-6, rope);
        EXPECT_LT(error(found.query, wanted(0, weights.query)), 2 * bound(type)) << width;
        EXPECT_LT(error(found.key, wanted(1, weights.key)), 2 * bound(type)) << width;
        EXPECT_TRUE(part(qkv, 0).equal(found.query) && part(qkv, 1).equal(found.key)) << width;
        EXPECT_TRUE(part(qkv, 2).equal(part(before, 2)));
      }
}

TEST_F(Kernels, LinearEach) {
  for (const auto type : kTypes)
    for (const int64_t rows : {1, 2, 4, 9})
      for (const size_t count : {1, 3, 40}) {  // also more than one launch takes
        const Tensor x = random({rows, 128}, type);
        std::vector<LinearLayer> layers;
        for (size_t i = 0; i < count; ++i) {
          const int64_t out = 5 + 37 * static_cast<int64_t>(i);
          layers.push_back({random({out, 128}, type), i % 2 == 0 ? random({out}, type) : Tensor()});
        }
        const auto found = linear_each(x, layers);
        ASSERT_EQ(found.size(), count);
        for (size_t i = 0; i < count; ++i) {
          const Tensor bias = layers[i].bias.defined() ? wide(layers[i].bias) : Tensor();
          EXPECT_LT(error(found[i], at::linear(wide(x), wide(layers[i].weight), bias)), 2 * bound(type)) << i;
        }
      }
}

TEST_F(Kernels, GatedGelu) {
  for (const auto type : kTypes)
    for (const int64_t width : {1280, 10240, 8, 5})
      for (const auto kind : {GatedGelu::geglu, GatedGelu::t5}) {
        const Tensor x = random({2, 33, 2 * width}, type);
        EXPECT_LT(error(gated_gelu(x, kind), plain::gated_gelu(wide(x), kind)), bound(type)) << width;
      }
}

TEST_F(Kernels, BiasResidual) {
  for (const auto type : kTypes)
    for (const int64_t channels : {320, 4, 3, 130}) {
      const Tensor x = random({2, channels, 9, 7}, type).contiguous(at::MemoryFormat::ChannelsLast);
      const Tensor residual = random({2, channels, 9, 7}, type), bias = random({channels}, type);
      const Tensor wanted = plain::bias_residual(wide(x), wide(bias), wide(residual));
      EXPECT_LT(error(bias_residual(x.clone(), bias, residual), wanted), bound(type)) << channels;
      EXPECT_LT(error(bias_residual(x.clone(), bias, {}), wide(x) + wide(bias).view({1, -1, 1, 1})),
                bound(type));
    }
}

TEST_F(Kernels, Attention) {
  struct Shape {
    int64_t batch, heads, queries, keys, width;
  };
  for (const auto type : kTypes)
    for (const Shape& s : {Shape{2, 8, 1024, 1024, 40}, Shape{2, 8, 256, 77, 160}, Shape{1, 3, 65, 65, 64},
                           Shape{1, 1, 1, 9, 24}, Shape{2, 3, 31, 33, 12}})
      for (const bool causal : {false, true}) {
        const auto make = [&](int64_t tokens) {  // parts of one tensor, as projections give them
          return random({s.batch, tokens, 3, s.heads, s.width}, type).select(2, 1).transpose(1, 2);
        };
        const Tensor q = make(s.queries), k = make(s.keys), v = make(s.keys);
        const Scores scores{.causal = causal, .scale = 0.3};
        const Tensor wanted = plain::attention(wide(q), wide(k), wide(v), scores);
        // The weights are rounded before they are multiplied, too.
        EXPECT_LT(error(attention(q, k, v, scores), wanted), 4 * bound(type)) << type << " " << s.queries;
      }
}

TEST_F(Kernels, StepMath) {
  const Tensor prediction = random({4, 4, 9, 7}, at::kFloat);
  EXPECT_LT(error(guide(prediction, 7.5), plain::guide(wide(prediction), 7.5)), 1e-6);
}

TEST_F(Kernels, GraphsGiveWhatTheStepGives) {
  StepGraphs graphs(2);
  const Tensor weight = random({64, 64}, at::kHalf);
  int calls = 0;
  const auto step = [&](const std::vector<Tensor>& in) {
    ++calls;
    return linear(in[0], weight, {}, {.residual = in[1]});
  };
  std::vector<Tensor> kept, wanted;
  for (int i = 0; i < 4; ++i)
    for (const int64_t rows : {8, 16}) {
      const std::vector<Tensor> in{random({rows, 64}, at::kHalf), random({rows, 64}, at::kHalf)};
      kept.push_back(graphs.run(in, step));
      wanted.push_back(linear(in[0], weight, {}, {.residual = in[1]}));
    }
  for (size_t i = 0; i < kept.size(); ++i) EXPECT_TRUE(kept[i].equal(wanted[i])) << i;
  // Each shape runs once as it is and is recorded once; before that once more where its product is measured.
  EXPECT_GE(calls, 4);
  EXPECT_LE(calls, 6);
  graphs.run({random({24, 64}, at::kHalf), random({24, 64}, at::kHalf)}, step);
  EXPECT_EQ(graphs.size(), 2u);
}

}  // namespace
}  // namespace diffract::kernels
