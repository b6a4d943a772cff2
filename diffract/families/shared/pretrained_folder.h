#pragma once
#include <string>

#include "diffract/io/model_folder.h"
#include "diffract/loading/load_options.h"

namespace diffract::families {

/// open_checkpoint(), with this process made ready to load it.
io::ModelFolder pretrained_folder(const std::string& model, const loading::LoadOptions& options);

}  // namespace diffract::families
