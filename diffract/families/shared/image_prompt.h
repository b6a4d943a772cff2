#pragma once
#include <memory>
#include <vector>

#include "diffract/loading/load_component.h"
#include "diffract/models/unet/unet_2d_condition_model.h"
#include "diffract/models/vision/clip_vision_model.h"
#include "diffract/pipelines/clip_image_processor.h"
#include "diffract/pipelines/request.h"
#include "diffract/pipelines/text_cache.h"

namespace diffract::families {

using at::Tensor;

/// Pictures as a part of the prompt: the picture encoder of the IP-Adapters that a UNet was loaded with.
/// Source: prepare_ip_adapter_image_embeds of diffusers' pipeline_stable_diffusion.py.
class ImagePrompt {
 public:
  /// Null without IP-Adapters. Throws CheckpointError where the picture encoder does not go with one of them,
  /// before its weights are read.
  static std::shared_ptr<const ImagePrompt> load(const loading::ComponentLoader& load,
                                                 const models::UNet2DConditionConfig& unet);
  ImagePrompt(std::shared_ptr<const models::CLIPVisionModelWithProjection> encoder,
              const pipelines::CLIPImageProcessor& processor);

  /// Throws UsageError where a request's pictures and scales do not go with so many IP-Adapters.
  static void check(const pipelines::Request& request, size_t adapters);

  /// What the UNet takes of them; none for a UNet without IP-Adapters.
  struct Tokens {
    std::vector<Tensor> images;  // of each IP-Adapter, a row an image; with guidance the negative half first
    Tensor scales;               // [IP-Adapters]
  };
  /// The tokens of a checked request.
  Tokens tokens_of(const pipelines::Request& request, const models::UNet2DConditionModel& unet,
                   bool do_classifier_free_guidance, pipelines::TextCache& cache, at::Device device) const;

 private:
  Tensor embeds_of(const std::vector<pipelines::InputPicture>& pictures, bool hidden_states,
                   pipelines::TextCache& cache, at::Device device) const;
  Tensor states_of_nothing(pipelines::TextCache& cache, at::Device device) const;

  std::shared_ptr<const models::CLIPVisionModelWithProjection> encoder_;
  pipelines::CLIPImageProcessor processor_;
};

}  // namespace diffract::families
