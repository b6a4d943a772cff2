#pragma once
#include "diffract/core/json.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/jobs/job.h"

namespace diffract::jobs {

/// What a picture depends on: PNG and manifest say it, and --resume compares it.
class PictureParameters {
 public:
  /// `loading`: what the picture depends on beside the model and the request (loading::load_parameters). The
  /// pipeline must outlive this.
  PictureParameters(const families::DiffusionPipeline& pipeline, Json loading);

  Json of(const JobBatch& batch, const JobImage& image) const;
  /// Of the model alone, with the scheduler of `request`: for a job's summary.
  Json of_model(const pipelines::Request& request) const;
  /// Of the pictures of a request, which a model may round.
  loading::ImageSize size_of(const pipelines::Request& request) const;

 private:
  // What the pipeline takes where the request says nothing.
  pipelines::Request filled(const pipelines::Request& request) const;

  const families::DiffusionPipeline& pipeline_;
  loading::Defaults defaults_;
  Json model_, loading_;
};

/// The parameters of a picture as stable-diffusion-webui writes them under the key "parameters", which other
/// tools read: the prompt, "Negative prompt: ...", and one line of settings.
std::string webui_parameters(const Json& parameters);

}  // namespace diffract::jobs
