#pragma once
#include <string_view>
#include <vector>

#include "diffract/core/json.h"

namespace diffract::models {

/// Which part of a whole model's config.json a model is: {"text_config", "clip_text_model", "text"}.
struct ConfigPart {
  const char* key;
  std::string_view model_type, what;
};

/// The part of a config.json that is about one of a whole model's two sides, texts or pictures. A file of the
/// whole has it under `key`, or as any object whose "model_type" is the part's; else it is the file itself.
/// That is transformers' order. Throws CheckpointError when the part has none of `keys`: it is of another
/// kind of model, and defaults would only hide that.
ConfigReader config_part(const ConfigReader& config, const ConfigPart& part,
                         const std::vector<const char*>& keys);

}  // namespace diffract::models
