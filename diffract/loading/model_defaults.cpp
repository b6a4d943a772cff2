#include "diffract/loading/model_defaults.h"

#include "diffract/core/error.h"

namespace diffract::loading {

Defaults model_defaults(const io::ModelFolder& folder, const Defaults& of_pipeline) {
  const auto file = folder.path() / "diffract_defaults.json";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return of_pipeline;
  const ConfigReader config(load_json(file), file.string());
  for (const auto& item : config.json().items())
    if (item.key() != "height" && item.key() != "width" && item.key() != "num_inference_steps" &&
        item.key() != "guidance_scale")
      throw CheckpointError(
          "{}: \"{}\" is not known; expected height, width, num_inference_steps or guidance_scale",
          config.source(), item.key());
  constexpr int64_t kMaxPixels = 16384;
  return {.size = {.height = config.integer("height", 8, kMaxPixels, of_pipeline.size.height),
                   .width = config.integer("width", 8, kMaxPixels, of_pipeline.size.width)},
          .num_inference_steps =
              config.integer("num_inference_steps", 1, 10'000, of_pipeline.num_inference_steps),
          .guidance_scale = config.number("guidance_scale", 0, 1000, of_pipeline.guidance_scale)};
}

}  // namespace diffract::loading
