#include "diffract/families/shared/image_prompt.h"

#include "diffract/core/error.h"
#include "diffract/families/shared/safety_check.h"
#include "diffract/loading/image_encoder.h"
#include "diffract/tensor/device_copy.h"

namespace diffract::families {
namespace {

using loading::kImageEncoder;

void require_widths(const models::CLIPVisionConfig& encoder,
                    const std::vector<models::ImageProjectionConfig>& adapters, const std::string& source) {
  for (size_t i = 0; i < adapters.size(); ++i) {
    const bool hidden_states = adapters[i].reads_hidden_states();
    const int64_t width = hidden_states ? encoder.hidden_size : encoder.projection_dim;
    if (width != adapters[i].image_embed_dim)
      throw CheckpointError(
          "{}: \"{}\" is {}, but IP-Adapter {} takes embeddings of width {}. Pass the picture encoder that "
          "it "
          "was trained with: --ip-adapter-image-encoder DIR",
          source, hidden_states ? "hidden_size" : "projection_dim", width, i + 1,
          adapters[i].image_embed_dim);
  }
}

// Those of adapter `i`: each has as many.
std::vector<pipelines::InputPicture> pictures_of(const pipelines::Request& request, size_t i,
                                                 size_t adapters) {
  const size_t each = request.ip_adapter_image.size() / adapters;
  const auto begin = request.ip_adapter_image.begin() + static_cast<ptrdiff_t>(i * each);
  return {begin, begin + static_cast<ptrdiff_t>(each)};
}

}  // namespace

std::shared_ptr<const ImagePrompt> ImagePrompt::load(const loading::ComponentLoader& load,
                                                     const models::UNet2DConditionConfig& unet) {
  if (unet.ip_adapters.empty()) return nullptr;
  load.require_class(kImageEncoder, {models::CLIPVisionModelWithProjection::kClassName});
  const ConfigReader file = load.folder().config(kImageEncoder);
  const auto config = models::CLIPVisionConfig::from_json(file);
  require_widths(config, unet.ip_adapters, file.source());
  const bool has_own = load.folder().has_component("feature_extractor");
  auto processor =
      has_own
          ? load_feature_extractor(load)
          : pipelines::CLIPImageProcessor(pipelines::CLIPImageProcessorConfig::for_side(config.image_size));
  return std::make_shared<const ImagePrompt>(load.model<models::CLIPVisionModelWithProjection>(kImageEncoder),
                                             processor);
}

ImagePrompt::ImagePrompt(std::shared_ptr<const models::CLIPVisionModelWithProjection> encoder,
                         const pipelines::CLIPImageProcessor& processor)
    : encoder_(std::move(encoder)), processor_(processor) {
  processor_.require_side(encoder_->config().image_size, kImageEncoder);
}

void ImagePrompt::check(const pipelines::Request& request, size_t adapters) {
  const size_t pictures = request.ip_adapter_image.size(), scales = request.ip_adapter_scale.size();
  if (adapters == 0 && pictures + scales > 0)
    throw UsageError(
        "ip_adapter_image: this pipeline was loaded without an IP-Adapter; load one with "
        "--ip-adapter FILE");
  if (adapters > 0 && pictures == 0)
    throw UsageError(
        "ip_adapter_image: an IP-Adapter was loaded, which needs a picture; give one with "
        "--ip-adapter-image, or leave --ip-adapter out");
  if (adapters > 0 && pictures % adapters != 0)
    throw UsageError("ip_adapter_image: {} pictures for {} IP-Adapters; give one each, or as many each",
                     pictures, adapters);
  if (scales > 1 && scales != adapters)
    throw UsageError("ip_adapter_scale: {} numbers for {} IP-Adapters; give one for all, or one each", scales,
                     adapters);
  for (const auto& picture : request.ip_adapter_image)
    if (picture.is_latents())
      throw UsageError("ip_adapter_image {}: holds latents; expected a picture", picture.name());
}

Tensor ImagePrompt::embeds_of(const std::vector<pipelines::InputPicture>& pictures, bool hidden_states,
                              pipelines::TextCache& cache, at::Device device) const {
  std::vector<std::string> key = {hidden_states ? "hidden_states" : "image_embeds"};
  for (const auto& picture : pictures) key.push_back(picture.hash());
  const auto encode = [&]() -> pipelines::TextCache::Made {
    std::vector<io::Image> images;
    images.reserve(pictures.size());
    for (const auto& picture : pictures) images.push_back(picture.image());
    const Tensor pixels = tensor::send_to(processor_.preprocess(images), device);
    return {hidden_states ? encoder_->hidden_state(pixels) : encoder_->image_embeds(pixels)};
  };
  return cache.get({.encoder = kImageEncoder, .texts = key}, encode).front();
}

// [1, T, E]: of a picture of zeros, which is not a black one.
Tensor ImagePrompt::states_of_nothing(pipelines::TextCache& cache, at::Device device) const {
  const int64_t side = encoder_->config().image_size;
  const auto encode = [&]() -> pipelines::TextCache::Made {
    return {
        encoder_->hidden_state(at::zeros({1, 3, side, side}, at::TensorOptions(at::kFloat).device(device)))};
  };
  return cache.get({.encoder = kImageEncoder, .texts = {"hidden_states of zeros"}}, encode).front();
}

ImagePrompt::Tokens ImagePrompt::tokens_of(const pipelines::Request& request,
                                           const models::UNet2DConditionModel& unet,
                                           bool do_classifier_free_guidance, pipelines::TextCache& cache,
                                           at::Device device) const {
  const auto& adapters = unet.config().ip_adapters;
  const auto images = static_cast<int64_t>(request.image_count());
  Tokens tokens;
  for (size_t i = 0; i < adapters.size(); ++i) {
    const auto pictures = pictures_of(request, i, adapters.size());
    const bool hidden_states = adapters[i].reads_hidden_states();
    const Tensor embeds = embeds_of(pictures, hidden_states, cache, device);
    Tensor rows = unet.image_tokens(i, embeds).expand({images, -1, -1});
    if (do_classifier_free_guidance) {
      const Tensor nothing =
          hidden_states ? states_of_nothing(cache, device).expand_as(embeds) : at::zeros_like(embeds);
      rows = at::cat({unet.image_tokens(i, nothing).expand({images, -1, -1}), rows});
    }
    tokens.images.push_back(rows.contiguous());
  }
  std::vector<double> scales = request.ip_adapter_scale;
  if (scales.size() < adapters.size()) scales.resize(adapters.size(), scales.empty() ? 1.0 : scales.front());
  tokens.scales = tensor::send_to(at::tensor(scales, at::kFloat), device);
  return tokens;
}

}  // namespace diffract::families
