#include "diffract/families/shared/safety_check.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/core/trace.h"
#include "diffract/tensor/device_copy.h"

namespace diffract::families {
namespace {

constexpr const char *kChecker = "safety_checker", *kProcessor = "feature_extractor";

}  // namespace

pipelines::CLIPImageProcessor load_feature_extractor(const loading::ComponentLoader& load) {
  load.require_class(kProcessor, {"CLIPImageProcessor", "CLIPFeatureExtractor", "CLIPImageProcessorFast",
                                  "CLIPImageProcessorPil"});
  const auto file = load.folder().component_folder(kProcessor) / "preprocessor_config.json";
  return pipelines::CLIPImageProcessor(
      pipelines::CLIPImageProcessorConfig::from_json({load_json(file), file.string()}));
}

std::shared_ptr<const SafetyCheck> SafetyCheck::load(const loading::ComponentLoader& load) {
  if (!load.runs(kChecker)) return nullptr;
  try {
    auto processor = load_feature_extractor(load);
    return std::make_shared<const SafetyCheck>(load.model<models::StableDiffusionSafetyChecker>(kChecker),
                                               processor);
  } catch (const CheckpointError& error) {
    throw CheckpointError(
        "{}. This checkpoint looks at its pictures with a {}; --no-safety-checker leaves it out",
        error.what(), kChecker);
  }
}

SafetyCheck::SafetyCheck(std::shared_ptr<const models::StableDiffusionSafetyChecker> model,
                         const pipelines::CLIPImageProcessor& processor)
    : model_(std::move(model)), processor_(processor) {
  processor_.require_side(model_->config().image_size, kChecker);
}

std::vector<bool> SafetyCheck::hold_back(std::vector<io::Image>& images, at::Device device) const {
  const trace::Span span("compute", "look at pictures");
  std::vector<bool> flagged =
      model_->has_nsfw_concepts(tensor::send_to(processor_.preprocess(images), device));
  size_t count = 0;
  for (size_t i = 0; i < images.size(); ++i) {
    if (!flagged[i]) continue;
    ++count;
    std::fill(images[i].pixels.begin(), images[i].pixels.end(), uint8_t{0});
  }
  if (count > 0)
    log::warning(
        "the safety checker holds {} of {} pictures back: a black one stands for each. Another seed or "
        "prompt may help",
        count, images.size());
  return flagged;
}

}  // namespace diffract::families
