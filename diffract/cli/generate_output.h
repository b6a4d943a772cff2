#pragma once
#include <map>
#include <string>
#include <vector>

#include "diffract/cli/generate_options.h"
#include "diffract/cli/output_pattern.h"

namespace diffract::cli {

struct RunFigures {
  double load_seconds, run_seconds;
  size_t images;
};

/// Where the pictures of `generate` go: files named by the pattern, each with its parameters inside, or one
/// file of latents; the file of --save-steps; and the summary on stdout.
class GenerateOutput {
 public:
  /// Checks every file name and folder. Throws UsageError when two pictures would get one name, IoError when
  /// a folder cannot be written to.
  GenerateOutput(const GenerateOptions& options, const std::vector<pipelines::JobBatch>& batches);

  /// What the parameters in the pictures and the summary say about the model.
  void describe_model(const pipelines::DiffusionPipeline& pipeline);
  /// The batches without those whose pictures are all there already; all of them without --resume.
  std::vector<pipelines::JobBatch> still_to_do(const std::vector<pipelines::JobBatch>& batches);

  void record_step(const pipelines::StepReport& step);
  void finish_batch(const pipelines::JobBatch& batch, const pipelines::Output& result);
  void finish(const RunFigures& figures);

 private:
  Json parameters(const pipelines::JobBatch& batch, const pipelines::JobImage& image) const;
  bool is_done(const pipelines::JobBatch& batch, const pipelines::JobImage& image) const;
  Json summary_of(const pipelines::JobImage& image) const;

  const GenerateOptions& options_;
  OutputPattern pattern_;
  Json model_ = Json::object();
  pipelines::Defaults defaults_{};
  placement::DeviceMap device_map_;
  std::map<size_t, std::vector<at::Tensor>> steps_;  // by step: the latents of each batch
  std::vector<at::Tensor> latents_;
  Json images_ = Json::array();
};

/// The parameters of a picture as stable-diffusion-webui writes them under the key "parameters", which other
/// tools read: the prompt, "Negative prompt: ...", and one line of settings.
std::string webui_parameters(const Json& parameters);

}  // namespace diffract::cli
