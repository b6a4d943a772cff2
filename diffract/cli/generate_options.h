#pragma once
#include <optional>
#include <string>
#include <vector>

#include "diffract/cli/arguments.h"
#include "diffract/jobs/job.h"
#include "diffract/jobs/job_options.h"
#include "diffract/loading/find_model.h"

namespace diffract::cli {

/// What the options of `diffract generate` say, before any of it is checked against a model.
struct GenerateOptions {
  std::string model = loading::kDefaultModel;
  loading::LoadTexts loading;      // those of loading::load_fields() that were given
  pipelines::Request settings;     // those of pipelines::request_fields(), the prompts among them
  std::vector<std::string> words;  // prompts without an option before them
  std::string prompts_file, prompts_format;
  Seed seed;
  std::optional<int64_t> batch_size = 1;  // unset: found by measuring
  std::string output;                     // pattern; empty: the default of the output type
  std::string save_steps;
  int64_t preview_every = 0;  // steps; 0: never
  std::string schedule = "dynamic";
  int64_t threads = 0;      // 0: chosen
  int64_t in_flight = 0;    // batches over ranks; 0: twice the processes
  double peer_timeout = 0;  // seconds; 0: the process group's default
  bool resume = false, json = false;
};

void declare_generate_options(CLI::App& app, GenerateOptions& options);

/// The job's prompts: those of --prompt, then those of --prompts-file. Throws UsageError naming the option,
/// or the line of the file and its key.
std::vector<pipelines::Request> job_requests(const GenerateOptions& options);

/// Says which parts of the prompts other programs take for instructions, and diffract draws.
void warn_of_prompt_syntax(const std::vector<jobs::JobBatch>& batches);

/// Throws UsageError for what cannot be.
jobs::JobOptions job_options(const GenerateOptions& options);

}  // namespace diffract::cli
