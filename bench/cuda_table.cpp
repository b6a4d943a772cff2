// Full-size models with random weights that are made on the GPU, timed one by one:
//   cuda_table [--only NAME[,NAME]] [--trace FOLDER] [--trace-first] [--no-graph]
// Prints one JSON object a line. bench/cuda_peer.py times the same work in diffusers.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "bench/cuda_trace.h"
#include "diffract/core/error.h"
#include "diffract/kernels/attention.h"
#include "diffract/kernels/cuda_kernels.h"
#include "diffract/kernels/norm_rotary.h"
#include "diffract/kernels/residual_norm.h"
#include "diffract/models/autoencoder_kl.h"
#include "diffract/models/flux_transformer_2d_model.h"
#include "diffract/models/t5_encoder_model.h"
#include "diffract/models/unet_2d_condition_model.h"
#include "diffract/tensor/device_backend.h"
#include "diffract/tensor/dtype.h"

namespace {

using namespace diffract;
using at::Tensor;
using Clock = std::chrono::steady_clock;

constexpr int kRepeats = 10;

struct Options {
  std::string only, trace;
  bool graph = true;
  bool trace_first = false;  // instead of a later step
};

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

class Bench {
 public:
  explicit Bench(Options options) : options_(std::move(options)), backend_(tensor::find_backend("cuda")) {
    if (!backend_) throw UsageError("no GPU: {}", tensor::why_no_backend("cuda"));
  }

  at::TensorOptions on_gpu(at::ScalarType dtype) const { return at::TensorOptions(at::kCUDA).dtype(dtype); }

  // A row, with what belongs to it: flux, flux+ahead.
  bool wants(const std::string& name) const {
    const std::string row = name.substr(0, name.find('+'));
    return options_.only.empty() || ("," + options_.only + ",").find("," + row + ",") != std::string::npos;
  }

  // A checkpoint of any names, its tensors drawn on the GPU.
  // Those that `stays` does not want go to host memory.
  std::shared_ptr<const weights::Checkpoint> random_checkpoint(
      at::ScalarType dtype, const std::function<bool(const std::string&)>& stays) const {
    const auto make = [=, this](const std::string& name, at::IntArrayRef shape) {
      Tensor values = at::randn(shape, on_gpu(dtype)).mul_(0.02);
      const bool is_norm_scale = shape.size() == 1 && name.ends_with("weight");
      if (is_norm_scale) values.add_(1);
      return stays(name) ? values : values.cpu();
    };
    return weights::Checkpoint::made(make, [](const std::string& name) { return name == "shared.weight"; });
  }
  weights::WeightScope random_weights(at::ScalarType dtype, bool float8 = false) const {
    return {random_checkpoint(dtype, [](const std::string&) { return true; }),
            {.storage = dtype, .arithmetic = dtype, .float8 = float8},
            at::Device(at::kCUDA, 0)};
  }

  // Times `work`, as it is and as a recorded graph, and prints a line.
  void time(const std::string& name, const std::vector<Tensor>& inputs, const kernels::StepGraphs::Step& work,
            bool with_graph) {
    if (!wants(name)) return;
    backend_->reset_peak(0);
    const auto begin = Clock::now();
    const auto whole = [&] {
      work(inputs);
      backend_->synchronize(0);
    };
    const auto file = options_.trace + "/" + name + ".json";
    if (options_.trace_first) {
      bench::trace(file, whole);
      return;
    }
    whole();
    const double first = milliseconds_since(begin);
    const auto peak = backend_->memory(0).peak;
    double recorded = 0;
    if (with_graph && options_.graph) {
      kernels::StepGraphs graphs;
      graphs.run(inputs, work);
      graphs.run(inputs, work);
      recorded = median([&] { graphs.run(inputs, work); });
    } else {
      kernels::cuda_kernels(inputs.front())->measure(whole);
    }
    const double plain = median([&] { work(inputs); });
    std::printf(
        "{\"row\": \"%s\", \"first_ms\": %.1f, \"eager_ms\": %.3f, \"graph_ms\": %.3f, \"peak_gib\": %.2f}\n",
        name.c_str(), first, plain, recorded, static_cast<double>(peak) / (1 << 30));
    std::fflush(stdout);
    if (!options_.trace.empty()) bench::trace(file, whole);
  }

