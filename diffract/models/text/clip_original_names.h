#pragma once
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/weights/original_names.h"

namespace diffract::models {

/// weights::OriginalNames of a text encoder that OpenCLIP trained; `has_projection`: the model has
/// text_projection. Names of transformers come back as they are. Source: diffusers single_file_utils.py,
/// convert_open_clip_checkpoint.
std::vector<weights::NamedPart> clip_original_names(const std::string& name, const ConfigReader& encoder,
                                                    bool has_projection);

}  // namespace diffract::models
