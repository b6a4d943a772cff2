#pragma once
#include <vector>

#include "diffract/pipelines/task_inputs.h"

namespace diffract::pipelines {

/// The control pictures of prompt `p` of a request, one for each of `nets` ControlNets. Throws UsageError
/// where there are neither one for each nor one for each of every prompt.
std::vector<InputPicture> control_pictures_of(const Request& request, size_t p, size_t nets);

/// The pictures that one ControlNet follows, as its first layer takes them. P different ones.
struct ControlPictures {
  at::Tensor pixels;              // [P, 3, H, W] in [0, 1]
  std::vector<int64_t> of_image;  // which of the P an image takes
};

/// Those of each of `nets` ControlNets, stretched to the size that is computed; where a part of the picture
/// is drawn in full size, that part of them. None where the request's class has none. Throws UsageError for
/// another number of pictures, and for pictures that are not of the size that they must be.
std::vector<ControlPictures> read_control_pictures(const Request& request, const TaskInputs& inputs,
                                                   const loading::ImageSize& size, size_t nets);

/// How much one ControlNet acts over a walk.
struct ControlStrength {
  double scale = 1, start = 0, end = 1;  // start and end: shares of the walk

  /// In evaluation `i` of `count`: the scale or 0. Source: diffusers pipeline_controlnet.py, controlnet_keep.
  double at(size_t i, size_t count) const {
    const auto all = static_cast<double>(count);
    return static_cast<double>(i) / all < start || static_cast<double>(i + 1) / all > end ? 0 : scale;
  }
};
/// Of each of `nets` ControlNets. Throws UsageError for another number of them, and for one that would end
/// before it starts.
std::vector<ControlStrength> control_strengths(const Request& request, const loading::TaskClass& task,
                                               size_t nets);

}  // namespace diffract::pipelines
