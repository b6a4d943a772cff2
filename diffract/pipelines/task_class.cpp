#include "diffract/pipelines/task_class.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/pipelines/request_checks.h"

namespace diffract::pipelines {
namespace {

using loading::TaskClass, loading::TaskKind;

TaskKind kind_of(const Request& request) {
  if (!request.mask_image.empty()) return TaskKind::inpainting;
  return request.image.empty() ? TaskKind::text_to_image : TaskKind::image_to_image;
}

void require_pictures(const std::vector<InputPicture>& pictures, const TaskClass& task) {
  for (const InputPicture& picture : pictures)
    if (picture.is_latents())
      throw UsageError("{}: holds latents; {} takes pictures", picture.name(), task.class_name);
}

// The pictures whose size a task's images have, where none is given.
const std::vector<InputPicture>& sizing_pictures(const Request& request, TaskKind kind, bool is_controlled) {
  return is_controlled && kind == TaskKind::text_to_image ? request.control_image : request.image;
}

loading::ImageSize size_in_pixels(const InputPicture& picture, int64_t vae_scale_factor) {
  const int64_t scale = picture.is_latents() ? vae_scale_factor : 1;
  const auto whole = [&](int64_t pixels) { return pixels * scale / vae_scale_factor * vae_scale_factor; };
  const loading::ImageSize size{.height = whole(picture.height()), .width = whole(picture.width())};
  if (size.height < vae_scale_factor || size.width < vae_scale_factor || size.height > kMostPixels ||
      size.width > kMostPixels)
    throw UsageError(
        "image {}: has {}x{} pixels; this model draws in a picture's own size, from {} to {} each way. Make "
        "it another size first",
        picture.name(), picture.width() * scale, picture.height() * scale, vae_scale_factor, kMostPixels);
  return size;
}

}  // namespace

std::optional<TaskClass> find_task_class(const Request& request, const loading::FamilyFacts& facts) {
  if (!request.pipeline.empty()) return facts.task_class(request.pipeline);
  for (const TaskClass& one : facts.tasks)
    if (one.kind == kind_of(request) && one.is_controlled == !request.control_image.empty()) return one;
  return facts.text_to_image();
}

TaskClass task_class_of(const Request& request, const loading::FamilyFacts& facts) {
  if (const auto found = find_task_class(request, facts)) return *found;
  std::string names(facts.class_name);
  for (const TaskClass& one : facts.tasks) names += fmt::format(", {}", one.class_name);
  throw UsageError("pipeline {}: this model has no such class; it has {}", request.pipeline, names);
}

void check_pictures(const Request& request, const TaskClass& task) {
  if (task.is_controlled) {
    if (request.control_image.empty())
      throw UsageError("control_image: {} follows a picture; give one with --control-image", task.class_name);
    require_pictures(request.control_image, task);
  }
  if (task.kind == TaskKind::text_to_image) return;
  if (request.image.empty())
    throw UsageError("image: {} begins with a picture; give one with --image", task.class_name);
  if (task.kind != TaskKind::inpainting) return;
  if (request.mask_image.empty())
    throw UsageError("mask_image: {} needs a mask, white where it paints; give one with --mask-image",
                     task.class_name);
  for (const auto* pictures : {&request.image, &request.mask_image}) require_pictures(*pictures, task);
  if (!request.padding_mask_crop) return;
  if (request.output_type == OutputType::latent)
    throw UsageError(
        "padding_mask_crop: puts what is drawn into the picture; with output_type latent there is none");
  for (size_t i = 0; i < request.image_count(); ++i) {
    const InputPicture &picture = picture_of(request.image, request, i),
                       &mask = picture_of(request.mask_image, request, i);
    if (picture.width() != mask.width() || picture.height() != mask.height())
      throw UsageError(
          "mask_image {}: has {}x{} pixels and its picture {}x{}; padding_mask_crop takes masks of the "
          "picture's size",
          mask.name(), mask.width(), mask.height(), picture.width(), picture.height());
  }
}

loading::ImageSize computed_size(const Request& request, const loading::ImageSize& fallback,
                                 const loading::FamilyFacts& facts, int64_t vae_scale_factor) {
  const TaskClass task = task_class_of(request, facts);
  const auto& pictures = sizing_pictures(request, task.kind, task.is_controlled);
  const bool goes_by_picture =
      task.keeps_picture_size || (task.is_controlled && !(request.height && request.width));
  if (!goes_by_picture || pictures.empty()) return size_of(request, fallback, facts, vae_scale_factor);
  const int64_t multiple = facts.latents_a_token * vae_scale_factor;
  const loading::ImageSize size = size_in_pixels(pictures[0], multiple);
  // Of several ControlNets' pictures the first is the measure; the others are stretched to it.
  const size_t images = std::max<size_t>(1, request.image_count());
  const bool has_several = task.is_controlled && task.kind == TaskKind::text_to_image;
  const size_t each = has_several ? std::max<size_t>(1, pictures.size() / images) : 1;
  for (size_t i = 0; i < pictures.size(); i += each) {
    const loading::ImageSize other = size_in_pixels(pictures[i], multiple);
    if (other.height != size.height || other.width != size.width)
      throw UsageError(
          "image: pictures of {}x{} and {}x{} pixels in one call; images that are computed together have one "
          "size",
          size.width, size.height, other.width, other.height);
  }
  return task.keeps_picture_size ? size : size_of(request, size, facts, vae_scale_factor);
}

GivenSize size_given(const Request& request) {
  const TaskKind kind = kind_of(request);
  const bool is_controlled = !request.control_image.empty();
  const auto& pictures = sizing_pictures(request, kind, is_controlled);
  // Inpainting has the model's size.
  const bool goes_by_picture = is_controlled || kind == TaskKind::image_to_image;
  if (!goes_by_picture || pictures.empty()) return {.height = request.height, .width = request.width};
  return {.height = request.height.value_or(pictures.front().height()),
          .width = request.width.value_or(pictures.front().width())};
}

const InputPicture& picture_of(const std::vector<InputPicture>& pictures, const Request& request, size_t i) {
  return pictures.size() == 1 ? pictures[0]
                              : pictures[i / static_cast<size_t>(request.num_images_per_prompt)];
}

}  // namespace diffract::pipelines