  double median(const std::function<void()>& work) const {
    work();
    backend_->synchronize(0);
    std::vector<double> times;
    for (int i = 0; i < kRepeats; ++i) {
      const auto begin = Clock::now();
      work();
      backend_->synchronize(0);
      times.push_back(milliseconds_since(begin));
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  tensor::DeviceBackend& backend() { return *backend_; }

 private:
  Options options_;
  tensor::DeviceBackend* backend_;
};

ConfigReader config(const char* json) { return {Json::parse(json), "bench"}; }

void unet(Bench& bench) {
  if (!bench.wants("unet_2") && !bench.wants("unet_16")) return;
  const auto c = models::UNet2DConditionConfig::from_json(config(R"({"attention_head_dim": 8,
      "cross_attention_dim": 768, "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2,
      "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
      "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
      "sample_size": 64})"));
  const auto begin = Clock::now();
  const models::UNet2DConditionModel model(c, bench.random_weights(at::kHalf));
  bench.backend().synchronize(0);
  std::printf("{\"row\": \"unet\", \"making_weights_ms\": %.0f}\n", milliseconds_since(begin));
  for (const int64_t batch : {2, 16})
    bench.time(
        fmt::format("unet_{}", batch),
        {at::randn({batch, 4, 64, 64}, bench.on_gpu(at::kFloat)),
         at::full({batch}, 500.0, bench.on_gpu(at::kFloat)),
         at::randn({batch, 77, 768}, bench.on_gpu(at::kHalf))},
        [&](const std::vector<Tensor>& in) { return model(in[0], in[1], in[2]); }, true);
}

void vae(Bench& bench, const char* name, const char* json, at::ScalarType dtype, at::IntArrayRef latents) {
  if (!bench.wants(name)) return;
  const models::AutoencoderKL model(models::AutoencoderKLConfig::from_json(config(json)),
                                    bench.random_weights(dtype));
  bench.time(
      name, {at::randn(latents, bench.on_gpu(at::kFloat))},
      [&](const std::vector<Tensor>& in) { return model.decode(in[0]); }, true);
}

void t5(Bench& bench) {
  if (!bench.wants("t5")) return;
  const auto c = models::T5Config::from_json(config(R"({"vocab_size": 32128, "d_model": 4096, "d_kv": 64,
      "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu"})"));
  const models::T5EncoderModel model(c, bench.random_weights(at::kBFloat16));
  bench.time(
      "t5", {at::randint(0, 32128, {1, 512}, bench.on_gpu(at::kLong))},
      [&](const std::vector<Tensor>& in) { return model(in[0]); }, false);
}

models::FluxTransformer2DConfig flux_config() {
  return models::FluxTransformer2DConfig::from_json(config(R"({"guidance_embeds": true})"));
}

// A step as a picture's walk takes it, with what depends on time and text alone made ahead; how long that
// takes for the steps of a walk; and a step that makes its own, as diffusers' does.
void time_flux(Bench& bench, const std::string& name, const models::FluxTransformer2DModel& model,
               bool with_graph) {
  constexpr int64_t kSteps = 28;
  constexpr int64_t kRows = 48, kColumns = 85, kText = 512;
  Tensor ids = at::zeros({kRows, kColumns, 3}, bench.on_gpu(at::kFloat));
  ids.select(2, 1).copy_(at::arange(kRows, bench.on_gpu(at::kFloat)).unsqueeze(1).expand({kRows, kColumns}));
  ids.select(2, 2).copy_(
      at::arange(kColumns, bench.on_gpu(at::kFloat)).unsqueeze(0).expand({kRows, kColumns}));
  const Tensor rope = model.rotary(at::zeros({kText, 3}, bench.on_gpu(at::kFloat)), ids.view({-1, 3}));
  at::manual_seed(7);
  const Tensor latents = at::randn({1, kRows * kColumns, 64}, bench.on_gpu(at::kFloat)),
               text = at::randn({1, kText, 4096}, bench.on_gpu(at::kBFloat16)),
               pooled = at::randn({1, 768}, bench.on_gpu(at::kBFloat16)),
               guidance = at::full({1}, 3.5, bench.on_gpu(at::kFloat)),
               sigmas = at::linspace(1, 1.0 / kSteps, kSteps, bench.on_gpu(at::kFloat)).unsqueeze(1);
  const models::FluxTransformer2DModel::Conditioning cond{
      .prompt_embeds = text, .pooled_prompt_embeds = pooled, .rope = rope, .guidance = guidance};
  const auto modulation = model.modulations(sigmas, cond)[kSteps / 2];
  bench.time(name, model.tensors_of(latents, modulation, cond), model, with_graph);
  bench.time(
      name + "+ahead", {sigmas},
      [&](const std::vector<Tensor>& in) { return model.modulations(in[0], cond).front().temb; }, false);
  bench.time(
      name + "+alone", {latents, at::full({1}, 0.5, bench.on_gpu(at::kFloat)), text, pooled, rope, guidance},
      [&](const std::vector<Tensor>& in) {
        return model(
            in[0], in[1],
            {.prompt_embeds = in[2], .pooled_prompt_embeds = in[3], .rope = in[4], .guidance = in[5]});
      },
      with_graph);
}

void flux(Bench& bench) {
  if (bench.wants("flux"))
    time_flux(bench, "flux", {flux_config(), bench.random_weights(at::kBFloat16)}, true);
  bench.backend().empty_cache();
  if (bench.wants("flux_float8"))
    time_flux(bench, "flux_float8", {flux_config(), bench.random_weights(at::kBFloat16, /*float8=*/true)},
              true);
}

// Blocks of which so many, evenly among the others, stay in host memory; the rest on the GPU.
struct Offloaded {
  const char* row;
  int64_t double_blocks, single_blocks;
  uint64_t budget_bytes;  // of the GPU for all weights
};

void flux_streamed(Bench& bench, const Offloaded& offloaded) {
  if (!bench.wants(offloaded.row)) return;
  placement::DeviceMap map{{"", 0}};
  const auto offload = [&](const char* list, int64_t count, int64_t of) {
    for (int64_t i = 0; i < of; ++i)
      if ((i + 1) * count / of > i * count / of)
        map.set(fmt::format("{}.{}", list, i), placement::Place::cpu());
  };
  const auto c = flux_config();
  offload("transformer_blocks", offloaded.double_blocks, c.num_layers);
  offload("single_transformer_blocks", offloaded.single_blocks, c.num_single_layers);
  const at::Device gpu(at::kCUDA, 0);
  const auto on_gpu = [map](const std::string& name) { return map.at(name).is_accelerator(); };
  const auto stream = std::make_shared<weights::WeightStream>(
      weights::WeightStream::Options{.device = gpu, .budget = offloaded.budget_bytes});
  const weights::WeightScope scope(bench.random_checkpoint(at::kBFloat16, on_gpu),
                                   {.storage = at::kBFloat16, .arithmetic = at::kBFloat16},
                                   weights::ModelPlacement{.map = map, .device = gpu}, stream);
  const models::FluxTransformer2DModel model(c, scope);
  std::printf("{\"row\": \"%s\", \"gpu_gb_before\": %.2f}\n", offloaded.row,
              static_cast<double>(bench.backend().memory(0).used) / 1e9);
  time_flux(bench, offloaded.row, model, false);
  const auto statistics = stream->statistics();
  std::printf("{\"row\": \"%s\", \"streamed_gb\": %.1f, \"reading_s\": %.2f, \"waiting_s\": %.2f}\n",
              offloaded.row, static_cast<double>(statistics.bytes_read) / 1e9, statistics.seconds_reading,
              statistics.seconds_waiting);
}

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

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--no-graph")
      options.graph = false;
    else if (argument == "--trace-first")
      options.trace_first = true;
    else if (argument == "--only" && i + 1 < argc)
      options.only = argv[++i];
    else if (argument == "--trace" && i + 1 < argc)
      options.trace = argv[++i];
    else {
      std::fprintf(stderr, "usage: %s [--only NAME[,NAME]] [--trace FOLDER] [--trace-first] [--no-graph]\n",
                   argv[0]);
      return 2;
    }
  }
  const bench::SettledAtTheEnd end;
  try {
    const c10::InferenceMode no_autograd;
    Bench bench(options);
    const auto guarded = [](const char* name, const std::function<void()>& work) {
      try {
        work();
      } catch (const std::exception& error) {
        std::printf("{\"row\": \"%s\", \"error\": \"%.600s\"}\n", name, error.what());
      }
      for (auto* backend : tensor::loaded_backends()) backend->empty_cache();
    };
    guarded("unet", [&] { unet(bench); });
    guarded("vae", [&] {
      vae(bench, "vae_512",
          R"({"latent_channels": 4, "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
          "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
          "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]})",
          at::kHalf, {1, 4, 64, 64});
    });
    guarded("flux", [&] { flux(bench); });
    guarded("flux_vae", [&] {
      vae(bench, "flux_vae",
          R"({"latent_channels": 16, "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
          "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
          "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
          "use_quant_conv": false, "use_post_quant_conv": false})",
          at::kBFloat16, {1, 16, 96, 170});
    });
    guarded("t5", [&] { t5(bench); });
    guarded("flux_14gb", [&] { flux_streamed(bench, {"flux_14gb", 8, 20, uint64_t{14'000'000'000}}); });
    guarded("flux_2gib", [&] { flux_streamed(bench, {"flux_2gib", 19, 38, uint64_t{2} << 30}); });
    guarded("passes", [&] { passes(bench); });
    guarded("products", [&] { products(bench); });
    guarded("attention", [&] { attention(bench); });
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error_info(error.kind()).exit_code;
  }
}
