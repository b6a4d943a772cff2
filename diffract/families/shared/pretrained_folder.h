#pragma once
#include <string>

#include "diffract/io/model_folder.h"

namespace diffract::families {

/// The folder of a pipeline that is named as in DiffusionPipeline::from_pretrained, with this process made
/// ready to load it. Throws CheckpointError.
io::ModelFolder pretrained_folder(const std::string& model);

}  // namespace diffract::families
