#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "diffract/core/json.h"

namespace diffract::models {

/// The part of a config.json that is about a text model. A file of a whole model, text and pictures, has it
/// as "text_config", or as any object whose "model_type" is `model_type`; else it is the file itself. That is
/// transformers' order. Throws CheckpointError when the part has none of `keys`: it is of another kind of
/// model, and defaults would only hide that.
ConfigReader text_part_of(const ConfigReader& config, std::string_view model_type,
                          const std::vector<const char*>& keys);

}  // namespace diffract::models
