// Layers against what libtorch's own operations give for the same weights.
#include <gtest/gtest.h>

#include <map>

#include "diffract/nn/attention.h"
#include "diffract/nn/embedding.h"
#include "diffract/nn/linear_group.h"
#include "diffract/nn/multiply.h"
#include "diffract/nn/norm.h"

namespace diffract::nn {
namespace {

using weights::made_source;

class Layers : public ::testing::Test {
 protected:
  Layers() { at::manual_seed(3); }
  // A scope whose tensors are drawn when they are asked for, and kept by name.
  WeightScope scope(const tensor::DtypePolicy& policy = {}) {
    return {made_source(
                [this](const std::string& name, at::IntArrayRef shape) {
                  auto& tensor = drawn_[name];
                  if (!tensor.defined()) tensor = at::randn(shape) / 4;
                  return tensor;
                },
                [](const std::string&) { return true; }),
            policy};
  }
  const Tensor& drawn(const std::string& name) { return drawn_.at(name); }
  static double difference(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

  const c10::InferenceMode no_autograd_;
  std::map<std::string, Tensor> drawn_;
};

constexpr double kClose = 1e-5;  // a few roundings of values near 1

TEST_F(Layers, LinearMultipliesAndAddsWhatItsEndAsksFor) {
  const Linear linear(scope() / "a", 8, 6);
  const Tensor x = at::randn({2, 5, 8}), residual = at::randn({2, 5, 6});
  const Tensor expected = at::linear(x, drawn("a.weight"), drawn("a.bias"));
  EXPECT_LT(difference(linear(x), expected), kClose);
  EXPECT_LT(difference(linear(x, {.residual = residual}), expected + residual), kClose);
  EXPECT_LT(difference(linear(x, {.gelu = true}), at::gelu(expected, "tanh")), kClose);
  const Linear without(scope() / "b", 8, 6, Bias::no);
  EXPECT_LT(difference(without(x), at::linear(x, drawn("b.weight"))), kClose);
  EXPECT_FALSE(drawn_.contains("b.bias"));
}

TEST_F(Layers, AGroupGivesWhatItsLayersGive) {
  const LinearGroup group(
      {Linear(scope() / "q", 8, 4), Linear(scope() / "k", 8, 6), Linear(scope() / "v", 8, 2)});
  const Tensor x = at::randn({2, 3, 8});
  const auto all = group(x);
  ASSERT_EQ(all.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const std::string name(1, "qkv"[i]);
    const Tensor expected = at::linear(x, drawn(name + ".weight"), drawn(name + ".bias"));
    EXPECT_LT(difference(all[i], expected), kClose) << name;
  }
  const auto some = group.some(x, 1, 3);
  ASSERT_EQ(some.size(), 2u);
  EXPECT_TRUE(some[0].equal(all[1]));
  EXPECT_TRUE(group.joined(x).equal(at::cat(all, -1)));
}

TEST_F(Layers, MultiplyKnowsTheEncodings) {
  const Tensor weight = at::randn({16, 32}), x = at::randn({1, 4, 32});
  const Tensor exact = at::linear(x, weight);
  const weights::Weight dense(weight, at::kFloat), narrow(kernels::to_float8(weight));
  EXPECT_LT(difference(multiply(x, dense, {}, {}), exact), kClose);
  const double error = difference(multiply(x, narrow, {}, {}), exact);
  EXPECT_GT(error, kClose);  // rows and matrix are rounded to 3 bits of mantissa
  EXPECT_LT(error, 0.1 * exact.abs().max().item<double>());
}

Tensor plain_attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, bool causal) {
  const auto split = [&](const Tensor& x) { return x.unflatten(2, {heads, -1}).transpose(1, 2); };
  Tensor scores = at::matmul(split(q), split(k).transpose(2, 3)) / std::sqrt(double(q.size(2) / heads));
  if (causal)
    scores = scores.masked_fill(at::ones({q.size(1), k.size(1)}, at::kBool).tril().logical_not(),
                                -std::numeric_limits<float>::infinity());
  return at::matmul(at::softmax(scores, -1), split(v)).transpose(1, 2).flatten(2);
}

TEST_F(Layers, AttentionCoreIsSoftmaxOfTheScores) {
  const Tensor q = at::randn({2, 5, 12}), k = at::randn({2, 7, 12}), v = at::randn({2, 7, 12});
  const AttentionCore core(scope(), {.heads = 3}, 12);
  EXPECT_LT(difference(core(q, k, v), plain_attention(q, k, v, 3, false)), kClose);
  const AttentionCore causal(scope(), {.heads = 3, .causal = true}, 12);
  EXPECT_LT(difference(causal(q, q, q), plain_attention(q, q, q, 3, true)), kClose);
  Tensor wide = at::zeros({2, 5, 20});
  const Tensor part = wide.slice(2, 4, 16);
  core(q, k, v, {.bias = {}, .out = part});
  EXPECT_LT(difference(part, core(q, k, v)), kClose);
  EXPECT_EQ(wide.slice(2, 0, 4).abs().max().item<float>(), 0);
  const Tensor bias = at::randn({1, 3, 5, 7});
  const AttentionCore biased(scope(), {.heads = 3, .biased = true, .scale = 1.0}, 12);
  const auto split = [](const Tensor& x) { return x.unflatten(2, {3, -1}).transpose(1, 2); };
  const Tensor scores = at::matmul(split(q), split(k).transpose(2, 3)) + bias;
  EXPECT_LT(difference(biased(q, k, v, {.bias = bias, .out = {}}),
                       at::matmul(at::softmax(scores, -1), split(v)).transpose(1, 2).flatten(2)),
            kClose);
}

TEST_F(Layers, AttentionLooksAtItselfOrAtAContext) {
  const Attention itself(scope() / "self", {.query = 8, .context = 8, .inner = 12}, {.heads = 3});
  const Attention other(scope() / "other", {.query = 8, .context = 6, .inner = 12}, {.heads = 3});
  const Tensor x = at::randn({2, 4, 8}), context = at::randn({2, 5, 6}), residual = at::randn({2, 4, 8});
  const auto expected = [&](const std::string& name, const Tensor& seen) {
    const auto project = [&](const char* which, const Tensor& from) {
      return at::linear(from, drawn(name + which + ".weight"));
    };
    const Tensor mixed =
        plain_attention(project(".to_q", x), project(".to_k", seen), project(".to_v", seen), 3, false);
    return at::linear(mixed, drawn(name + ".to_out.0.weight"), drawn(name + ".to_out.0.bias"));
  };
  EXPECT_LT(difference(itself(x), expected("self", x)), kClose);
  EXPECT_LT(difference(other(x, context), expected("other", context)), kClose);
  EXPECT_LT(difference(other(x, context, residual), expected("other", context) + residual), kClose);
}

TEST_F(Layers, NormsAreLibtorchs) {
  const Tensor x = at::randn({2, 8, 4, 4}), rows = at::randn({2, 3, 8});
  const GroupNorm group(scope() / "g", 4, 8, 1e-5);
  EXPECT_LT(difference(group(x), at::group_norm(x, 4, drawn("g.weight"), drawn("g.bias"), 1e-5)), kClose);
  const LayerNorm layer(scope() / "l", 8, 1e-6);
  EXPECT_LT(difference(layer(rows), at::layer_norm(rows, {8}, drawn("l.weight"), drawn("l.bias"), 1e-6)),
            kClose);
  const RMSNorm rms(scope() / "r", 8, 1e-6);
  const Tensor expected = rows / (rows.square().mean(-1, true) + 1e-6).sqrt() * drawn("r.weight");
  EXPECT_LT(difference(rms(rows), expected), kClose);
}

}  // namespace
}  // namespace diffract::nn
