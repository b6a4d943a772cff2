#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "diffract/cli/generate_options.h"
#include "diffract/cli/output_pattern.h"
#include "diffract/pipelines/job_folder.h"
#include "diffract/pipelines/job_runner.h"

namespace diffract::cli {

struct RunFigures {
  double load_seconds, run_seconds;
  std::vector<pipelines::ComponentStay> stays;
};

/// Throws UsageError where the options of the output contradict each other, or do not suit so many processes.
void check_output_options(const GenerateOptions& options, int world_size);

/// Where the pictures of `generate` go: files named by the pattern, each with its parameters inside, and
/// their manifest, or one file of latents a process; the file of --save-steps; and the summary on stdout.
class GenerateOutput {
 public:
  /// Checks every file name and folder. Throws UsageError when two pictures would get one name, IoError when
  /// a folder cannot be written to.
  GenerateOutput(const GenerateOptions& options, const std::vector<pipelines::JobBatch>& batches,
                 pipelines::JobBoard& board);

  /// True when pictures that are there already are to be looked for.
  bool looks_for_finished() const;
  /// What the parameters in the pictures and the summary say about the model, which lives as long as this.
  void describe_model(const pipelines::DiffusionPipeline& pipeline);
  /// Of each batch, the summaries of its pictures when all are there already; nothing without --resume or a
  /// restart, when the job begins anew.
  std::vector<Json> find_finished();

  void record_step(const pipelines::StepReport& step);
  /// Saves the pictures of a batch; gives their summaries.
  Json finish_batch(const pipelines::JobBatch& batch, const pipelines::Output& result);
  void record_failure(const pipelines::JobBatch& batch, const pipelines::Failure& failure);
  /// Saves what is in one file for all pictures of this process; no file when it had none.
  void finish_share();
  /// Whether --resume would leave out what was made when the job is stopped.
  bool can_resume() const;
  /// Prints what came of the job, and with which error it ends.
  void print_summary(const pipelines::JobOutcome& outcome, const RunFigures& figures,
                     const std::optional<pipelines::Failure>& failure) const;

 private:
  pipelines::JobFolder::Naming naming();
  Json summary(const pipelines::JobOutcome& outcome, const RunFigures& figures) const;
  bool has_many() const { return batches_.size() > 1 || batches_.front().images.size() > 1; }
  void check_shapes() const;
  /// Of the pictures of a request.
  pipelines::ImageSize size_of(const pipelines::Request& request) const;
  Json parameters(const pipelines::JobBatch& batch, const pipelines::JobImage& image) const;
  std::string file(const pipelines::JobImage& image) const { return pattern_.file(image, board_.rank()); }

  const GenerateOptions& options_;
  const std::vector<pipelines::JobBatch>& batches_;
  pipelines::JobBoard& board_;
  OutputPattern pattern_;
  pipelines::JobFolder folder_;
  Json model_ = Json::object();
  pipelines::Defaults defaults_{};
  const pipelines::DiffusionPipeline* pipeline_ = nullptr;  // once it is described
  placement::DeviceMap device_map_;
  std::map<size_t, at::Tensor> batch_steps_;         // of the batch that runs
  std::map<size_t, std::vector<at::Tensor>> steps_;  // by step: the latents of each batch
  // Of each batch, by its first picture, and how many pictures it has.
  std::map<size_t, std::pair<at::Tensor, size_t>> latents_;
};

/// The parameters of a picture as stable-diffusion-webui writes them under the key "parameters", which other
/// tools read: the prompt, "Negative prompt: ...", and one line of settings.
std::string webui_parameters(const Json& parameters);

}  // namespace diffract::cli
