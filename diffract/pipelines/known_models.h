#pragma once
#include <string>
#include <string_view>

#include "diffract/io/model_folder.h"

namespace diffract::pipelines {

/// The pipeline that a checkpoint of a class of model_index.json is run as: "StableDiffusionPipeline" also
/// for one that was saved from image to image. Empty for a class that diffract does not run.
std::string_view runs_as(std::string_view class_name);

/// Throws CheckpointError naming the class where diffract does not run the folder's.
void require_known_class(const io::ModelFolder& folder);

/// The class of a well-known repository on the hub, e.g. of "stabilityai/sdxl-turbo"; empty for another one.
std::string_view class_of_repository(const std::string& repository);

}  // namespace diffract::pipelines
