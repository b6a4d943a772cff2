#include "diffract/jobs/picture_parameters.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/version.h"
#include "diffract/pipelines/request_fields.h"
#include "diffract/pipelines/task_class.h"

namespace diffract::jobs {
namespace {

using pipelines::Request;
using pipelines::RequestField;

// A field's value of picture `p` of a batch.
Json value_of(const RequestField& field, const Request& request, size_t p) {
  const Json value = field.get(request);
  if (!field.is_list() || value.is_null()) return value;
  const size_t images = request.image_count();
  if (field.several_each && images > 0 && value.size() >= 2 * images) {
    const size_t each = value.size() / images;
    const auto begin = value.begin() + static_cast<ptrdiff_t>(p * each);
    return Json(Json::array_t(begin, begin + static_cast<ptrdiff_t>(each)));
  }
  return value.size() == 1 ? value[0] : value[p];
}

}  // namespace

PictureParameters::PictureParameters(const families::DiffusionPipeline& pipeline, Json loading)
    : pipeline_(pipeline), defaults_(pipeline.defaults()), loading_(std::move(loading)) {
  // Not as it was typed: a path tells of the machine, and "folder" and "folder/" are one model.
  const io::ModelIdentity& model = pipeline.model();
  model_ = {{"model", valid_text(model.name)}};
  if (!model.revision.empty()) model_["revision"] = valid_text(model.revision);
  if (!model.hash.empty()) model_["model_hash"] = model.hash;
}

loading::ImageSize PictureParameters::size_of(const Request& request) const {
  try {
    return pipeline_.image_size(request);
  } catch (const UsageError&) {  // which the picture's failure says
    return {.height = request.height.value_or(defaults_.size.height),
            .width = request.width.value_or(defaults_.size.width)};
  }
}

Request PictureParameters::filled(const Request& request) const {
  Request all = request;
  const loading::ImageSize size = size_of(request);
  all.num_inference_steps = request.steps().value_or(defaults_.num_inference_steps);
  all.height = size.height;
  all.width = size.width;
  if (all.scheduler.empty()) all.scheduler = pipeline_.scheduler().class_name;
  const auto task = pipelines::find_task_class(request, pipeline_.facts());
  if (!all.guidance_scale)
    all.guidance_scale =
        task ? task->guidance_scale.value_or(defaults_.guidance_scale) : defaults_.guidance_scale;
  if (!task || (all.image.empty() && !task->is_controlled)) return all;
  all.pipeline = task->class_name;
  if (task->is_controlled && all.controlnet_conditioning_scale.empty())
    all.controlnet_conditioning_scale = {task->controlnet_conditioning_scale};
  if (all.image.empty()) return all;
  all.strength = request.strength.value_or(task->strength);
  return all;
}

Json PictureParameters::of_model(const Request& request) const {
  Json model = model_;
  const Request all = filled(request);
  for (const char* name : {"scheduler", "scheduler_config"})
    if (const Json value = pipelines::request_field(name).get(all); !value.is_null()) model[name] = value;
  model.update(loading_);
  return model;
}

Json PictureParameters::of(const JobBatch& batch, const JobImage& image) const {
  Request request = filled(batch.request);
  request.seed = image.seed;
  const auto place = std::find_if(batch.images.begin(), batch.images.end(),
                                  [&](const JobImage& one) { return one.index == image.index; });
  Json parameters = Json::object();
  for (const RequestField& field : pipelines::request_fields()) {
    if (field.scope != RequestField::Scope::image && field.scope != RequestField::Scope::batch) continue;
    const Json value = value_of(field, request, static_cast<size_t>(place - batch.images.begin()));
    if (!value.is_null()) parameters[field.name] = value;
  }
  parameters.update(model_);
  parameters.update(loading_);
  parameters["version"] = kVersion;
  return parameters;
}

}  // namespace diffract::jobs
