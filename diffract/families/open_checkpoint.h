#pragma once
#include <string>

#include "diffract/io/model_folder.h"
#include "diffract/loading/find_model.h"
#include "diffract/loading/load_options.h"

namespace diffract::families {

/// The checkpoint of a pipeline that a user means: a built-in model, a folder, ORG/NAME[@REV], or a single
/// file beside a folder of configs, with the options' components in place of its own. Throws CheckpointError
/// when it is damaged, missing or of a class that diffract has no pipeline for, UsageError.
io::ModelFolder open_checkpoint(const std::string& model, const loading::LoadOptions& options,
                                loading::ModelUse use = loading::ModelUse::part);

}  // namespace diffract::families
