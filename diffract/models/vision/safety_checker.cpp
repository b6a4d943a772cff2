#include "diffract/models/vision/safety_checker.h"

#include <cmath>

namespace diffract::models {
namespace {

constexpr int64_t kConcepts = 17, kSpecialCare = 3;

// [B, n] of [B, D] and [n, D].
Tensor cosines(const Tensor& images, const Tensor& concepts) {
  constexpr double kLeast = 1e-12;
  const auto unit = [](const Tensor& x) { return x / x.norm(2, {1}, true).clamp_min(kLeast); };
  return at::mm(unit(images), unit(nn::beside(images, concepts)).t());
}

// Above its threshold when it is rounded to three places, half to even, in float32 as numpy does it.
bool is_above(float score, float threshold, float adjustment) {
  constexpr float kPlaces = 1000;
  return std::nearbyint((score - threshold + adjustment) * kPlaces) > 0;
}

}  // namespace

SafetyCheckerConfig SafetyCheckerConfig::from_json(const ConfigReader& config) {
  SafetyCheckerConfig c;
  c.vision_config = CLIPVisionConfig::from_json(config);
  c.projection_dim = config.integer("projection_dim", 1, 1 << 16, c.projection_dim);
  return c;
}

StableDiffusionSafetyChecker::StableDiffusionSafetyChecker(const SafetyCheckerConfig& c, const WeightScope& w)
    : device_(w.device()),
      vision_model_(c.vision_config, w / "vision_model"),
      visual_projection_(w / "visual_projection", c.vision_config.hidden_size, c.projection_dim,
                         nn::Bias::no),
      concept_embeds_(w.tensor("concept_embeds", {kConcepts, c.projection_dim})),
      special_care_embeds_(w.tensor("special_care_embeds", {kSpecialCare, c.projection_dim})),
      concept_embeds_weights_(w.tensor("concept_embeds_weights", {kConcepts})),
      special_care_embeds_weights_(w.tensor("special_care_embeds_weights", {kSpecialCare})) {}

StableDiffusionSafetyChecker::Scores StableDiffusionSafetyChecker::scores(const Tensor& pixels) const {
  const Tensor embeds = nn::to_device(visual_projection_(vision_model_.pooled(pixels)), device_);
  return {.special_care = cosines(embeds, special_care_embeds_).to(at::kFloat),
          .concepts = cosines(embeds, concept_embeds_).to(at::kFloat)};
}

std::vector<bool> StableDiffusionSafetyChecker::has_nsfw_concepts(const Tensor& pixels) const {
  constexpr float kMoreCare = 0.01F;  // what a picture that needs special care has added to its other scores
  const auto on_host = [](const Tensor& x) { return x.to(at::kCPU, at::kFloat).contiguous(); };
  const auto [special_care, concepts] = scores(pixels);
  const Tensor special = on_host(special_care), other = on_host(concepts),
               special_thresholds = on_host(special_care_embeds_weights_),
               thresholds = on_host(concept_embeds_weights_);
  const auto *of_special = special_thresholds.const_data_ptr<float>(),
             *of_other = thresholds.const_data_ptr<float>();
  std::vector<bool> flagged;
  for (int64_t i = 0; i < special.size(0); ++i) {
    float adjustment = 0;
    const float* score = special.const_data_ptr<float>() + i * kSpecialCare;
    for (int64_t c = 0; c < kSpecialCare; ++c)
      if (is_above(score[c], of_special[c], adjustment)) adjustment = kMoreCare;
    score = other.const_data_ptr<float>() + i * kConcepts;
    bool is_flagged = false;
    for (int64_t c = 0; c < kConcepts; ++c)
      is_flagged = is_flagged || is_above(score[c], of_other[c], adjustment);
    flagged.push_back(is_flagged);
  }
  return flagged;
}

}  // namespace diffract::models
