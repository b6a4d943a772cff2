#pragma once
#include <optional>
#include <string>
#include <vector>

#include "diffract/cli/arguments.h"
#include "diffract/pipelines/job.h"
#include "diffract/pipelines/pipeline.h"

namespace diffract::cli {

/// What the options of `diffract generate` say, before any of it is checked against a model.
struct GenerateOptions {
  std::string model = pipelines::kDefaultModel;
  std::string variant, dtype, compute_dtype, noise_dtype, device = "cpu";
  std::string device_map, max_memory, offload_folder;
  std::string scheduler, scheduler_config;
  std::vector<std::string> prompts, prompts_2, negative_prompts;
  std::vector<std::string> words;  // prompts without an option before them
  std::string prompts_file, prompts_format;
  pipelines::Request settings;  // the options that hold for every picture
  Seed seed;
  int64_t batch_size = 1;
  std::string output_type = "png";
  std::string output;  // pattern; empty: the default of the output type
  std::string save_steps;
  std::string schedule = "dynamic";
  int64_t threads = 0;      // 0: libtorch's choice
  int64_t in_flight = 0;    // pictures over ranks; 0: twice the processes
  double peer_timeout = 0;  // seconds; 0: the process group's default
  bool float8 = false, allow_tf32 = false, resume = false, json = false;
  bool no_memory_check = false;

  bool latent() const { return output_type == "latent"; }
};

void declare_generate_options(CLI::App& app, GenerateOptions& options);

/// The job's prompts: those of --prompt, then those of --prompts-file. Throws UsageError naming the option,
/// or the line of the file and its key.
std::vector<pipelines::JobEntry> job_entries(const GenerateOptions& options);

/// Says which parts of the prompts other programs take for instructions, and diffract draws.
void warn_of_prompt_syntax(const std::vector<pipelines::JobBatch>& batches);

/// Whether the processes of the job divide the model among them.
bool is_over_ranks(const GenerateOptions& options);
/// How the model is to be loaded; the processes of a host share its devices out by their rank there.
pipelines::LoadOptions load_options(const GenerateOptions& options, int local_rank);

}  // namespace diffract::cli
