#pragma once
#include <vector>

#include "diffract/models/vision/clip_vision_model.h"

namespace diffract::models {

struct SafetyCheckerConfig {
  CLIPVisionConfig vision_config;
  int64_t projection_dim = 512;
  static SafetyCheckerConfig from_json(const ConfigReader& config);  // CheckpointError names the bad key
};

/// Tells pictures that show what the checkpoint's makers did not want shown. Source: diffusers
/// pipelines/stable_diffusion/safety_checker.py.
class StableDiffusionSafetyChecker {
 public:
  static constexpr const char* kClassName = "StableDiffusionSafetyChecker";
  using Config = SafetyCheckerConfig;

  StableDiffusionSafetyChecker(const SafetyCheckerConfig& config, const WeightScope& weights);

  /// How near pictures are to the concepts: cosines, float32.
  struct Scores {
    Tensor special_care;  // [B, 3]
    Tensor concepts;      // [B, 17]
  };
  /// `pixels` as CLIPVisionModel takes them. Throws UsageError for another shape.
  Scores scores(const Tensor& pixels) const;
  /// Which of the pictures to hold back.
  std::vector<bool> has_nsfw_concepts(const Tensor& pixels) const;

  const CLIPVisionConfig& config() const { return vision_model_.config(); }

 private:
  at::Device device_;
  CLIPVisionModel vision_model_;
  nn::Placed<nn::Linear> visual_projection_;
  Tensor concept_embeds_, special_care_embeds_;                  // [17, projection_dim], [3, projection_dim]
  Tensor concept_embeds_weights_, special_care_embeds_weights_;  // [17], [3]: the thresholds
};

}  // namespace diffract::models
