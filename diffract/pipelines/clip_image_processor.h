#pragma once
#include <ATen/ATen.h>

#include <array>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/io/image.h"
#include "diffract/io/resample.h"
#include "diffract/loading/load_options.h"

namespace diffract::pipelines {

/// Fields are the keys of preprocessor_config.json.
struct CLIPImageProcessorConfig {
  bool do_resize = true, do_center_crop = true, do_rescale = true, do_normalize = true;
  std::optional<int64_t> shortest_edge = 224;  // "size": the shorter side's pixels
  loading::ImageSize size = {};                // the other form of "size", where shortest_edge is unset
  loading::ImageSize crop_size = {.height = 224, .width = 224};
  io::Filter resample = io::Filter::bicubic;
  double rescale_factor = 1.0 / 255;
  std::array<double, 3> image_mean = {0.48145466, 0.4578275, 0.40821073};  // of red, green, blue
  std::array<double, 3> image_std = {0.26862954, 0.26130258, 0.27577711};

  static CLIPImageProcessorConfig from_json(const ConfigReader& config);  // CheckpointError names the bad key
  /// What diffusers takes for a model of `side` x `side` pixels where there is no config.
  static CLIPImageProcessorConfig for_side(int64_t side);
};

/// Pictures to what CLIP's picture encoder takes. Source: transformers image_processing_pil_clip.py.
class CLIPImageProcessor {
 public:
  explicit CLIPImageProcessor(CLIPImageProcessorConfig config = {}) : config_(config) {}

  /// 8-bit RGB pictures to float32 [B, 3, H, W], H and W as the config crops them. Throws UsageError for
  /// pictures that would grow beyond what a picture may have, or would differ in size.
  at::Tensor preprocess(const std::vector<io::Image>& images) const;
  /// Throws CheckpointError where the pictures would not have the `side` x `side` pixels that `component`
  /// takes.
  void require_side(int64_t side, const char* component) const;

 private:
  io::Image fitted(const io::Image& image) const;

  CLIPImageProcessorConfig config_;
};

}  // namespace diffract::pipelines
