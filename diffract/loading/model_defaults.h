#pragma once
#include "diffract/io/model_folder.h"
#include "diffract/loading/load_options.h"

namespace diffract::loading {

/// The defaults of a pipeline, replaced where the model's folder has a diffract_defaults.json with "height",
/// "width", "num_inference_steps" or "guidance_scale": what a model was trained for, which diffusers' layout
/// has no place for. Throws CheckpointError naming the file and the key.
Defaults model_defaults(const io::ModelFolder& folder, const Defaults& of_pipeline);

}  // namespace diffract::loading
