#pragma once
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/io/stored_weight.h"

namespace diffract::weights {

using io::NamedPart;
using io::TensorPart;

/// What a model's tensors are of those that the model's authors published, whose names and layout diffusers
/// and transformers changed: none for one that the model has not. `name`: behind what all of the model's
/// begin with in a file. A name that is not one of theirs comes back as it is. `config`: the model's.
using OriginalNames = std::vector<NamedPart>(const std::string& name, const ConfigReader& config);

}  // namespace diffract::weights
