#include "diffract/models/forward_cost.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <mutex>
#include <unordered_map>

#include "diffract/models/flux/flux_transformer_2d_model.h"
#include "diffract/models/text/clip_text_model.h"
#include "diffract/models/text/t5_encoder_model.h"
#include "diffract/models/unet/unet_2d_condition_model.h"
#include "diffract/models/vae/autoencoder_kl.h"
#include "diffract/weights/checkpoint.h"
#include "tests/support/temp_folder.h"

// What forward_cost computes without running a model, beside what libtorch's CPU allocator gives out when the
// model is run.
namespace diffract::models {
namespace {

class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    c10::DataPtr block = c10::GetDefaultCPUAllocator()->allocate(bytes);
    void* data = block.release_context();
    const std::lock_guard lock(mutex_);
    sizes_[data] = bytes;
    live_ += static_cast<int64_t>(bytes);
    peak_ = std::max(peak_, live_);
    return {data, data, &CountingAllocator::give_back, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &CountingAllocator::give_back; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

  // Bytes above what was live before, at most.
  template <typename Compute>
  int64_t peak_of(const Compute& compute) {
    const int64_t before = live_;
    peak_ = live_;
    compute();
    return peak_ - before;
  }

  static CountingAllocator& installed() {
    static auto* allocator = [] {
      auto* made = new CountingAllocator();
      c10::SetAllocator(c10::DeviceType::CPU, made, /*priority=*/100);
      return made;
    }();
    return *allocator;
  }

 private:
  static void give_back(void* data) {
    auto& self = installed();
    {
      const std::lock_guard lock(self.mutex_);
      self.live_ -= static_cast<int64_t>(self.sizes_[data]);
      self.sizes_.erase(data);
    }
    c10::GetDefaultCPUAllocator()->raw_deleter()(data);
  }

  std::mutex mutex_;
  std::unordered_map<void*, size_t> sizes_;
  int64_t live_ = 0, peak_ = 0;
};

ConfigReader config_of(const std::string& folder) {
  const auto path = test::data(folder + "/config.json");
  return {load_json(path), path.string()};
}

template <typename Model, typename Config>
std::shared_ptr<const Model> load(const std::string& folder, const std::string& file) {
  const WeightScope weights(
      weights::Checkpoint::open({.files = {test::data(folder + "/" + file)}, .description = folder}),
      {.arithmetic = at::kFloat});
  return std::make_shared<const Model>(Config::from_json(config_of(folder)), weights);
}

const std::string kSd = "reference/checkpoints/sd15/", kSdxl = "reference/checkpoints/sdxl/",
                  kFlux = "reference/checkpoints/flux-dev/";
const std::string kDiffusersFile = "diffusion_pytorch_model.safetensors",
                  kTransformersFile = "model.safetensors";
constexpr ForwardShape kShape{.batch = 2, .height = 128, .width = 128, .text_tokens = 77};

// Above: what the estimate takes for granted and a kernel can do without: up to 1.1 where oneDNN computes
// with AVX-512, whose convolutions copy what they read and write into a layout of their own; 1.20 (the VAE's)
// with AVX2, which leaves one of the copies out. Below: what kernels take for themselves, which an estimate
// leaves out.
void expect_near(const std::string& folder, const std::function<void()>& run, int64_t host_tables = 0) {
  const c10::InferenceMode no_autograd;
  auto& allocator = CountingAllocator::installed();
  run();  // what is made once and kept is not counted
  const auto measured = static_cast<double>(allocator.peak_of(run) - host_tables);
  const auto estimated =
      static_cast<double>(forward_cost(config_of(folder), kShape, {.arithmetic = at::kFloat}).peak_bytes);
  EXPECT_GT(estimated, 0.97 * measured) << measured;
  EXPECT_LT(estimated, 1.25 * measured) << measured;
}

TEST(ForwardCost, PeakOfAUNetIsMeasured) {
  const std::string folder = kSd + "unet";
  const auto unet = load<UNet2DConditionModel, UNet2DConditionConfig>(folder, kDiffusersFile);
  expect_near(folder, [&] {
    (*unet)(at::randn({2, 4, 16, 16}), 500.0, at::randn({2, 77, unet->config().cross_attention_dim.front()}));
  });
}

TEST(ForwardCost, PeakOfAVaeIsMeasured) {
  const std::string folder = kSd + "vae";
  const auto vae = load<AutoencoderKL, AutoencoderKLConfig>(folder, kDiffusersFile);
  const int64_t size = 128 / vae->config().scale_factor();
  expect_near(folder, [&] { vae->decode(at::randn({2, vae->config().latent_channels, size, size})); });
}

TEST(ForwardCost, PeakOfClipIsMeasured) {
  const std::string folder = kSd + "text_encoder";
  const auto clip = load<CLIPTextModel, CLIPTextConfig>(folder, kTransformersFile);
  expect_near(folder, [&] { (*clip)(at::zeros({2, 77}, at::kLong)); });
}

TEST(ForwardCost, PeakOfClipWithProjectionIsMeasured) {
  const std::string folder = kSdxl + "text_encoder_2";
  const auto clip = load<CLIPTextModelWithProjection, CLIPTextConfig>(folder, kTransformersFile);
  expect_near(folder, [&] { (*clip)(at::zeros({2, 77}, at::kLong)); });
}

TEST(ForwardCost, PeakOfAnXlUNetIsMeasured) {
  const std::string folder = kSdxl + "unet";
  const auto unet = load<UNet2DConditionModel, UNet2DConditionConfig>(folder, kDiffusersFile);
  const auto& c = unet->config();
  expect_near(folder, [&] {
    (*unet)(at::randn({2, 4, 16, 16}), 500.0, at::randn({2, 77, c.cross_attention_dim.front()}),
            {.added = at::randn({2, c.time_embed_dim()})});
  });
}

TEST(ForwardCost, PeakOfT5IsMeasured) {
  const std::string folder = kFlux + "text_encoder_2";
  const auto t5 = load<T5EncoderModel, T5Config>(folder, kTransformersFile);
  // Two tables of the distances of tokens, int64, always of the host.
  expect_near(
      folder,
      [&] {
        (*t5)(at::zeros({2, 77}, at::kLong));
      },
      2 * 77 * 77 * 8);
}

TEST(ForwardCost, PeakOfFluxIsMeasured) {
  const std::string folder = kFlux + "transformer";
  const auto flux = load<FluxTransformer2DModel, FluxTransformer2DConfig>(folder, kDiffusersFile);
  const auto& c = flux->config();
  expect_near(folder, [&] {
    (*flux)(at::randn({2, 64, c.in_channels}), at::ones({2}),
            {.prompt_embeds = at::randn({2, 77, c.joint_attention_dim}),
             .pooled_prompt_embeds = at::randn({2, c.pooled_projection_dim}),
             .rope = at::randn({77 + 64, c.attention_head_dim / 2, 2}),
             .guidance = at::ones({2})});
  });
}

ConfigReader full_size(const std::string& name) {
  const auto path = test::data("placement/configs/" + name + ".json");
  return {load_json(path), path.string()};
}

// In a walk what the other steps take from their time is there, too.
TEST(ForwardCost, PeakOfAWalkIsMoreThanAStepAlone) {
  const auto config = full_size("flux-dev-transformer");
  const auto cost = [&](int64_t steps) {
    return forward_cost(config, {.height = 512, .width = 512, .text_tokens = 512, .steps = steps},
                        {.storage = at::kBFloat16, .arithmetic = at::kBFloat16});
  };
  const Cost one = cost(1), four = cost(4), many = cost(500);
  constexpr int64_t kStep = 2 * 3072 * (1 + 19 * 12 + 38 * 3);
  EXPECT_EQ(four.peak_bytes - one.peak_bytes, 3 * kStep);
  EXPECT_EQ(many.peak_bytes - one.peak_bytes, FluxModulations::kMostBytes / kStep * kStep - kStep);
  EXPECT_EQ(four.flops, one.flops);
}

TEST(ForwardCost, KnowsHowLongAStepTakes) {
  // A token meets 12 matrices of 3072x3072 in each of 57 blocks, and attention over 4,096 + 512 tokens.
  const double tokens = 4096 + 512, blocks = 57.0 * 12 * 3072 * 3072;
  const double attention = 57 * 4 * tokens * tokens * 24 * 128;
  const Cost flux =
      forward_cost(full_size("flux-dev-transformer"), {.height = 1024, .width = 1024, .text_tokens = 512},
                   {.arithmetic = at::kFloat});
  EXPECT_NEAR(flux.flops / (2 * blocks * tokens + attention), 1.0, 0.03);
  // Twice the images, twice the work.
  const ForwardShape one{.batch = 1}, two{.batch = 2};
  const auto unet = full_size("sd15-unet");
  EXPECT_NEAR(forward_cost(unet, two, {}).flops / forward_cost(unet, one, {}).flops, 2.0, 1e-3);
}

TEST(ForwardCost, PlansStableDiffusionXlToo) {
  EXPECT_GT(forward_cost(full_size("sdxl-unet"), {.height = 1024, .width = 1024}, {}).flops, 5e12);
}

TEST(ForwardCost, AStoredTypeNeedsABufferForTheWidestWeight) {
  const auto config = full_size("clip-l-text");
  const auto plain = forward_cost(config, {}, {.storage = at::kFloat, .arithmetic = at::kFloat});
  const auto widened = forward_cost(config, {}, {.storage = at::kBFloat16, .arithmetic = at::kFloat});
  EXPECT_EQ(widened.peak_bytes - plain.peak_bytes, int64_t{49408} * 768 * 4);
}

}  // namespace
}  // namespace diffract::models
