#include "diffract/pipelines/control.h"

#include <map>

#include "diffract/core/error.h"
#include "diffract/pipelines/control_preprocessor.h"
#include "diffract/pipelines/image_processor.h"
#include "diffract/pipelines/picture_fit.h"
#include "diffract/pipelines/task_class.h"

namespace diffract::pipelines {
namespace {

using Kind = ControlPreprocessor::Kind;

// The pixels of a picture, -1 where the mask is white, as those who use ControlNets for inpainting make them.
// Values beyond a picture's are stretched by torch's nearest interpolation in diffusers. Source: diffusers'
// guide to ControlNet, make_inpaint_condition.
at::Tensor without_masked(const io::Image& image, const io::Image& mask, const loading::ImageSize& size) {
  const VaeImageProcessor processor(1);
  const at::Tensor pixels =
      processor.preprocess_control({image}).masked_fill(processor.preprocess_mask({mask}) > 0, -1);
  return at::upsample_nearest2d(pixels, {size.height, size.width});
}

void require_size(const InputPicture& picture, const io::Image& image, const char* of, int64_t width,
                  int64_t height) {
  if (image.width != width || image.height != height)
    throw UsageError(
        "control_image {}: has {}x{} pixels and the {} {}x{}; here control pictures are of its size",
        picture.name(), image.width, image.height, of, width, height);
}

// Pictures of one ControlNet, read one after the other; what many images share is read and fitted once.
class Reader {
 public:
  Reader(const Request& request, const TaskInputs& inputs, const loading::ImageSize& size,
         const ControlPreprocessor& preprocessor)
      : request_(request), inputs_(inputs), size_(size), preprocessor_(preprocessor) {}

  void add(const InputPicture& picture, size_t i) {
    // Images of one control picture may be drawn into different parts of it, or with different masks.
    const bool has_mask = preprocessor_.kind == Kind::inpaint;
    const std::string key = picture.hash() +
                            (inputs_.wholes.empty() ? "" : fmt::format(" {}", inputs_.of_image[i])) +
                            (has_mask ? " " + picture_of(request_.mask_image, request_, i).hash() : "");
    const auto [found, is_new] = known_.emplace(key, static_cast<int64_t>(known_.size()));
    of_image_.push_back(found->second);
    if (is_new) pixels_.push_back(made(picture, i));
  }
  ControlPictures finish() { return {.pixels = at::cat(pixels_), .of_image = std::move(of_image_)}; }

 private:
  // [1, 3, H, W]
  at::Tensor made(const InputPicture& picture, size_t i) const {
    io::Image image = picture.image();
    if (preprocessor_.kind == Kind::inpaint) {
      const io::Image mask = picture_of(request_.mask_image, request_, i).image();
      require_size(picture, image, "mask", mask.width, mask.height);
      return without_masked(image, mask, size_);
    }
    if (preprocessor_.kind == Kind::canny) image = io::canny(image, preprocessor_.thresholds);
    return VaeImageProcessor(1).preprocess_control({fitted(picture, image, i)});
  }
  io::Image fitted(const InputPicture& picture, const io::Image& image, size_t i) const {
    if (inputs_.wholes.empty()) return stretched(image, size_);
    const TaskInputs::Whole& whole = inputs_.wholes[static_cast<size_t>(inputs_.of_image[i])];
    require_size(picture, image, "picture", whole.picture.width, whole.picture.height);
    return fitted_with_border(cropped(image, whole.region), size_);
  }

  const Request& request_;
  const TaskInputs& inputs_;
  loading::ImageSize size_;
  ControlPreprocessor preprocessor_;
  std::map<std::string, int64_t> known_;
  std::vector<int64_t> of_image_;
  std::vector<at::Tensor> pixels_;  // of each different picture
};

// One of `nets` numbers; there is one for all, or one each.
double number_of(const char* name, const std::vector<double>& numbers, size_t net, size_t nets,
                 double fallback) {
  if (numbers.empty()) return fallback;
  if (numbers.size() != 1 && numbers.size() != nets)
    throw UsageError("{}: {} given for {} ControlNets; give one for all, or one each", name, numbers.size(),
                     nets);
  return numbers.size() == 1 ? numbers[0] : numbers[net];
}

}  // namespace

std::vector<InputPicture> control_pictures_of(const Request& request, size_t p, size_t nets) {
  const auto& pictures = request.control_image;
  const size_t prompts = request.image_count() / static_cast<size_t>(request.num_images_per_prompt);
  if (pictures.size() == nets) return pictures;
  if (pictures.size() != nets * prompts)
    throw UsageError("control_image: {} given for {} ControlNet{}; give one for each{}", pictures.size(),
                     nets, nets == 1 ? "" : "s",
                     prompts == 1 ? ", in their order" : ", or one for each of every prompt");
  const auto begin = pictures.begin() + static_cast<ptrdiff_t>(p * nets);
  return {begin, begin + static_cast<ptrdiff_t>(nets)};
}

std::vector<ControlPictures> read_control_pictures(const Request& request, const TaskInputs& inputs,
                                                   const loading::ImageSize& size, size_t nets) {
  if (!inputs.task.is_controlled) return {};
  std::vector<Reader> readers;
  for (size_t net = 0; net < nets; ++net)
    readers.emplace_back(request, inputs, size, control_preprocessor(request, net, nets));
  for (size_t i = 0; i < request.image_count(); ++i) {
    const size_t prompt = i / static_cast<size_t>(request.num_images_per_prompt);
    const auto pictures = control_pictures_of(request, prompt, nets);
    for (size_t net = 0; net < nets; ++net) readers[net].add(pictures[net], i);
  }
  std::vector<ControlPictures> all;
  all.reserve(nets);
  for (Reader& reader : readers) all.push_back(reader.finish());
  return all;
}

std::vector<ControlStrength> control_strengths(const Request& request, const loading::TaskClass& task,
                                               size_t nets) {
  std::vector<ControlStrength> all;
  for (size_t net = 0; net < nets; ++net) {
    const ControlStrength one{
        .scale = number_of("controlnet_conditioning_scale", request.controlnet_conditioning_scale, net, nets,
                           task.controlnet_conditioning_scale),
        .start = number_of("control_guidance_start", request.control_guidance_start, net, nets, 0),
        .end = number_of("control_guidance_end", request.control_guidance_end, net, nets, 1)};
    if (one.start >= one.end)
      throw UsageError("control_guidance_start {}: expected less than control_guidance_end {}", one.start,
                       one.end);
    all.push_back(one);
  }
  return all;
}

}  // namespace diffract::pipelines
