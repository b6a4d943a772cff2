// The parts of a step, timed alone: rows of cuda_table.
#include "bench/cuda_bench.h"
#include "diffract/kernels/attention.h"
#include "diffract/kernels/norm_rotary.h"
#include "diffract/kernels/residual_norm.h"

namespace diffract::bench {

// What the parts of a FLUX step can reach: products of its shapes, attention by each of ATen's ways.
void products(Bench& bench) {
  if (!bench.wants("products")) return;
  struct Shape {
    int64_t rows, in, out;
    bool gelu;
  };
  for (const Shape& s :
       {Shape{4080, 3072, 9216, false}, Shape{4080, 3072, 12288, true}, Shape{4080, 12288, 3072, false},
        Shape{4592, 3072, 9216, false}, Shape{4592, 3072, 12288, true}, Shape{4592, 15360, 3072, false},
        Shape{4080, 3072, 3072, false}, Shape{512, 3072, 9216, false}, Shape{512, 12288, 3072, false},
        Shape{1, 3072, 18432, false}, Shape{8192, 320, 320, false}, Shape{8192, 320, 2560, false},
        Shape{8192, 1280, 320, false}, Shape{512, 1280, 10240, false}, Shape{512, 4096, 20480, false}}) {
    const Tensor x = at::randn({s.rows, s.in}, bench.on_gpu(at::kBFloat16));
    const Tensor w = at::randn({s.out, s.in}, bench.on_gpu(at::kBFloat16)),
                 b = at::randn({s.out}, bench.on_gpu(at::kBFloat16));
    const auto rate = [&](const std::function<void()>& work) {
      const double time = bench.median([&] {
        for (int i = 0; i < 20; ++i) work();
      }) / 20;
      return 2e-9 * static_cast<double>(s.rows * s.in * s.out) / time;
    };
    std::printf(
        "{\"product\": [%ld, %ld, %ld], \"gelu\": %d, \"ours_tflops\": %.0f, \"aten_tflops\": %.0f}\n",
        s.rows, s.in, s.out, s.gelu, rate([&] { kernels::linear(x, w, b, {.gelu = s.gelu}); }),
        rate([&] { kernels::plain::linear(x, w, b, {.gelu = s.gelu}); }));
    std::fflush(stdout);
  }
}

// Passes over memory between the products of a FLUX step, beside the rate at which this GPU copies; each on
// another of several tensors than the last, so that nothing comes from the cache.
void passes(Bench& bench) {
  if (!bench.wants("passes")) return;
  constexpr int64_t kTensors = 4, kTokens = 4592, kWidth = 3072, kHeads = 24;
  const auto make = [&](at::IntArrayRef shape) { return at::randn(shape, bench.on_gpu(at::kBFloat16)); };
  const Tensor x = make({kTensors, 1, kTokens, kWidth}), y = make({kTensors, 1, kTokens, kWidth}),
               gate = make({1, 1, kWidth}), qkv = make({kTensors, 1, kTokens, 3, kHeads, 128}),
               weight = make({128}), rope = at::randn({kTokens, 64, 2}, bench.on_gpu(at::kFloat));
  const auto rate = [&](const char* name, double tensors, const std::function<void(int64_t)>& work) {
    constexpr int64_t kTimes = 20;
    const double time = bench.median([&] {
      for (int64_t i = 0; i < kTimes; ++i) work(i % kTensors);
    }) / kTimes;
    std::printf("{\"pass\": \"%s\", \"us\": %.1f, \"tb_per_s\": %.2f}\n", name, 1e3 * time,
                tensors * static_cast<double>(x[0].nbytes()) / time * 1e-9);
  };
  const kernels::ResidualNorm norm{.scale = gate, .shift = gate};
  rate("copy", 2, [&](int64_t i) { y[i].copy_(x[i]); });
  rate("norm", 2, [&](int64_t i) { kernels::residual_norm(x[i], {}, {}, norm); });
  rate("residual", 3, [&](int64_t i) { kernels::gated_residual(x[i], y[i], gate); });
  rate("residual_norm", 4, [&](int64_t i) { kernels::residual_norm(x[i], y[i], gate, norm); });
  rate("norm_rotary", 4, [&](int64_t i) {
    kernels::norm_rotary({.query = qkv[i].select(2, 0), .key = qkv[i].select(2, 1)},
                         {.query = weight, .key = weight}, 1e-6, rope);
  });
}

void attention(Bench& bench) {
  if (!bench.wants("attention")) return;
  struct Heads {
    int64_t batch, heads, queries, keys, width;
    at::ScalarType dtype;
  };
  for (const Heads& h : {Heads{1, 24, 4592, 4592, 128, at::kBFloat16}, Heads{2, 8, 4096, 4096, 40, at::kHalf},
                         Heads{2, 8, 1024, 1024, 80, at::kHalf}, Heads{2, 8, 256, 256, 160, at::kHalf},
                         Heads{2, 8, 64, 64, 160, at::kHalf}, Heads{2, 8, 4096, 77, 40, at::kHalf},
                         Heads{2, 8, 1024, 77, 80, at::kHalf}, Heads{2, 8, 256, 77, 160, at::kHalf},
                         Heads{16, 8, 4096, 4096, 40, at::kHalf}, Heads{16, 8, 4096, 77, 40, at::kHalf},
                         Heads{16, 8, 256, 256, 160, at::kHalf}, Heads{1, 1, 4096, 4096, 512, at::kHalf},
                         Heads{1, 1, 16320, 16320, 512, at::kBFloat16}}) {
    const auto make = [&](int64_t tokens) {
      return at::randn({h.batch, tokens, h.heads, h.width}, bench.on_gpu(h.dtype)).transpose(1, 2);
    };
    const Tensor q = make(h.queries), k = make(h.keys), v = make(h.keys);
    std::string line;
    for (const char* way : {"default", "cudnn", "flash", "efficient", "math"}) {
      const std::string name = way;
      if (name == "math" && h.heads * h.queries * h.keys > (int64_t{1} << 29)) continue;
      auto& context = at::globalContext();
      const bool all = name == "default";
      context.setSDPUseCuDNN(all || name == "cudnn");
      context.setSDPUseFlash(all || name == "flash");
      context.setSDPUseMemEfficient(all || name == "efficient");
      context.setSDPUseMath(all || name == "math");
      try {
        const auto ten = [&] {
          for (int i = 0; i < 10; ++i)
            all ? kernels::attention(q, k, v, {}) : at::scaled_dot_product_attention(q, k, v);
        };
        ten();
        const auto recorded = kernels::cuda_kernels(q)->record(q, ten);
        const double time = bench.median([&] { recorded->replay(); }) / 10;
        line += fmt::format(", \"{}_ms\": {:.4f}", name, time);
      } catch (const std::exception&) {
        line += fmt::format(", \"{}_ms\": null", name);
      }
      context.setSDPUseCuDNN(true);
      context.setSDPUseFlash(true);
      context.setSDPUseMemEfficient(true);
      context.setSDPUseMath(true);
    }
    std::printf("{\"attention\": [%ld, %ld, %ld, %ld, %ld]%s}\n", h.batch, h.heads, h.queries, h.keys,
                h.width, line.c_str());
    std::fflush(stdout);
  }
}

}  // namespace diffract::bench
