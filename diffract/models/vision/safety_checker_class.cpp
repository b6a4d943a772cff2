#include "diffract/models/model_class.h"
#include "diffract/models/shared/on_meta.h"
#include "diffract/models/shared/position_ids.h"
#include "diffract/models/vision/safety_checker.h"

namespace diffract::models {
namespace {

using weights::WeightScope;

// The rows of its picture encoder stand with those of CLIPVisionModelWithProjection.
constexpr ModuleRow kModules[] = {
    {"StableDiffusionSafetyChecker", "vision_model=CLIPVisionModel visual_projection=Linear"}};
constexpr const char* kWhole[] = {"CLIPEncoderLayer", "CLIPVisionEmbeddings"};

Forward forward(const ConfigReader& config, const WeightScope& w, const ForwardShape& shape) {
  const auto model =
      std::make_shared<StableDiffusionSafetyChecker>(SafetyCheckerConfig::from_json(config), w);
  const int64_t side = model->config().image_size;
  return {[=] { model->scores(on_meta({shape.batch, 3, side, side})); }};
}

void complete(placement::ModuleTree& tree, const ConfigReader& config) {
  add_position_ids(tree.root, CLIPVisionConfig::from_json(config).tokens());
}

}  // namespace

extern const ModelClass kStableDiffusionSafetyCheckerClass;
const ModelClass kStableDiffusionSafetyCheckerClass = {.name = StableDiffusionSafetyChecker::kClassName,
                                                       .type = &typeid(StableDiffusionSafetyChecker),
                                                       .role = Role::checker,
                                                       .no_split_modules = kWhole,
                                                       .modules = kModules,
                                                       .build = build<StableDiffusionSafetyChecker>,
                                                       .forward = forward,
                                                       .complete = complete};

}  // namespace diffract::models
