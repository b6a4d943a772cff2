#pragma once
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/weights/original_names.h"

namespace diffract::models {

/// weights::OriginalNames of the VAE of Stable Diffusion. Source: diffusers single_file_utils.py,
/// convert_ldm_vae_checkpoint.
std::vector<weights::NamedPart> vae_original_names(const std::string& name, const ConfigReader& vae);

}  // namespace diffract::models
