#pragma once
#include <string>
#include <string_view>

#include "diffract/core/json.h"
#include "diffract/weights/original_names.h"

namespace diffract::models {

/// The module of diffusers' UNet that one of its authors' (CompVis', Stability's) is: "input_blocks.4.0.op"
/// is "down_blocks.0.downsamplers.0.conv". Empty for a name that is none of a block's. `separator`: "." or
/// "_" as trainers of LoRAs write it. `unet`: its config.
std::string unet_block_module(std::string_view module, const ConfigReader& unet, char separator);

/// weights::OriginalNames of the UNet. Source: diffusers single_file_utils.py, convert_ldm_unet_checkpoint.
std::vector<weights::NamedPart> unet_original_names(const std::string& name, const ConfigReader& unet);

}  // namespace diffract::models
