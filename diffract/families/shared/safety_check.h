#pragma once
#include <memory>
#include <vector>

#include "diffract/loading/load_component.h"
#include "diffract/models/vision/safety_checker.h"
#include "diffract/pipelines/clip_image_processor.h"

namespace diffract::families {

/// A checkpoint's image processor, as its "feature_extractor" component says. Throws CheckpointError for
/// another class and damaged files.
pipelines::CLIPImageProcessor load_feature_extractor(const loading::ComponentLoader& load);

/// A checkpoint's safety checker with its picture processor.
class SafetyCheck {
 public:
  /// Null where the checkpoint has none, or the options leave it out. Throws CheckpointError, which says how
  /// to leave it out.
  static std::shared_ptr<const SafetyCheck> load(const loading::ComponentLoader& load);
  SafetyCheck(std::shared_ptr<const models::StableDiffusionSafetyChecker> model,
              const pipelines::CLIPImageProcessor& processor);

  /// Makes those of the finished pictures black that the checker holds back, and says which; warns of them.
  /// Source: run_safety_checker of diffusers' pipeline_stable_diffusion.py.
  std::vector<bool> hold_back(std::vector<io::Image>& images, at::Device device) const;

 private:
  std::shared_ptr<const models::StableDiffusionSafetyChecker> model_;
  pipelines::CLIPImageProcessor processor_;
};

}  // namespace diffract::families
