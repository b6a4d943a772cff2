#include "diffract/pipelines/task_inputs.h"

#include <algorithm>
#include <map>

#include "diffract/core/error.h"
#include "diffract/io/picture.h"
#include "diffract/pipelines/denoise.h"
#include "diffract/pipelines/image_processor.h"
#include "diffract/pipelines/picture_fit.h"
#include "diffract/pipelines/request_checks.h"
#include "diffract/pipelines/task_class.h"

namespace diffract::pipelines {
namespace {

using loading::TaskKind;

// Reads pictures one after the other; what many images share is read and fitted once.
class Reader {
 public:
  Reader(const Request& request, const loading::ImageSize& size, TaskInputs& inputs)
      : request_(request), size_(size), inputs_(inputs) {}

  void add(size_t i) {
    const InputPicture picture = picture_of(request_.image, request_, i).for_image(i);
    const bool has_mask = inputs_.task.kind == TaskKind::inpainting;
    const InputPicture* mask = has_mask ? &picture_of(request_.mask_image, request_, i) : nullptr;
    const std::string key = picture.hash() + (mask ? " " + mask->hash() : "");
    const auto [found, is_new] = known_.emplace(key, static_cast<int64_t>(known_.size()));
    inputs_.of_image.push_back(found->second);
    if (!is_new) return;
    if (picture.is_latents() != request_.image.front().is_latents())
      throw UsageError("image: pictures and latents in one call; give either");
    if (picture.is_latents())
      latents_.push_back(picture.latents());
    else
      read(picture, mask);
  }

  void finish() {
    for (const at::Tensor& one : latents_)
      if (one.sizes() != latents_.front().sizes())
        throw UsageError("image: latents of shapes {} and {} in one call; give latents of one shape",
                         c10::str(latents_.front().sizes()), c10::str(one.sizes()));
    if (!latents_.empty()) inputs_.latents = at::cat(latents_);
    if (!pictures_.empty()) inputs_.pixels = VaeImageProcessor(1).preprocess(pictures_);
    if (!masks_.empty()) inputs_.mask = VaeImageProcessor(1).preprocess_mask(masks_);
  }

 private:
  void read(const InputPicture& picture, const InputPicture* mask_picture) {
    io::Image image = picture.image();
    if (!mask_picture) {
      pictures_.push_back(stretched(image, size_));
      return;
    }
    io::Image mask = mask_picture->image();
    if (!request_.padding_mask_crop) {
      pictures_.push_back(stretched(image, size_));
      masks_.push_back(stretched(mask, size_));
      return;
    }
    const io::Region region = region_of_mask(mask, size_, *request_.padding_mask_crop);
    // What is drawn is scaled to cover the region, when it is put back.
    const int64_t side = std::max(region.width(), region.height());
    io::check_picture_size(static_cast<uint64_t>(side), static_cast<uint64_t>(side), "padding_mask_crop");
    pictures_.push_back(fitted_with_border(cropped(image, region), size_));
    masks_.push_back(fitted_with_border(cropped(mask, region), size_));
    inputs_.wholes.push_back({.picture = std::move(image), .mask = std::move(mask), .region = region});
  }

  const Request& request_;
  loading::ImageSize size_;
  TaskInputs& inputs_;
  std::map<std::string, int64_t> known_;
  std::vector<io::Image> pictures_, masks_;
  std::vector<at::Tensor> latents_;
};

}  // namespace

std::vector<io::Image> TaskInputs::finished(std::vector<io::Image> images) const {
  if (wholes.empty()) return images;
  for (size_t i = 0; i < images.size(); ++i) {
    const Whole& whole = wholes[static_cast<size_t>(of_image[i])];
    images[i] = overlaid(whole.picture, whole.mask, images[i], whole.region);
  }
  return images;
}

TaskInputs read_task_inputs(const Request& request, const loading::FamilyFacts& facts,
                            const loading::ImageSize& size) {
  TaskInputs inputs;
  inputs.task = task_class_of(request, facts);
  inputs.strength = request.strength.value_or(inputs.task.strength);
  inputs.denoising_start = request.denoising_start;
  const bool starts_late = divides_walk(request.denoising_start);
  warn_of_no_effect(starts_late && request.strength, "strength", "denoising_start says where to begin");
  if (starts_late && divides_walk(request.denoising_end) &&
      *request.denoising_start >= *request.denoising_end)
    throw UsageError("denoising_start {}: expected less than denoising_end {}", *request.denoising_start,
                     *request.denoising_end);
  if (inputs.task.kind == TaskKind::text_to_image) return inputs;
  Reader reader(request, size, inputs);
  for (size_t i = 0; i < request.image_count(); ++i) reader.add(i);
  reader.finish();
  return inputs;
}

}  // namespace diffract::pipelines
